package invites

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

var errDuplicateCreate = refusal.New(ErrDuplicateCreate, "attempted to create additional codes in another request")

// ForAccount returns the codes of an account that aren't disabled, oldest first, with their uses.
// Without includeUsed it returns only those that can still be used. With createAvailable it first
// creates the codes that the account has earned since the last call. Errors:
// [accounts.ErrNotFound], [ErrDuplicateCreate] (source: com.atproto.server.getAccountInviteCodes).
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

// ofAccount returns all codes of an account, oldest first, with their newest uses.
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
	newestFirst.Reverse, newestFirst.Limit = true, maxListedUsesAll
	for u, err := range uses.Scan(tx, newestFirst) {
		if err != nil {
			return nil, err
		}
		if c := byCode[u.Code]; c != nil && len(c.Uses) < maxListedUses {
			c.Uses = append(c.Uses, u.Use)
		}
	}
	return all, nil
}

// earn creates the codes that an account has earned and doesn't have yet. Error:
// [ErrDuplicateCreate] if another call has created some since existing was read.
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
		if countEarned(now) != countEarned(existing) {
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
			// Disabled codes are stored all the same: otherwise the account would earn them again
			// once it may.
			c.Disabled = standing.Disabled
		}
		return insert(tx, fresh)
	})
	if err != nil {
		return nil, err
	}
	return fresh, nil
}

// countEarned counts the codes that an account has earned, as opposed to those that admins gave it.
func countEarned(all []*Code) int {
	n := 0
	for _, c := range all {
		if c.CreatedBy != Admin {
			n++
		}
	}
	return n
}

// earned returns how many codes an account has earned and doesn't have yet: one for each interval
// since the account was created or, if that is later, since the epoch, less those that it already
// got in this time. An account has at most maxUnused codes that it has earned and that are still
// usable.
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
