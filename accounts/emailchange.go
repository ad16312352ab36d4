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

// Errors about the e-mail address of an account.
var (
	// ErrWrongEmail is returned when [Emails.Confirm] is given an address that isn't the account's.
	// Clients are answered 400 InvalidEmail.
	ErrWrongEmail = errors.New("accounts: not the account's e-mail address")
	// ErrCodeRequired is returned when a confirmed address is to be changed without a code of
	// [Emails.RequestUpdate]. Clients are answered 400 TokenRequired.
	ErrCodeRequired = errors.New("accounts: code required")
)

var (
	errWrongEmail   = refusal.New(ErrWrongEmail, "invalid email")
	errCodeRequired = refusal.New(ErrCodeRequired, "confirmation token required")
	errEmailInUse   = refusal.New(ErrEmailTaken, "This email address is already in use, please use a different email.")
	errUnconfirmed  = refusal.New(ErrInvalidRequest, "The email address has to be confirmed before it can be used for sign-in codes")
	errUnvouched    = refusal.New(ErrInvalidRequest, "The email address was changed without a code less than three days ago, and can't be used for this yet")
)

// unvouchedFor is how long an address isn't trusted after a session has set it without a code. The
// session may have been stolen, and the owner, who has the password, needs that time to act on the
// notice.
const unvouchedFor = 72 * time.Hour

// unvouched reports whether the account's address isn't trusted, since a session has set it without
// a code less than [unvouchedFor] ago. No password reset and no code for a PLC operation is mailed
// to such an address, and it can't become a second factor.
func (s *Service) unvouched(a *Account) bool {
	return a.EmailUnvouchedAt != nil && s.now().Sub(*a.EmailUnvouchedAt) < unvouchedFor
}

// RequestConfirmation e-mails a code for [Emails.Confirm] to the account's address. Errors:
// [ErrNotFound], [ErrInvalidRequest] for an account without an address, [ratelimit.ErrLimited],
// [mail.ErrDelivery] (source: com.atproto.server.requestEmailConfirmation).
func (e *Emails) RequestConfirmation(ctx context.Context, did syntax.DID) error {
	a, err := e.s.Get(ctx, did)
	if err != nil {
		return err
	}
	return e.s.sendCode(ctx, a, codes.ConfirmEmail)
}

// Confirm confirms the account's address with the code of [Emails.RequestConfirmation]. Errors:
// [ErrNotFound], [ErrWrongEmail], [codes.ErrInvalid], [codes.ErrExpired] (source:
// com.atproto.server.confirmEmail).
func (e *Emails) Confirm(ctx context.Context, did syntax.DID, email, typedCode string) error {
	s := e.s
	a, err := s.Get(ctx, did)
	if err != nil {
		return err
	}
	email = normalIdentifier(email)
	if a.Email != email {
		return errWrongEmail
	}
	code, err := codes.Parse(typedCode)
	if err != nil {
		return err
	}
	return s.redeem(ctx, did, codes.ConfirmEmail, code, func(tx storage.Tx, r *record) error {
		if r.Email != email { // changed meanwhile
			return errWrongEmail
		}
		before, now := r.Account, s.now()
		r.EmailConfirmedAt = &now
		return s.changed(ctx, tx, EmailChanged, &before, r)
	})
}

// RequestUpdate reports whether [Emails.Update] needs a code, which it does if the account's
// present address is confirmed. If so, it e-mails one to that address. Errors: [ErrNotFound],
// [ratelimit.ErrLimited], [mail.ErrDelivery] (source: com.atproto.server.requestEmailUpdate).
func (e *Emails) RequestUpdate(ctx context.Context, did syntax.DID) (codeRequired bool, err error) {
	a, err := e.s.Get(ctx, did)
	if err != nil {
		return false, err
	}
	if a.EmailConfirmedAt == nil {
		return false, nil
	}
	return true, e.s.sendCode(ctx, a, codes.UpdateEmail)
}

// EmailUpdate are the parameters of [Emails.Update].
type EmailUpdate struct {
	// Address is the account's new address, or the present one if only Factor is to change. It may
	// be in any spelling that [NormalizeEmail] understands.
	Address string
	// Code is the code of [Emails.RequestUpdate], as its owner typed it. It may be empty while the
	// present address is unconfirmed, and if the update only enables the second factor.
	Code string
	// Factor enables or disables the second factor.
	Factor FactorChange
}

// FactorChange says what becomes of an account's second factor: a code that is e-mailed at each
// login with the password.
type FactorChange int

const (
	// KeepFactor leaves the second factor as it is, unless the address changes, which disables it.
	// It is the default.
	KeepFactor FactorChange = iota
	// EnableFactor enables the second factor, for which the address must be confirmed.
	EnableFactor
	// DisableFactor disables the second factor.
	DisableFactor
)

// Update changes the account's address or its second factor. A new address is unconfirmed, and not
// a second factor. Replacing a confirmed address, or disabling its factor, takes a code. Enabling
// the factor takes none, since that only protects the account better. All codes of the account are
// voided, unless the factor is enabled without a code. The owner is notified, at the old address
// too.
//
// Errors: [ErrNotFound], [ErrInvalidEmail], [ErrEmailTaken], [ErrCodeRequired], [codes.ErrInvalid],
// [codes.ErrExpired], [ErrInvalidRequest] if the address can't be a second factor,
// [ratelimit.ErrLimited] (source: com.atproto.server.updateEmail).
func (e *Emails) Update(ctx context.Context, did syntax.DID, u EmailUpdate) error {
	s := e.s
	address, err := e.Check(ctx, u.Address)
	if err != nil {
		return err
	}
	u.Address = address
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
	var c emailChange
	switch {
	case a.EmailConfirmedAt == nil:
		c, err = s.updateUnconfirmed(ctx, did, u)
	case u.Code != "":
		c, err = s.updateWithCode(ctx, did, u)
	case u.Factor == EnableFactor:
		c, err = s.enableFactor(ctx, did, u.Address)
	default:
		err = errCodeRequired
	}
	if errors.Is(err, ErrEmailTaken) {
		return s.told(ctx, err)
	}
	if err == nil {
		s.tellEmailChange(c)
	}
	return err
}

