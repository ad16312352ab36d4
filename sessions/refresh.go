package sessions

import (
	"context"
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage"
)

// maxReplaced bounds the refresh tokens of one session that are in their grace period.
const maxReplaced = 200

// Refresh exchanges a refresh token for new tokens. The old one works on for the
// grace period, with the same successor for everybody who uses it. Used after that
// it is taken for stolen, and the session ends. Errors: [ErrInvalidToken],
// [ErrExpiredToken], [ErrAccountNotFound], [ErrAccountTakedown]
// (source: com.atproto.server.refreshSession).
func (s *Service) Refresh(ctx context.Context, refreshJWT string) (*Tokens, error) {
	c, err := s.signer.parse(typeRefresh, refreshJWT, false, ScopeRefresh)
	if err != nil {
		s.cfg.Logger.InfoContext(ctx, "refresh refused", "reason", err.Error())
		return nil, err
	}
	did := syntax.DID(c.Sub)
	var a *accounts.Account
	var r *record
	var refused string // why, if it is; what the transaction wrote stays
	err = s.store.Update(ctx, func(tx storage.Tx) error {
		refused = ""
		if a, r, err = s.load(tx, did, c.Session); err != nil {
			if errors.Is(err, errRevoked) {
				refused = "the session has ended"
				return nil
			}
			return err
		}
		refused, err = s.rotate(tx, r, s.hash(c.ID), s.hash(s.successor(c.ID)))
		return err
	})
	if err != nil {
		s.cfg.Logger.InfoContext(ctx, "refresh refused", "did", did, "session", c.Session, "reason", err.Error())
		return nil, err
	}
	if refused != "" {
		s.cfg.Logger.InfoContext(ctx, "refresh refused", "did", did, "session", c.Session, "reason", refused)
		return nil, errRevoked
	}
	return s.tokens(a, r, s.successor(c.ID))
}

// load reads the account and the session of a token.
func (s *Service) load(tx storage.Tx, did syntax.DID, session string) (*accounts.Account, *record, error) {
	if err := storage.Prefetch(tx, accounts.Ref(did), table.Ref(session)); err != nil {
		return nil, nil, err
	}
	a, err := accounts.GetTx(tx, did)
	switch {
	case errors.Is(err, accounts.ErrNotFound):
		return nil, nil, errAccountGone
	case err != nil:
		return nil, nil, err
	case a.Takedown != nil:
		return nil, nil, errTakedown
	}
	r, err := table.Get(tx, session)
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

// rotate takes note that a refresh token was used, or says why it may not be.
func (s *Service) rotate(tx storage.Tx, r *record, used, next string) (refused string, err error) {
	now := s.now()
	if used != r.Refresh {
		for _, old := range r.Replaced {
			if old.Refresh == used && now.Before(old.Until) {
				return "", nil // its successor is known already
			}
		}
		return "a refresh token was used again after its grace period", table.Delete(tx, r.ID)
	}
	kept := r.Replaced[:0]
	for _, old := range r.Replaced {
		if now.Before(old.Until) {
			kept = append(kept, old)
		}
	}
	if len(kept) >= maxReplaced {
		kept = kept[1:]
	}
	r.Replaced = append(kept, replaced{used, earlier(r.ExpiresAt, now.Add(s.cfg.Grace))})
	r.Refresh, r.LastUsedAt, r.ExpiresAt = next, now, now.Add(s.cfg.RefreshLifetime)
	return "", table.Put(tx, r)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
