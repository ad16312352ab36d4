package invites

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

var errDuplicateCreate = refusal.New(ErrDuplicateCreate, "attempted to create additional codes in another request")

// ForAccount returns the codes of an account that aren't disabled, oldest first, with
// their uses; without includeUsed only those that can still be used. With
// createAvailable the account first gets the codes it has earned.
// Errors: [accounts.ErrNotFound], [ErrDuplicateCreate]
// (source: com.atproto.server.getAccountInviteCodes).
func (s *Service) ForAccount(ctx context.Context, did syntax.DID, includeUsed, createAvailable bool) ([]*Code, error) {
	var account *accounts.Account
	var all []*Code
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		if account, err = accounts.GetTx(tx, did); err != nil {
			return err
		}
		all, err = ofAccount(tx, did)
		return err
	})
	if err != nil {
		return nil, err
	}
	if createAvailable && s.cfg.Interval > 0 {
		earned, err := s.earn(ctx, account, all)
		if err != nil {
			return nil, err
		}
		all = append(all, earned...)
	}
	listed := all[:0:0]
	for _, c := range all {
		if !c.Disabled && (includeUsed || c.usable()) {
			listed = append(listed, c)
		}
	}
	return listed, nil
}

// ofAccount returns all codes of an account, oldest first, with their uses.
func ofAccount(tx storage.Tx, did syntax.DID) ([]*Code, error) {
	all, err := codes.All(tx, storage.Under("account", did.String()))
	if err != nil {
		return nil, err
	}
	byCode := map[string]*Code{}
	for _, c := range all {
		byCode[c.Code] = c
	}
	newestFirst := storage.Under("owner", did.String())
	newestFirst.Reverse = true
	for u, err := range uses.Scan(tx, newestFirst) {
		if err != nil {
			return nil, err
		}
		if c := byCode[u.Code]; c != nil {
			c.Uses = append(c.Uses, u.Use)
		}
	}
	return all, nil
}

// earn makes the codes that the account has earned and doesn't have yet. It
// refuses if another call made some since existing was read.
func (s *Service) earn(ctx context.Context, a *accounts.Account, existing []*Code) ([]*Code, error) {
	n := s.earned(a, existing)
	if n <= 0 {
		return nil, nil
	}
	fresh, err := s.make(a.DID.String(), a.DID.String(), n)
	if err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx storage.Tx) error {
		now, err := ofAccount(tx, a.DID)
		if err != nil {
			return err
		}
		if routine(now) != routine(existing) {
			return errDuplicateCreate
		}
		if _, err := accounts.GetTx(tx, a.DID); err != nil { // deleted meanwhile
			return err
		}
		standing, err := standingOf(tx, a.DID)
		if err != nil {
			return err
		}
		for _, c := range fresh {
			// Kept for the books, so that the account doesn't catch up when invites are enabled again.
			c.Disabled = standing.Disabled
		}
		return insert(tx, fresh)
	})
	if err != nil {
		return nil, err
	}
	return fresh, nil
}

// routine counts the codes that were earned.
func routine(all []*Code) int {
	n := 0
	for _, c := range all {
		if c.CreatedBy != Admin {
			n++
		}
	}
	return n
}

// earned is how many more codes the account may have now: one for each interval
// of its life since the epoch, less those it made in that time, and no more than five unused.
func (s *Service) earned(a *accounts.Account, existing []*Code) int {
	since := a.CreatedAt
	if since.Before(s.cfg.Epoch) {
		since = s.cfg.Epoch
	}
	life := s.now().Sub(since)
	if life < 0 {
		return 0
	}
	may, unused := int(life/s.cfg.Interval), 0
	for _, c := range existing {
		if c.CreatedBy == Admin {
			continue
		}
		if c.usable() {
			unused++
		}
		if !c.CreatedAt.Before(s.cfg.Epoch) {
			may--
		}
	}
	return min(may, maxUnused-unused)
}
