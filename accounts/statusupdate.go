package accounts

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/storage"
)

// StatusUpdate is what an admin decides about an account at once. What is nil stays as it is.
type StatusUpdate struct {
	// Takedown takes the account down, under the reference Ref (empty: the time), or ends a
	// takedown.
	Takedown *bool
	Ref      string
	// Deactivated deactivates the account, or activates it as [Service.Activate] does.
	Deactivated *bool
}

// UpdateStatus carries out all of an update, or nothing of it. Of a DID whose account was deleted
// while it was taken down, the takedown can be ended. Errors: [ErrNotFound], also for activating an
// account that is or will be taken down, and those of [Service.Activate] (source:
// com.atproto.admin.updateSubjectStatus).
func (s *Service) UpdateStatus(ctx context.Context, id syntax.DID, u StatusUpdate) error {
	a, err := s.Get(ctx, id)
	if errors.Is(err, ErrNotFound) && u.Takedown != nil && !*u.Takedown && u.Deactivated == nil {
		return s.forgetTakedown(ctx, id)
	}
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
	var after *Account
	err = s.modify(ctx, id, StatusChanged, func(tx storage.Tx, r *record) error {
		now := s.now()
		switch {
		case activates && u.leavesDown(&r.Account): // taken down meanwhile
			return errNotActivated
		case activates:
			r.activate()
		case u.Deactivated != nil:
			r.DeactivatedAt, r.DeleteAfter = &now, nil
		}
		after = &r.Account
		switch {
		case u.Takedown == nil:
		case *u.Takedown:
			return s.takeDown(tx, r, u.Ref)
		default:
			r.Takedown = nil
		}
		return nil
	})
	if err == nil && activates && s.cfg.Resolver != nil {
		s.cfg.Resolver.Forget(id) // what is remembered may be from before the DID was set up
	}
	if err == nil && u.Deactivated != nil && *u.Deactivated && a.DeactivatedAt == nil {
		s.notify(after, mail.AccountDeactivated, mail.Data{})
	}
	return err
}

// forgetTakedown ends the takedown of a DID that has no account.
func (s *Service) forgetTakedown(ctx context.Context, id syntax.DID) error {
	return s.update(ctx, func(tx storage.Tx) error {
		f, err := formerOf(tx, id)
		if err != nil {
			return err
		}
		if f.Takedown == nil {
			return ErrNotFound
		}
		f.Takedown = nil
		return putFormer(tx, f)
	})
}

// activate ends a deactivation.
func (r *record) activate() {
	r.DeactivatedAt, r.DeleteAfter, r.NotYetActivated = nil, nil, false
}

// leavesDown reports whether an account is taken down once it is updated.
func (u StatusUpdate) leavesDown(a *Account) bool {
	if u.Takedown != nil {
		return *u.Takedown
	}
	return a.Takedown != nil
}
