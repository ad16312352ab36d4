package accounts

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

var errBadCredentials = refusal.New(ErrBadCredentials, "Invalid identifier or password")

// PasswordProof is proof that somebody knew the password of an account at one time.
type PasswordProof struct {
	did  syntax.DID
	hash *string // that was verified; behind a pointer, so that a printed proof doesn't show it
}

// DID returns the DID of the account.
func (p *PasswordProof) DID() syntax.DID { return p.did }

// StillTx checks, inside a transaction, that the account still has the password that was verified.
// Error: [ErrBadCredentials] if the password was changed or the account deleted.
func (p *PasswordProof) StillTx(tx storage.Tx) error {
	r, err := get(tx, p.did)
	switch {
	case errors.Is(err, ErrNotFound):
		return errBadCredentials
	case err != nil:
		return err
	case p.hash == nil || r.PasswordHash == "" || r.PasswordHash != *p.hash:
		return errBadCredentials
	}
	return nil
}

// nobody is a DID that no account has. It is read in place of an empty one, which the store would
// refuse without asking the database, so that the time of an answer reveals nothing.
const nobody syntax.DID = "did:plc:nobody"

// Authenticate verifies the password of an account. For a wrong password and for an account that
// doesn't exist (or an empty DID) it returns the same [ErrBadCredentials], after the same work. The
// account may be taken down or deactivated: the caller decides what follows from that.
//
// A hash is charged to the client's address first. Then charge is called, before the password is
// verified, to charge the guess to the caller's own budget; Authenticate returns its error, if any.
// Errors: [ErrBadCredentials], also for every password if NoPasswords of the [Config] is set,
// [ratelimit.ErrLimited], those of charge.
func (s *Service) Authenticate(ctx context.Context, did syntax.DID, password string, charge func(context.Context) error) (*PasswordProof, error) {
	if s.cfg.NoPasswords {
		return nil, errBadCredentials
	}
	var r *record
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		r, err = get(tx, cmp.Or(did, nobody))
		return err
	})
	if errors.Is(err, ErrNotFound) {
		r, err = &record{}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := s.chargeHash(ctx); err != nil {
		return nil, err
	}
	if err := charge(ctx); err != nil {
		return nil, err
	}
	if err := s.verifyPassword(ctx, r, password); err != nil {
		return nil, err
	}
	return &PasswordProof{did: r.DID, hash: &r.PasswordHash}, nil
}

// verifyPassword checks the password of a record, with the same work if the record has none. It
// replaces a hash that is weaker than those made today, in the store and in r.
func (s *Service) verifyPassword(ctx context.Context, r *record, password string) error {
	if r.PasswordHash == "" {
		if err := s.cfg.Passwords.Dummy(ctx, password, s.maxWork(ctx)); err != nil {
			return err
		}
		return errBadCredentials
	}
	work := s.maxWork(ctx)
	if r.HashWork == 0 { // stored before the index existed
		work = s.raiseMaxWork(s.cfg.Passwords.Work(r.PasswordHash))
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

// upgradeHash replaces the hash of a password, which was right, by one of today's strength.
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
		// Another login upgraded the hash first, or the password was changed meanwhile.
		if ok, _, err := s.cfg.Passwords.Verify(ctx, current, password, 0); err != nil || !ok {
			return err
		}
	}
	old.PasswordHash = current
	return nil
}

// maxWorkFor is how long the work of the costliest hash is cached.
const maxWorkFor = time.Minute

// maxWork returns the work of the costliest hash of any account. Wrong passwords and unknown
// identifiers cost as much, so that the time of an answer reveals neither whether an account exists
// nor when its password was set.
func (s *Service) maxWork(ctx context.Context) int64 {
	now := s.now()
	s.work.Lock()
	defer s.work.Unlock()
	if now.Before(s.work.until) {
		return s.work.max
	}
	err := s.store.View(ctx, func(tx storage.Tx) error {
		s.work.max = s.work.unindexed
		top, err := accountsTable.All(tx, storage.Range{Index: "hash_work", Reverse: true, Limit: 1})
		if len(top) > 0 {
			s.work.max = max(s.work.max, top[0].HashWork)
		}
		return err
	})
	if err == nil { // otherwise the login will fail for the same reason
		s.work.until = now.Add(maxWorkFor)
	}
	return s.work.max
}

// forgetMaxWork has the next login read the work of the costliest hash anew.
func (s *Service) forgetMaxWork() {
	s.work.Lock()
	defer s.work.Unlock()
	s.work.until = time.Time{}
}

// raiseMaxWork takes the work of a hash that isn't in the index into account, and returns that of
// the costliest.
func (s *Service) raiseMaxWork(work int64) int64 {
	s.work.Lock()
	defer s.work.Unlock()
	s.work.unindexed = max(s.work.unindexed, work)
	s.work.max = max(s.work.max, work)
	return s.work.max
}

// StampTx returns an account with its stamp, inside a transaction. The stamp is a text that changes
// whenever the account's password changes or a takedown begins or ends, and reveals nothing about
// them. What was granted under one stamp can be refused under another. Error: [ErrNotFound].
func StampTx(tx storage.Tx, did syntax.DID) (*Account, string, error) {
	r, err := get(tx, did)
	if err != nil {
		return nil, "", err
	}
	h := sha256.New()
	_, _ = io.WriteString(h, r.PasswordHash)
	if r.Takedown != nil {
		_, _ = io.WriteString(h, " "+storage.TimeKey(r.Takedown.At))
	}
	return &r.Account, base64.RawURLEncoding.EncodeToString(h.Sum(nil)), nil
}
