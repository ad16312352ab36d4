package accounts

import (
	"context"
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Errors about the e-mail address of an account.
var (
	// ErrWrongEmail says that an address is not the account's.
	ErrWrongEmail = errors.New("accounts: not the account's e-mail address")
	// ErrTokenRequired says that a confirmed address can only be changed with a code mailed to it.
	ErrTokenRequired = errors.New("accounts: code required")
)

var (
	errWrongEmail    = refusal.New(ErrWrongEmail, "invalid email")
	errTokenRequired = refusal.New(ErrTokenRequired, "confirmation token required")
	errEmailInUse    = refusal.New(ErrEmailTaken, "This email address is already in use, please use a different email.")
	errUnconfirmed   = refusal.New(ErrInvalidRequest, "The email address has to be confirmed before it can be used for sign-in codes")
)

// unvouchedFor is how long an address that a session gave the account without a code is not
// trusted: a stolen session could have done so, and the owner, who has the password, needs the time
// to act on the notice.
const unvouchedFor = 72 * time.Hour

var errUnvouched = refusal.New(ErrInvalidRequest, "The email address was changed without a code less than three days ago, and can't be used for this yet")

// unvouched reports whether a session has changed the address of an account without a code too
// short a while ago. Then no PLC operation is signed with a code that is mailed there, no password
// reset, and no second factor switched on.
func (s *Service) unvouched(a *Account) bool {
	return a.EmailUnvouchedAt != nil && s.now().Sub(*a.EmailUnvouchedAt) < unvouchedFor
}

// RequestEmailConfirmation mails a code to the account's address, to prove that
// it arrives (source: com.atproto.server.requestEmailConfirmation).
func (s *Service) RequestEmailConfirmation(ctx context.Context, did syntax.DID) error {
	a, err := s.Get(ctx, did)
	if err != nil {
		return err
	}
	return s.sendCode(ctx, a, mail.ConfirmEmail)
}

// ConfirmEmail confirms the account's address with a code. Errors: [ErrNotFound],
// [ErrWrongEmail], [ErrInvalidToken], [ErrExpiredToken]
// (source: com.atproto.server.confirmEmail).
func (s *Service) ConfirmEmail(ctx context.Context, did syntax.DID, email, code string) error {
	a, err := s.Get(ctx, did)
	if err != nil {
		return err
	}
	email = normalIdentifier(email)
	if a.Email != email {
		return errWrongEmail
	}
	return s.redeem(ctx, mail.ConfirmEmail, did, code, func(tx storage.Tx, r *record) error {
		if r.Email != email { // changed meanwhile
			return errWrongEmail
		}
		before, now := r.Account, s.now()
		r.EmailConfirmedAt = &now
		return s.changed(ctx, tx, EmailChanged, &before, r)
	})
}

// RequestEmailUpdate prepares a change of the account's address. If the present
// one is confirmed it mails a code there, and reports that [Service.UpdateEmail] needs it
// (source: com.atproto.server.requestEmailUpdate).
func (s *Service) RequestEmailUpdate(ctx context.Context, did syntax.DID) (codeRequired bool, err error) {
	a, err := s.Get(ctx, did)
	if err != nil {
		return false, err
	}
	if a.EmailConfirmedAt == nil {
		return false, nil
	}
	return true, s.sendCode(ctx, a, mail.UpdateEmail)
}

// UpdateEmail gives the account another address, which is then unconfirmed and no second factor,
// and voids all codes that were mailed. A confirmed address needs the code of
// [Service.RequestEmailUpdate]. A factor that is not nil switches the e-mailed sign-in code on or
// off; on needs a confirmed address, and, as it only guards the account better, no code while that
// stays the same. Errors: [ErrInvalidEmail], [ErrEmailTaken], [ErrTokenRequired],
// [ErrInvalidToken], [ErrExpiredToken], [ErrInvalidRequest], [ratelimit.ErrLimited] (source:
// com.atproto.server.updateEmail).
func (s *Service) UpdateEmail(ctx context.Context, did syntax.DID, address, code string, factor *bool) error {
	email, err := s.checkEmail(address)
	if err != nil {
		return err
	}
	a, err := s.Get(ctx, did)
	if err != nil {
		return err
	}
	if err := s.cfg.Limits.Charge(ctx, "email of "+did.String(), tellingBudget...); err != nil {
		return err
	}
	if err := s.mayBeTold(ctx); err != nil {
		return err
	}
	var before, after Account
	set := func(tx storage.Tx, r *record) error {
		before = r.Account
		// A code vouches for the change if it came to an address that somebody had vouched for.
		err := s.setEmail(ctx, tx, r, email, factor, code != "" && before.EmailConfirmedAt != nil && !s.unvouched(&before))
		after = r.Account
		return err
	}
	switch {
	case a.EmailConfirmedAt == nil:
		err = s.update(ctx, func(tx storage.Tx) error {
			r, err := get(tx, did)
			switch {
			case err != nil:
				return err
			case r.EmailConfirmedAt != nil: // confirmed meanwhile
				return errTokenRequired
			}
			return set(tx, r)
		})
	case code != "":
		err = s.redeem(ctx, mail.UpdateEmail, did, code, set)
	case factor == nil || !*factor:
		return errTokenRequired
	default:
		err = s.modify(ctx, did, EmailChanged, func(tx storage.Tx, r *record) error {
			if r.Email != email || r.EmailConfirmedAt == nil {
				return errTokenRequired
			}
			before = r.Account
			err := s.switchFactor(r, true)
			after = r.Account
			return err
		})
	}
	if errors.Is(err, ErrEmailTaken) {
		return s.told(ctx, err)
	}
	if err == nil {
		s.tellEmailChange(&before, &after)
	}
	return err
}

// tellEmailChange tells an owner of another address, at both, and of a second factor that was
// switched.
func (s *Service) tellEmailChange(before, after *Account) {
	if before.Email != after.Email {
		d := mail.Data{OldEmail: before.Email, NewEmail: after.Email}
		s.notifyAt(after, before.Email, mail.EmailChanged, d)
		s.notifyAt(after, after.Email, mail.EmailChanged, d)
	}
	if before.EmailAuthFactor != after.EmailAuthFactor {
		to := after.Email
		if before.EmailAuthFactor { // it went with the address, which may be a thief's
			to = before.Email
		}
		s.notifyAt(after, to, mail.FactorChanged, mail.Data{On: after.EmailAuthFactor})
	}
}

// SetEmail gives an account another address without asking its owner. Errors: [ErrNotFound],
// [ErrInvalidEmail], [ErrEmailTaken] (source: com.atproto.admin.updateAccountEmail).
func (s *Service) SetEmail(ctx context.Context, did syntax.DID, address string) error {
	email, err := s.checkEmail(address)
	if err != nil {
		return err
	}
	var before, after Account
	err = s.update(ctx, func(tx storage.Tx) error {
		r, err := get(tx, did)
		if err != nil {
			return err
		}
		before = r.Account
		err = s.setEmail(ctx, tx, r, email, nil, true)
		after = r.Account
		return err
	})
	if err == nil {
		s.tellEmailChange(&before, &after)
	}
	return err
}

// setEmail gives an account an address. Somebody vouched for the change if it came with a code, or
// from an admin.
func (s *Service) setEmail(ctx context.Context, tx storage.Tx, r *record, email string, factor *bool, vouched bool) error {
	before := r.Account
	if r.Email != email {
		switch _, err := accountsTable.GetBy(tx, "email", email); {
		case err == nil:
			return errEmailInUse
		case !errors.Is(err, storage.ErrNotFound):
			return err
		}
		r.Email, r.EmailConfirmedAt, r.EmailAuthFactor, r.EmailUnvouchedAt = email, nil, false, nil
		if now := s.now(); !vouched {
			r.EmailUnvouchedAt = &now
		}
	}
	if factor != nil {
		if err := s.switchFactor(r, *factor); err != nil {
			return err
		}
	}
	if err := voidCodes(tx, r.DID); err != nil {
		return err
	}
	return s.changed(ctx, tx, EmailChanged, &before, r)
}

// switchFactor switches the e-mailed sign-in code of an account on or off.
func (s *Service) switchFactor(r *record, on bool) error {
	switch {
	case on && r.EmailConfirmedAt == nil:
		return errUnconfirmed
	case on && !r.EmailAuthFactor && s.unvouched(&r.Account):
		return errUnvouched
	}
	r.EmailAuthFactor = on
	return nil
}
