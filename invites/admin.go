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

// Orders of [Service.List].
const (
	SortRecent = "recent"
	SortUsage  = "usage"
)

// Page is one page of a listing.
type Page struct {
	Codes []*Code
	// Cursor begins the next page; empty at the end.
	Cursor string
}

// List returns codes with their uses, the newest or the most used first, up to
// limit (1 to 500). Errors: [ErrInvalidRequest]
// (source: com.atproto.admin.getInviteCodes).
func (s *Service) List(ctx context.Context, sort, cursor string, limit int) (Page, error) {
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

func withUses(tx storage.Tx, c *Code) error {
	c.Uses = nil
	if c.Used == 0 {
		return nil
	}
	newestFirst := storage.Under("code", c.Code)
	newestFirst.Reverse = true
	for u, err := range uses.Scan(tx, newestFirst) {
		if err != nil {
			return err
		}
		c.Uses = append(c.Uses, u.Use)
	}
	return nil
}

// Disable makes codes useless: the given ones, and all codes of some accounts. An account is named
// by its DID, handle or e-mail address, or if it isn't here by its DID alone. Codes of the admin
// can only be disabled one by one. Errors: [ErrInvalidRequest] (source:
// com.atproto.admin.disableInviteCodes).
func (s *Service) Disable(ctx context.Context, codeNames, accountNames []string) error {
	owners := make([]string, len(accountNames))
	for i, name := range accountNames {
		owners[i] = accounts.NormalizeIdentifier(name)
	}
	if slices.Contains(owners, Admin) {
		return refusal.New(ErrInvalidRequest, "cannot disable admin invite codes")
	}
	return s.store.Update(ctx, func(tx storage.Tx) error {
		var all []*Code
		for _, name := range codeNames {
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

// Summary is what there is about an account and invite codes.
type Summary struct {
	Standing
	// Own are the account's codes with their uses, disabled ones too.
	Own []*Code
	// InvitedBy is the code that the account signed up with, or nil: the last, if it left and came back.
	InvitedBy *Code
}

// Of returns the summary of an account.
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
