package accounts

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// maxNewPassword is the longest new password, in characters.
const maxNewPassword = 256

var errPasswordTooLong = refusal.Newf(ErrInvalidRequest, "Password too long. Maximum length is %d characters.", maxNewPassword)

// ErrNoPasswords is returned when a password is to be set or reset although NoPasswords of the
// [Config] is set. Clients are answered 400 InvalidRequest.
var ErrNoPasswords = errors.New("accounts: account passwords are disabled")

var errNoPasswords = refusal.New(ErrNoPasswords, "This server doesn't use account passwords")

// checkNewPassword refuses a password that is too short or too long.
func (s *Service) checkNewPassword(password string) error {
	n := utf8.RuneCountInString(password)
	switch {
	case n > maxNewPassword:
		return errPasswordTooLong
	case n < s.cfg.MinPasswordLength:
		return refusal.Newf(ErrInvalidPassword, "Password too short. Minimum length is %d characters.", s.cfg.MinPasswordLength)
	}
	return nil
}

// checkSignUpPassword checks the password of a new account. With NoPassword it has to be empty.
func (s *Service) checkSignUpPassword(p CreateParams) error {
	switch {
	case p.NoPassword && p.Password != "":
		return refusal.New(ErrInvalidRequest, "Password must be empty if there is to be none")
	case p.NoPassword:
		return nil
	case s.cfg.NoPasswords:
		return errNoPasswords
	}
	return s.checkNewPassword(p.Password)
}

// SetPassword gives an account a new password, for an admin. All sessions of the account end, codes
// that were mailed before are void, and a scheduled deletion is called off. The owner is notified.
// Errors: [ErrNoPasswords], [ErrInvalidPassword], [ErrInvalidRequest] for a password that is too
// long, [ErrNotFound], those of the [PasswordPolicy] (source:
// com.atproto.admin.updateAccountPassword).
func (s *Service) SetPassword(ctx context.Context, did syntax.DID, password string) error {
	if s.cfg.NoPasswords {
		return errNoPasswords
	}
	if err := s.checkNewPassword(password); err != nil {
		return err
	}
	if err := s.askPasswordPolicyFor(ctx, password, did); err != nil {
		return err
	}
	hash, err := s.cfg.Passwords.Hash(ctx, password)
	if err != nil {
		return err
	}
	var after *Account
	err = s.modify(ctx, did, PasswordChanged, func(tx storage.Tx, r *record) error {
		after = &r.Account
		return s.replacePassword(tx, r, hash)
	})
	if err == nil {
		s.notify(after, mail.PasswordChanged, mail.Data{})
	}
	return err
}

// setHash sets the password hash of an account. An empty hash means that it has no password.
func (s *Service) setHash(r *record, hash string) {
	r.PasswordHash, r.HashWork = hash, s.cfg.Passwords.Work(hash)
}

// replacePassword sets the hash of another password, or none. It also calls off a scheduled
// deletion, and voids the codes that were mailed before.
func (s *Service) replacePassword(tx storage.Tx, r *record, hash string) error {
	s.setHash(r, hash)
	r.DeleteAfter = nil
	return codes.Void(tx, r.DID)
}

// RevokeCredentials leaves an account without a password until it is reset. All its sessions end,
// its app passwords are revoked, codes that were mailed before are void, and a scheduled deletion
// is called off. Error: [ErrNotFound] (source: com.atproto.temp.revokeAccountCredentials).
func (s *Service) RevokeCredentials(ctx context.Context, did syntax.DID) error {
	return s.modify(ctx, did, CredentialsRevoked, func(tx storage.Tx, r *record) error {
		return s.replacePassword(tx, r, "")
	})
}

// modify changes an account in a transaction of its own, and runs the hooks.
func (s *Service) modify(ctx context.Context, did syntax.DID, kind Kind, change func(storage.Tx, *record) error) error {
	return s.update(ctx, func(tx storage.Tx) error {
		r, err := get(tx, did)
		if err != nil {
			return err
		}
		before := r.Account
		if err := change(tx, r); err != nil {
			return err
		}
		return s.changed(ctx, tx, kind, &before, r)
	})
}
