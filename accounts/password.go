package accounts

import (
	"context"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
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

// Authenticate returns the account of an identifier (a handle, DID or e-mail address, in any
// spelling that [NormalizeIdentifier] understands) if the password is its own. An unknown
// identifier and a wrong password give the same [ErrBadCredentials] after the same work. The
// account may be taken down or deactivated: what that means is the caller's to decide. Beyond the
// budget of guesses at the account, or of hashes for the client, it is a [ratelimit.ErrLimited].
func (s *Service) Authenticate(ctx context.Context, identifier, password string) (*Account, error) {
	r, err := s.authenticate(ctx, identifier, password, func(tx storage.Tx) (*record, error) { return find(tx, identifier) })
	if err != nil {
		return nil, err
	}
	r.remember() // it may have been upgraded
	return &r.Account, nil
}

// authenticate is the one place where an account password is tried.
func (s *Service) authenticate(ctx context.Context, identifier, password string, find func(storage.Tx) (*record, error)) (*record, error) {
	if utf8.RuneCountInString(password) > maxTriedPassword {
		return nil, errTriedTooLong
	}
	var r *record
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		r, err = find(tx)
		return err
	})
	typed := normalIdentifier(identifier)
	who := typed
	switch {
	case errors.Is(err, ErrNotFound):
		r = &record{}
	case err != nil:
		return nil, err
	default:
		who = r.DID.String()
	}
	if err := s.chargeHash(ctx); err != nil {
		return nil, err
	}
	if err := s.chargeGuess(ctx, typed, who); err != nil {
		return nil, err
	}
	return r, s.verifyPassword(ctx, r, password)
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

// dearest is the work of the dearest hash that an account has. A wrong password and an unknown
// identifier cost as much, so that the time of an answer tells neither whether there is an account
// nor when its password was set.
func (s *Service) dearest(ctx context.Context) int64 {
	now := s.now()
	s.dearestMu.Lock()
	defer s.dearestMu.Unlock()
	if now.Before(s.dearestUntil) {
		return s.dearestWork
	}
	err := s.store.View(ctx, func(tx storage.Tx) error {
		s.dearestWork = s.unlistedWork
		top, err := accountsTable.All(tx, storage.Range{Index: "hash_work", Reverse: true, Limit: 1})
		if len(top) > 0 {
			s.dearestWork = max(s.dearestWork, top[0].HashWork)
		}
		return err
	})
	if err != nil { // the login itself will meet it
		return s.dearestWork
	}
	s.dearestUntil = now.Add(time.Minute)
	return s.dearestWork
}

// alsoDear takes note of the work of a hash that isn't in the index, and returns that of the
// dearest.
func (s *Service) alsoDear(work int64) int64 {
	s.dearestMu.Lock()
	defer s.dearestMu.Unlock()
	s.unlistedWork = max(s.unlistedWork, work)
	s.dearestWork = max(s.dearestWork, work)
	return s.dearestWork
}

// verifyPassword checks the password of a record; one that has no password costs the same
// work. A hash weaker than today's is replaced.
func (s *Service) verifyPassword(ctx context.Context, r *record, password string) error {
	if r.PasswordHash == "" {
		if err := s.cfg.Passwords.Dummy(ctx, password, s.dearest(ctx)); err != nil {
			return err
		}
		return errBadCredentials
	}
	work := s.dearest(ctx)
	if r.HashWork == 0 { // written before the index was there
		work = s.alsoDear(s.cfg.Passwords.Work(r.PasswordHash))
	}
	ok, rehash, err := s.cfg.Passwords.Verify(ctx, r.PasswordHash, password, work)
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
			s.setHash(r, hash)
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

// SetPassword gives an account a new password; all its sessions end, codes that were mailed before
// are void, and a scheduled deletion is called off (source:
// com.atproto.admin.updateAccountPassword).
func (s *Service) SetPassword(ctx context.Context, did syntax.DID, password string) error {
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

// setHash gives an account a password hash, or none.
func (s *Service) setHash(r *record, hash string) {
	r.PasswordHash, r.HashWork = hash, s.cfg.Passwords.Work(hash)
}

// replacePassword gives an account the hash of another password, or none, with what goes with that:
// a scheduled deletion is called off, and codes that were mailed before are void.
func (s *Service) replacePassword(tx storage.Tx, r *record, hash string) error {
	s.setHash(r, hash)
	r.DeleteAfter = nil
	return codes.Void(tx, r.DID)
}

// RevokeCredentials leaves an account without a password until it is reset; all its sessions end,
// its app passwords are revoked, and codes that were mailed before are void (source:
// com.atproto.temp.revokeAccountCredentials).
func (s *Service) RevokeCredentials(ctx context.Context, did syntax.DID) error {
	return s.modify(ctx, did, CredentialsRevoked, func(tx storage.Tx, r *record) error {
		return s.replacePassword(tx, r, "")
	})
}

// modify changes an account in a transaction.
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
