package accounts

import (
	"context"
	"errors"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/typed"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Get returns the account of a DID, or [ErrNotFound].
func (s *Service) Get(ctx context.Context, did syntax.DID) (*Account, error) {
	return s.view(ctx, func(tx storage.Tx) (*record, error) { return get(tx, did) })
}

// GetTx returns the account of a DID inside a transaction, or [ErrNotFound].
func GetTx(tx storage.Tx, did syntax.DID) (*Account, error) {
	r, err := get(tx, did)
	if err != nil {
		return nil, err
	}
	return &r.Account, nil
}

// cachedAccounts is the most accounts that are kept as they were decoded.
const cachedAccounts = 10_000

// ReadTx is [GetTx] for callers that read accounts often, such as once in each request. It reads
// the account in the store, but decodes it only if it has changed since. What the account refers to
// by pointers is shared, and must not be modified.
func (s *Service) ReadTx(tx storage.Tx, did syntax.DID) (*Account, error) {
	r, err := visible(s.known.Get(tx, did.String()))
	if err != nil {
		return nil, err
	}
	return &r.Account, nil
}

// Find returns the account of a handle, a DID or an e-mail address, in any spelling that
// [NormalizeIdentifier] understands, or [ErrNotFound].
func (s *Service) Find(ctx context.Context, identifier string) (*Account, error) {
	return s.view(ctx, func(tx storage.Tx) (*record, error) { return find(tx, identifier) })
}

// FindTx is [Service.Find] inside a transaction.
func FindTx(tx storage.Tx, identifier string) (*Account, error) {
	r, err := find(tx, identifier)
	if err != nil {
		return nil, err
	}
	return &r.Account, nil
}

func (s *Service) view(ctx context.Context, read func(storage.Tx) (*record, error)) (*Account, error) {
	var a *Account
	err := s.store.View(ctx, func(tx storage.Tx) error {
		r, err := read(tx)
		if err == nil {
			a = &r.Account
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

func get(tx storage.Tx, did syntax.DID) (*record, error) {
	return visible(accountsTable.Get(tx, did.String()))
}

func find(tx storage.Tx, identifier string) (*record, error) {
	id := NormalizeIdentifier(identifier)
	switch {
	case strings.Contains(id, "@"):
		return visible(accountsTable.GetBy(tx, "email", id))
	case strings.HasPrefix(id, "did:"):
		return findDID(tx, id)
	case id == "":
		return nil, ErrNotFound
	}
	return visible(accountsTable.GetBy(tx, "handle", id))
}

// findDID finds the account of a DID as typed, which may be in the wrong case: a did:plc and a
// hosted did:web are in lower case, but other DIDs may have capitals.
func findDID(tx storage.Tx, raw string) (*record, error) {
	id := NormalizeIdentifier(raw)
	r, err := get(tx, syntax.DID(id))
	if lower := typed.Lower(id); lower != id && errors.Is(err, ErrNotFound) {
		return get(tx, syntax.DID(lower))
	}
	return r, err
}

// visible returns [ErrNotFound] in place of a missing or pending account.
func visible(r *record, err error) (*record, error) {
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, ErrNotFound
	case err != nil:
		return nil, err
	case r.Pending != nil:
		return nil, ErrNotFound
	}
	return r, nil
}

// Page is one page of a listing.
type Page struct {
	Accounts []*Account
	// Cursor is where the next page begins. It is empty on the last page.
	Cursor string
}

// maxPage is the most accounts of a page (source: com.atproto.sync.listRepos).
const maxPage = 1000

// List returns a page of accounts in the order of their creation, up to limit (1 to 1000). The
// first page has an empty cursor. Error: [storage.ErrInvalid] for a cursor that isn't one of this
// listing.
func (s *Service) List(ctx context.Context, cursor string, limit int) (Page, error) {
	return s.page(ctx, storage.Range{Index: "created", After: cursor, Limit: limit})
}

// SearchByEmail returns a page of the accounts whose address begins with a prefix, in the order of
// their addresses, as [Service.List] does (source: com.atproto.admin.searchAccounts).
func (s *Service) SearchByEmail(ctx context.Context, prefix, cursor string, limit int) (Page, error) {
	prefix = typed.Lower(typed.Name(prefix))
	if storage.ValidKey(prefix) != nil {
		return Page{}, nil
	}
	return s.page(ctx, storage.Range{Index: "email", Prefix: prefix, After: cursor, Limit: limit})
}

func (s *Service) page(ctx context.Context, r storage.Range) (Page, error) {
	limit := min(max(r.Limit, 1), maxPage)
	var p Page
	err := s.store.View(ctx, func(tx storage.Tx) error {
		p = Page{Cursor: r.After}
		// Pending accounts don't count.
		for len(p.Accounts) < limit {
			rest := r
			rest.After, rest.Limit = p.Cursor, limit-len(p.Accounts)
			records, cursor, err := accountsTable.Page(tx, rest)
			if err != nil {
				return err
			}
			for _, r := range records {
				if r.Pending == nil {
					p.Accounts = append(p.Accounts, &r.Account)
				}
			}
			if p.Cursor = cursor; cursor == "" {
				break
			}
		}
		return nil
	})
	return p, err
}
