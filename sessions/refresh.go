package sessions

import (
	"context"
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Refresh exchanges the token for new tokens. The old token works on for the grace period, in which
// everybody who uses it gets the same successor. When it is used after that it is taken for stolen,
// and the session ends. Errors: [ErrInvalidToken], [ErrExpiredToken], [ErrAccountNotFound],
// [ErrAccountTakedown] (source: com.atproto.server.refreshSession).
func (t *RefreshToken) Refresh(ctx context.Context) (*Tokens, error) {
	s, did, session, id := t.service, t.parsed.did(), t.parsed.claims.Session, t.parsed.claims.ID
	if err := t.parsed.fresh(); err != nil {
		s.cfg.Logger.InfoContext(ctx, "refresh refused", "reason", err.Error())
		return nil, err
	}
	next := s.next(id)
	var a *accounts.Account
	var r *record
	err := storage.Decide(ctx, s.store, func(tx storage.Tx) (refusal, err error) {
		if err := storage.Prefetch(tx, refs(did, session)...); err != nil {
			return nil, err
		}
		if a, r, err = s.loadBearer(tx, did, session); err != nil {
			return nil, err
		}
		return s.rotate(tx, r, next)
	})
	if err != nil {
		s.cfg.Logger.InfoContext(ctx, "refresh refused", "did", did, "session", session, "reason", err.Error())
		return nil, err
	}
	return s.tokens(a, r, next.id)
}

// Refresh is [RefreshToken.Refresh] of a token that hasn't been parsed.
func (s *Service) Refresh(ctx context.Context, refreshJWT string) (*Tokens, error) {
	return s.ParseRefresh(refreshJWT).Refresh(ctx)
}

// loadBearer is loadPrefetched for a session of bearer tokens.
func (s *Service) loadBearer(tx storage.Tx, did syntax.DID, session string) (*accounts.Account, *record, error) {
	a, r, err := s.loadPrefetched(tx, did, session)
	if err == nil && r.kind() != kindBearer {
		return nil, nil, errRevoked
	}
	return a, r, err
}

// cachedSessions is the most sessions that are kept as they were decoded.
const cachedSessions = 10_000

// load reads the account and the session of a token, and returns an error if the token isn't good
// any more.
func (s *Service) load(tx storage.Tx, did syntax.DID, session string) (*accounts.Account, *record, error) {
	if err := storage.Prefetch(tx, refs(did, session)...); err != nil {
		return nil, nil, err
	}
	return s.loadPrefetched(tx, did, session)
}

// loadPrefetched is load for a transaction that knows in advance what it reads: see refs.
func (s *Service) loadPrefetched(tx storage.Tx, did syntax.DID, session string) (*accounts.Account, *record, error) {
	a, err := s.accounts.ReadTx(tx, did)
	switch {
	case errors.Is(err, accounts.ErrNotFound):
		return nil, nil, errAccountGone
	case err != nil:
		return nil, nil, err
	case a.Takedown != nil:
		return nil, nil, errTakedown
	}
	r, err := s.known.Get(tx, session)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, nil, errRevoked
	case err != nil:
		return nil, nil, err
	case r.DID != did || !s.now().Before(r.ExpiresAt):
		return nil, nil, errRevoked
	}
	return a, r, nil
}

// refs refers to what load reads.
func refs(did syntax.DID, session string) []storage.Ref {
	return []storage.Ref{accounts.Ref(did), table.Ref(session)}
}

// rotate notes that a refresh token was used and which one takes its place. A token that is used
// again after its grace period is refused, and its session ends.
func (s *Service) rotate(tx storage.Tx, r *record, next step) (refusal, err error) {
	switch {
	case next.usedHash == r.Refresh:
		s.replace(r, next, s.cfg.Grace, s.cfg.RefreshLifetime)
		return nil, s.known.Put(tx, r)
	case s.inGrace(r, next.used):
		return nil, nil // its successor has been noted
	}
	return errReused, table.Delete(tx, r.ID)
}

// step is the step from a refresh token to its successor, with their hashes, which can be computed
// before a transaction that others wait for.
type step struct{ used, usedHash, id, hash string }

// next returns the step from a refresh token.
func (s *Service) next(used string) step {
	id := s.successor(used)
	return step{used, s.hash(used), id, s.hash(id)}
}

// inGrace reports whether a refresh token, which isn't the session's present one, was used and is in
// its grace period.
func (s *Service) inGrace(r *record, id string) bool {
	_, ok := s.latest(r, id)
	return ok
}

// latest follows the line of refresh tokens from one that was used and is in its grace period to
// the one that is now the session's.
func (s *Service) latest(r *record, id string) (string, bool) {
	now := s.now()
	for i := len(r.Replaced) - 1; i >= 0 && !r.Replaced.over(i, now); i-- {
		if id = s.successor(id); s.hash(id) == r.Refresh {
			return id, true
		}
	}
	return "", false
}

// replace puts the next refresh token of a session in the place of one that is used.
func (s *Service) replace(r *record, next step, grace, lifetime time.Duration) {
	now := s.now()
	r.Replaced = r.Replaced.with(now, earlier(r.ExpiresAt, now.Add(grace)))
	r.Refresh, r.LastUsedAt, r.ExpiresAt = next.hash, now, now.Add(lifetime)
	if !r.EndsAt.IsZero() {
		r.ExpiresAt = earlier(r.ExpiresAt, r.EndsAt)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
