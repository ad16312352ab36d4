package accounts

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// StatusUpdate is what an admin decides about an account at once. What is nil stays as it is.
type StatusUpdate struct {
	// Takedown takes the account down, under the reference Ref (empty: the time), or ends a takedown.
	Takedown *bool
	Ref      string
	// Deactivated deactivates the account, or activates it as [Service.Activate] does.
	Deactivated *bool
}

// UpdateStatus carries out all of an update, or nothing of it. Errors: [ErrNotFound], also for activating an
// account that is or will be taken down, and those of [Service.Activate]
// (source: com.atproto.admin.updateSubjectStatus).
func (s *Service) UpdateStatus(ctx context.Context, id syntax.DID, u StatusUpdate) error {
	a, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	activates := u.Deactivated != nil && !*u.Deactivated
	if activates && u.leavesDown(a) {
		return errNotActivated
	}
	if activates {
		if err := s.checkDocument(ctx, a); err != nil {
			return err
		}
	}
	return s.modify(ctx, id, StatusChanged, func(tx storage.Tx, r *record) error {
		now := s.now()
		switch {
		case activates && u.leavesDown(&r.Account): // taken down meanwhile
			return errNotActivated
		case activates:
			r.DeactivatedAt, r.DeleteAfter = nil, nil
		case u.Deactivated != nil:
			r.DeactivatedAt, r.DeleteAfter = &now, nil
		}
		switch {
		case u.Takedown == nil:
		case *u.Takedown:
			r.Takedown = r.Takedown.again(u.Ref, now)
		default:
			r.Takedown = nil
		}
		return nil
	})
}

// leavesDown reports whether an account is taken down once it is updated.
func (u StatusUpdate) leavesDown(a *Account) bool {
	if u.Takedown != nil {
		return *u.Takedown
	}
	return a.Takedown != nil
}
