package accounts

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// The longest passwords, in characters: of a new one, and of one that is tried.
const (
	maxNewPassword   = 256
	maxTriedPassword = 512
)

var (
	errPasswordTooLong  = refusal.Newf(ErrInvalidRequest, "Password too long. Maximum length is %d characters.", maxNewPassword)
	errTriedTooLong     = refusal.New(ErrBadCredentials, "Password too long. Consider resetting your password.")
	errBadCredentials   = refusal.New(ErrBadCredentials, "Invalid identifier or password")
	errBadDIDOrPassword = refusal.New(ErrBadCredentials, "Invalid did or password")
)

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

// Authenticate returns the account of an identifier (a handle, DID or e-mail address)
// if the password is its own. An unknown identifier and a wrong password give
// the same [ErrBadCredentials] after the same work. The account may be taken down or
// deactivated: what that means is the caller's to decide.
func (s *Service) Authenticate(ctx context.Context, identifier, password string) (*Account, error) {
	if utf8.RuneCountInString(password) > maxTriedPassword {
		return nil, errTriedTooLong
	}
	var r *record
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		r, err = find(tx, identifier)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		r, err = &record{}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := s.verifyPassword(ctx, r, password); err != nil {
		return nil, err
	}
	r.remember() // it may have been upgraded
	return &r.Account, nil
}

// StillTx reads an account that [Service.Authenticate] returned once more, inside a
// transaction. It is an [ErrBadCredentials] if the account is gone or its
// password was changed meanwhile.
func (s *Service) StillTx(tx storage.Tx, a *Account) (*Account, error) {
	r, err := get(tx, a.DID)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, errBadCredentials
	case err != nil:
		return nil, err
	case r.PasswordHash != a.hash():
		return nil, errBadCredentials
	}
	return &r.Account, nil
}

// verifyPassword checks the password of a record; one that has no password costs the same
// work. A hash weaker than today's is replaced.
func (s *Service) verifyPassword(ctx context.Context, r *record, password string) error {
	if r.PasswordHash == "" {
		if err := s.cfg.Passwords.Dummy(ctx, password, 0); err != nil {
			return err
		}
		return errBadCredentials
	}
	ok, rehash, err := s.cfg.Passwords.Verify(ctx, r.PasswordHash, password, 0)
	switch {
	case err != nil:
		return err
	case !ok:
		return errBadCredentials
	case !rehash:
		return nil
	}
	if err := s.upgradeHash(ctx, r, password); err != nil {
		s.cfg.Logger.WarnContext(ctx, "password hash not upgraded", "did", r.DID, "error", err)
	}
	return nil
}

func (s *Service) upgradeHash(ctx context.Context, old *record, password string) error {
	hash, err := s.cfg.Passwords.Hash(ctx, password)
	if err != nil {
		return err
	}
	current := old.PasswordHash
	err = s.store.Update(ctx, func(tx storage.Tx) error {
		r, err := get(tx, old.DID)
		if err != nil {
			return err
		}
		if r.PasswordHash == old.PasswordHash {
			r.PasswordHash = hash
		}
		current = r.PasswordHash
		return put(tx, r)
	})
	if err != nil {
		return err
	}
	if current != hash {
		// Another login was first, or the password was changed meanwhile.
		if ok, _, err := s.cfg.Passwords.Verify(ctx, current, password, 0); err != nil || !ok {
			return err
		}
	}
	old.PasswordHash = current
	return nil
}

// SetPassword gives an account a new password; all its sessions end
// (source: com.atproto.admin.updateAccountPassword).
func (s *Service) SetPassword(ctx context.Context, did syntax.DID, password string) error {
	if err := s.checkNewPassword(password); err != nil {
		return err
	}
	hash, err := s.cfg.Passwords.Hash(ctx, password)
	if err != nil {
		return err
	}
	return s.modify(ctx, did, PasswordChanged, func(tx storage.Tx, r *record) error {
		r.PasswordHash = hash
		return voidCode(tx, did, mail.ResetPassword)
	})
}

// RequestPasswordReset mails a code to the account of an address, if there is
// one. It returns at once, and never says whether there is: looking up and
// sending go on in the background (source: com.atproto.server.requestPasswordReset).
func (s *Service) RequestPasswordReset(ctx context.Context, email string) error {
	return s.inBackground(ctx, func(ctx context.Context) {
		a, err := s.Find(ctx, email)
		if err == nil && a.Email == normalIdentifier(email) {
			err = s.sendCode(ctx, a.DID, mail.ResetPassword)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			s.cfg.Logger.ErrorContext(ctx, "password reset not sent", "error", err)
		}
	})
}

// ResetPassword gives the account that a code was mailed to a new password; all
// its sessions end. Errors: [ErrInvalidToken], [ErrExpiredToken],
// [ErrInvalidPassword] (source: com.atproto.server.resetPassword).
func (s *Service) ResetPassword(ctx context.Context, code, password string) error {
	if err := s.checkNewPassword(password); err != nil {
		return err
	}
	// Check before hashing, which is the dear part.
	if err := s.redeem(ctx, mail.ResetPassword, "", code, nil); err != nil {
		return err
	}
	hash, err := s.cfg.Passwords.Hash(ctx, password)
	if err != nil {
		return err
	}
	return s.redeem(ctx, mail.ResetPassword, "", code, func(tx storage.Tx, r *record) error {
		before := r.Account
		r.PasswordHash = hash
		return s.changed(tx, PasswordChanged, &before, r)
	})
}

// RevokeCredentials leaves an account without a password until it is reset; all its sessions end, and its
// app passwords are revoked (source: com.atproto.temp.revokeAccountCredentials).
func (s *Service) RevokeCredentials(ctx context.Context, did syntax.DID) error {
	return s.modify(ctx, did, CredentialsRevoked, func(tx storage.Tx, r *record) error {
		r.PasswordHash = ""
		return nil
	})
}

// modify changes an account in a transaction.
func (s *Service) modify(ctx context.Context, did syntax.DID, kind Kind, change func(storage.Tx, *record) error) error {
	return s.store.Update(ctx, func(tx storage.Tx) error {
		r, err := get(tx, did)
		if err != nil {
			return err
		}
		before := r.Account
		if err := change(tx, r); err != nil {
			return err
		}
		return s.changed(tx, kind, &before, r)
	})
}

// inBackground runs work after the caller has gone on. Only so many run at once;
// beyond that the caller waits.
func (s *Service) inBackground(ctx context.Context, work func(context.Context)) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return storage.ErrClosed
	}
	s.background.Add(1)
	go func() {
		defer func() { <-s.slots; s.background.Done() }()
		work(s.ctx)
	}()
	return nil
}
