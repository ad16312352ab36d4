package accounts

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/storage"
)

// RequestPasswordReset e-mails a code for [Service.ResetPassword] to the address of an account,
// which is identified by that address, its handle or its DID. It doesn't if there is no such
// account, or if a session has set the address without a code in the last three days. It returns at
// once and never reveals which: lookup and delivery run in the background, and requests for which
// the queue has no room are dropped. Errors: [ErrNoPasswords], that of a context that has ended
// (source: com.atproto.server.requestPasswordReset).
func (s *Service) RequestPasswordReset(ctx context.Context, identifier string) error {
	if s.cfg.NoPasswords {
		return errNoPasswords
	}
	client := ratelimit.Client{Address: ratelimit.FromContext(ctx).Address}
	s.queue.Do(mail.ResetPassword, func(ctx context.Context) {
		if err := s.sendReset(ratelimit.NewContext(ctx, client), identifier); err != nil {
			s.cfg.Logger.ErrorContext(ctx, "password reset not sent", "error", err)
		}
	})
	return ctx.Err()
}

// sendReset e-mails a code for a password reset from a job of the queue. If none is sent on
// purpose, it returns no error.
func (s *Service) sendReset(ctx context.Context, identifier string) error {
	a, err := s.Find(ctx, identifier)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	case a.Email == "":
		return nil
	case s.unvouched(a):
		s.cfg.Logger.WarnContext(ctx, "password reset not sent: a session changed the address without a code recently", "did", a.DID)
		return nil
	}
	byAddress := a.Email == normalIdentifier(identifier)
	err = s.chargeReset(ctx, a.Email, !byAddress)
	if errors.Is(err, ratelimit.ErrLimited) {
		s.cfg.Logger.WarnContext(ctx, "password reset not sent: too many e-mails", "did", a.DID, "address", ratelimit.FromContext(ctx).Address)
		return nil
	}
	if err != nil {
		return err
	}
	m, err := s.codeMessage(ctx, a.DID, codes.ResetPassword)
	if err != nil {
		return err
	}
	return s.queue.Send(ctx, m)
}

// AppPasswordPolicy says what a password reset does to the account's app passwords.
type AppPasswordPolicy int

const (
	// EndIfUnconfirmed revokes them if the account's address was never confirmed, since somebody
	// else may have created the account and them. It is the default.
	EndIfUnconfirmed AppPasswordPolicy = iota
	// KeepAppPasswords keeps them.
	KeepAppPasswords
	// EndAppPasswords revokes them.
	EndAppPasswords
)

// ends reports whether the app passwords of an account are revoked.
func (p AppPasswordPolicy) ends(a *Account) bool {
	return p == EndAppPasswords || p == EndIfUnconfirmed && a.EmailConfirmedAt == nil
}

// ResetParams are the parameters of [Service.ResetPassword].
type ResetParams struct {
	// Code is the code of [Service.RequestPasswordReset], as its owner typed it.
	Code string
	// Password is the new password.
	Password string
	// AppPasswords says what becomes of the account's app passwords.
	AppPasswords AppPasswordPolicy
}

// ResetPassword gives an account a new password, with the code of [Service.RequestPasswordReset].
// All sessions of the account end, all its codes are voided, and a scheduled deletion is called
// off. Its address is confirmed, since the code has arrived there. The owner is notified. Errors:
// [ErrNoPasswords], [codes.ErrInvalid], [codes.ErrExpired], [ErrInvalidPassword],
// [ErrInvalidRequest] for a password that is too long, [ratelimit.ErrLimited], those of the
// [PasswordPolicy] (source: com.atproto.server.resetPassword).
func (s *Service) ResetPassword(ctx context.Context, p ResetParams) error {
	if s.cfg.NoPasswords {
		return errNoPasswords
	}
	if err := s.checkNewPassword(p.Password); err != nil {
		return err
	}
	code, err := codes.Parse(p.Code)
	if err != nil {
		return err
	}
	// A wrong code is refused before the password is hashed, which is expensive.
	var owner syntax.DID
	err = s.decide(ctx, func(tx storage.Tx) (refusal, err error) {
		if owner, err = s.cfg.Codes.Owner(tx, codes.ResetPassword, code); err != nil {
			return nil, err
		}
		return s.cfg.Codes.Check(tx, owner, codes.ResetPassword, code)
	})
	if err != nil {
		return err
	}
	if err := s.askPasswordPolicyFor(ctx, p.Password, owner); err != nil {
		return err
	}
	if err := s.chargeHash(ctx); err != nil {
		return err
	}
	hash, err := s.cfg.Passwords.Hash(ctx, p.Password)
	if err != nil {
		return err
	}
	var after *Account
	err = s.decide(ctx, func(tx storage.Tx) (refusal, err error) {
		did, err := s.cfg.Codes.Owner(tx, codes.ResetPassword, code)
		if err != nil {
			return nil, err
		}
		if refusal, err := s.cfg.Codes.Redeem(tx, did, codes.ResetPassword, code); refusal != nil || err != nil {
			return refusal, err
		}
		r, err := get(tx, did)
		if err != nil {
			return nil, err
		}
		before, now := r.Account, s.now()
		if r.EmailConfirmedAt == nil {
			r.EmailConfirmedAt = &now
		}
		if err := s.replacePassword(tx, r, hash); err != nil {
			return nil, err
		}
		after = &r.Account
		return nil, s.write(ctx, tx, r, Change{Kind: PasswordChanged, Before: &before, EndsAppPasswords: p.AppPasswords.ends(&before)})
	})
	if err == nil {
		s.notify(after, mail.PasswordChanged, mail.Data{})
	}
	return err
}
