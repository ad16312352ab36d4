package invites

import (
	"context"
	"errors"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Sort is an order of [Service.List] (source: com.atproto.admin.getInviteCodes).
type Sort string

const (
	// SortRecent lists the newest codes first.
	SortRecent Sort = "recent"
	// SortUsage lists the codes with the most uses first.
	SortUsage Sort = "usage"
)

// Page is one page of [Service.List].
type Page struct {
	// Codes are the codes of the page, with their uses.
	Codes []*Code
	// Cursor is passed to [Service.List] for the next page. It is empty on the last page.
	Cursor string
}

// List returns a page of at most limit codes (1 to 500) with their uses. The cursor is that of the
// page before, or empty for the first page. Error: [ErrInvalidRequest] if the order is unknown or
// the cursor is malformed (source: com.atproto.admin.getInviteCodes).
func (s *Service) List(ctx context.Context, sort Sort, cursor string, limit int) (Page, error) {
	r := storage.Range{Reverse: true, After: cursor, Limit: min(max(limit, 1), 500)}
	switch sort {
	case SortRecent:
		r.Index = "created"
	case SortUsage:
		r.Index = "used"
	default:
		return Page{}, refusal.Newf(ErrInvalidRequest, "unknown sort method: %s", sort)
	}
	var p Page
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		p = Page{}
		if p.Codes, p.Cursor, err = codes.Page(tx, r); err != nil {
			return err
		}
		for _, c := range p.Codes {
			if err := withUses(tx, c); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, storage.ErrInvalid) {
		return Page{}, refusal.New(ErrInvalidRequest, "Malformed cursor")
	}
	return p, err
}

// withUses fills in the newest uses of a code.
func withUses(tx storage.Tx, c *Code) error {
	c.Uses = nil
	if c.Used == 0 {
		return nil
	}
	newestFirst := storage.Under("code", c.Code)
	newestFirst.Reverse, newestFirst.Limit = true, maxListedUses
	for u, err := range uses.Scan(tx, newestFirst) {
		if err != nil {
			return err
		}
		c.Uses = append(c.Uses, u.Use)
	}
	return nil
}

// Disable disables codes for good: those in codeList, and all codes of the accounts in accountList.
// Accounts are named by DID, handle or e-mail address, and accounts of other servers by DID. Codes
// that don't exist are ignored. Codes of [Admin] can only be disabled one by one. Error:
// [ErrInvalidRequest] if accountList contains Admin (source: com.atproto.admin.disableInviteCodes).
func (s *Service) Disable(ctx context.Context, codeList, accountList []string) error {
	owners := make([]string, len(accountList))
	for i, name := range accountList {
		owners[i] = accounts.NormalizeIdentifier(name)
	}
	if slices.Contains(owners, Admin) {
		return refusal.New(ErrInvalidRequest, "cannot disable admin invite codes")
	}
	return s.store.Update(ctx, func(tx storage.Tx) error {
		var all []*Code
		for _, name := range codeList {
			c, err := codes.Get(tx, Normalize(name))
			if errors.Is(err, storage.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			all = append(all, c)
		}
		for _, owner := range owners {
			if storage.ValidKey(owner) != nil {
				continue
			}
			switch a, err := accounts.FindTx(tx, owner); {
			case err == nil:
				owner = a.DID.String()
			case !errors.Is(err, accounts.ErrNotFound):
				return err
			}
			more, err := codes.All(tx, storage.Under("account", owner))
			if err != nil {
				return err
			}
			all = append(all, more...)
		}
		for _, c := range all {
			if c.Disabled {
				continue
			}
			c.Disabled = true
			if err := codes.Put(tx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// Summary describes the invite codes of an account.
type Summary struct {
	// Standing is what admins decided about the codes that the account earns.
	Standing
	// Own are the account's codes with their uses, including disabled ones, oldest first.
	Own []*Code
	// InvitedBy is the code that the account signed up with, or nil. If the account has signed up
	// here several times, it is the last code.
	InvitedBy *Code
}

// Of returns the summary of an account. For an account that isn't here, only InvitedBy can be set.
func (s *Service) Of(ctx context.Context, did syntax.DID) (Summary, error) {
	var sum Summary
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		sum = Summary{}
		if sum.Standing, err = standingOf(tx, did); err != nil {
			return err
		}
		if sum.Own, err = ofAccount(tx, did); err != nil {
			return err
		}
		var last *use
		for u, err := range uses.Scan(tx, storage.Exactly("used_by", did.String())) {
			if err != nil {
				return err
			}
			if last == nil || !u.UsedAt.Before(last.UsedAt) {
				last = u
			}
		}
		if last == nil {
			return nil
		}
		c, err := codes.Get(tx, last.Code)
		if err != nil {
			return ignoreNotFound(err)
		}
		sum.InvitedBy = c
		return withUses(tx, c)
	})
	return sum, err
}