// emailChange is an account before and after a change of its address or its second factor.
type emailChange struct{ before, after Account }

// updateUnconfirmed updates an account whose present address is unconfirmed, which needs no code.
func (s *Service) updateUnconfirmed(ctx context.Context, did syntax.DID, u EmailUpdate) (c emailChange, err error) {
	err = s.update(ctx, func(tx storage.Tx) error {
		r, err := get(tx, did)
		if err != nil {
			return err
		}
		if r.EmailConfirmedAt != nil { // confirmed meanwhile
			return errCodeRequired
		}
		const vouched = false // only a session asks for it
		c, err = s.setEmail(ctx, tx, r, u.Address, u.Factor, vouched)
		return err
	})
	return c, err
}

// updateWithCode updates an account with a code that was mailed to its present address. The code
// vouches for the new address if the present one is trusted.
func (s *Service) updateWithCode(ctx context.Context, did syntax.DID, u EmailUpdate) (c emailChange, err error) {
	code, err := codes.Parse(u.Code)
	if err != nil {
		return c, err
	}
	err = s.redeem(ctx, did, codes.UpdateEmail, code, func(tx storage.Tx, r *record) (err error) {
		vouched := r.EmailConfirmedAt != nil && !s.unvouched(&r.Account)
		c, err = s.setEmail(ctx, tx, r, u.Address, u.Factor, vouched)
		return err
	})
	return c, err
}

// enableFactor makes the confirmed address of an account its second factor, without a code. The
// given address must be the present one.
func (s *Service) enableFactor(ctx context.Context, did syntax.DID, address string) (c emailChange, err error) {
	err = s.modify(ctx, did, EmailChanged, func(tx storage.Tx, r *record) error {
		if r.Email != address || r.EmailConfirmedAt == nil {
			return errCodeRequired
		}
		c.before = r.Account
		err := s.changeFactor(r, EnableFactor)
		c.after = r.Account
		return err
	})
	return c, err
}

// Set gives an account another address without a code, for an admin. The owner is notified. The new
// address is unconfirmed, and all codes of the account are voided. Errors: [ErrNotFound],
// [ErrInvalidEmail], [ErrEmailTaken] (source: com.atproto.admin.updateAccountEmail).
func (e *Emails) Set(ctx context.Context, did syntax.DID, address string) error {
	email, err := e.Check(ctx, address)
	if err != nil {
		return err
	}
	var c emailChange
	err = e.s.update(ctx, func(tx storage.Tx) error {
		r, err := get(tx, did)
		if err != nil {
			return err
		}
		const vouched = true // an admin asks for it
		c, err = e.s.setEmail(ctx, tx, r, email, KeepFactor, vouched)
		return err
	})
	if err == nil {
		e.s.tellEmailChange(c)
	}
	return err
}

// setEmail sets the address of an account, which may be the present one, and its factor. vouched
// says whether the new address is to be trusted: an admin has set it, or somebody who receives mail
// at a trusted address.
func (s *Service) setEmail(ctx context.Context, tx storage.Tx, r *record, email string, factor FactorChange, vouched bool) (emailChange, error) {
	before := r.Account
	if r.Email != email {
		switch _, err := accountsTable.GetBy(tx, "email", email); {
		case err == nil:
			return emailChange{}, errEmailInUse
		case !errors.Is(err, storage.ErrNotFound):
			return emailChange{}, err
		}
		r.Email, r.EmailConfirmedAt, r.EmailAuthFactor, r.EmailUnvouchedAt = email, nil, false, nil
		if now := s.now(); !vouched {
			r.EmailUnvouchedAt = &now
		}
	}
	if err := s.changeFactor(r, factor); err != nil {
		return emailChange{}, err
	}
	if err := codes.Void(tx, r.DID); err != nil {
		return emailChange{}, err
	}
	err := s.changed(ctx, tx, EmailChanged, &before, r)
	return emailChange{before: before, after: r.Account}, err
}

// changeFactor enables or disables the second factor of an account, or does nothing.
func (s *Service) changeFactor(r *record, change FactorChange) error {
	switch change {
	case DisableFactor:
		r.EmailAuthFactor = false
	case EnableFactor:
		switch {
		case r.EmailConfirmedAt == nil:
			return errUnconfirmed
		case !r.EmailAuthFactor && s.unvouched(&r.Account):
			return errUnvouched
		}
		r.EmailAuthFactor = true
	}
	return nil
}

// tellEmailChange notifies the owner of a new address, at the old one and the new one, and of a
// second factor that was enabled or disabled.
func (s *Service) tellEmailChange(c emailChange) {
	if c.before.Email != c.after.Email {
		d := mail.Data{OldEmail: c.before.Email, NewEmail: c.after.Email}
		s.notifyAt(&c.after, c.before.Email, mail.EmailChanged, d)
		s.notifyAt(&c.after, c.after.Email, mail.EmailChanged, d)
	}
	if c.before.EmailAuthFactor != c.after.EmailAuthFactor {
		to := c.after.Email
		if c.before.EmailAuthFactor { // the new address may be an attacker's
			to = c.before.Email
		}
		s.notifyAt(&c.after, to, mail.FactorChanged, mail.Data{On: c.after.EmailAuthFactor})
	}
}
