package accounts

import (
	"context"
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// StatusUpdate is what an admin decides about the status of an account. Fields that are nil leave
// it as it is.
type StatusUpdate struct {
	// Takedown takes the account down, under the reference Ref (empty: the time), or ends a
	// takedown.
	Takedown *bool
	Ref      string
	// Deactivated deactivates the account, or activates it as [Service.Activate] does.
	Deactivated *bool
}

// UpdateStatus makes all changes of an update, or none. A takedown can also be ended after the
// account was deleted. Errors: [ErrNotFound], also for activating an account that is or will be
// taken down, and those of [Service.Activate] (source: com.atproto.admin.updateSubjectStatus).
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
		if err := s.Identity().Check(ctx, a); err != nil {
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
			r.DeactivatedAt, r.DeleteAfter, r.NotYetActivated = nil, nil, false
		case u.Deactivated != nil:
			r.DeactivatedAt, r.DeleteAfter = &now, nil
		}
		after = &r.Account
		switch {
		case u.Takedown == nil:
		case *u.Takedown:
			r.Takedown, r.DeleteAfter = r.Takedown.renew(u.Ref, now), nil
			return codes.Void(tx, r.DID)
		default:
			r.Takedown = nil
		}
		return nil
	})
	if err == nil && activates && s.cfg.Resolver != nil {
		s.cfg.Resolver.Forget(id) // the cached document may be from before the DID was set up
	}
	if err == nil && u.Deactivated != nil && *u.Deactivated && a.DeactivatedAt == nil {
		s.notify(after, mail.AccountDeactivated, mail.Data{})
	}
	return err
}

// leavesDown reports whether an account is taken down once it is updated.
func (u StatusUpdate) leavesDown(a *Account) bool {
	if u.Takedown != nil {
		return *u.Takedown
	}
	return a.Takedown != nil
}

// TakeDown takes an account down, under a reference of the moderators' own, or the time if that is
// empty. Its sessions end, and only tokens for leaving the server are issued until
// [Service.Restore]. Codes that were mailed before are void, a scheduled deletion is called off,
// and nobody but an admin deletes the account; the takedown then stays with the DID. Error:
// [ErrNotFound].
func (s *Service) TakeDown(ctx context.Context, did syntax.DID, ref string) error {
	return s.UpdateStatus(ctx, did, StatusUpdate{Takedown: new(true), Ref: ref})
}

// Restore ends a takedown, even one that outlived its account. Error: [ErrNotFound].
func (s *Service) Restore(ctx context.Context, did syntax.DID) error {
	return s.UpdateStatus(ctx, did, StatusUpdate{Takedown: new(false)})
}

// renew returns the takedown that takes the place of t, which may be nil. An account that is down
// already keeps the time of its takedown, and so the tokens for leaving, which are bound to it.
func (t *Takedown) renew(ref string, now time.Time) *Takedown {
	if ref == "" {
		ref = now.Format(syntax.AtprotoDatetimeLayout)
	}
	at := now
	if t != nil {
		at = t.At
	}
	return &Takedown{Ref: storage.Text(ref), At: at}
}

// TakedownOf returns the takedown of a DID, whether or not it has an account here; nil if there is
// none. Error: [ErrNotFound] if there is neither an account nor a takedown.
func (s *Service) TakedownOf(ctx context.Context, id syntax.DID) (*Takedown, error) {
	var t *Takedown
	err := s.store.View(ctx, func(tx storage.Tx) error {
		switch r, err := get(tx, id); {
		case err == nil:
			t = r.Takedown
			return nil
		case !errors.Is(err, ErrNotFound):
			return err
		}
		var err error
		if t, err = stickyTakedown(tx, id); err == nil && t == nil {
			return ErrNotFound
		}
		return err
	})
	return t, err
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

var errNotActivated = refusal.New(ErrNotFound, "user not found")

// Activate ends a deactivation, or activates an account that has moved here for the first time. The
// DID must name this server and the account's signing key. A did:plc must also have the server's
// rotation key; if it doesn't, so that only its owner can change it, it must name the account's
// handle. Errors: [ErrNotFound], also for an account that is taken down, [ErrInvalidRequest],
// [ErrDirectory] (source: com.atproto.server.activateAccount).
func (s *Service) Activate(ctx context.Context, id syntax.DID) error {
	err := s.UpdateStatus(ctx, id, StatusUpdate{Deactivated: new(false)})
	if errors.Is(err, ErrNotFound) {
		return errNotActivated
	}
	return err
}
