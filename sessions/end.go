package sessions

import (
	"context"
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// End ends the session of a refresh token, expired or not: none of its tokens
// works any longer. Ending it again changes nothing. Errors: [ErrInvalidToken]
// (source: com.atproto.server.deleteSession).
func (s *Service) End(ctx context.Context, refreshJWT string) error {
	c, err := s.signer.parse(typeRefresh, refreshJWT, true, ScopeRefresh)
	if err != nil {
		return err
	}
	err = s.Revoke(ctx, syntax.DID(c.Sub), c.Session)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// Revoke ends one session of an account, or returns [ErrNotFound].
func (s *Service) Revoke(ctx context.Context, did syntax.DID, session string) error {
	return s.store.Update(ctx, func(tx storage.Tx) error {
		r, err := table.Get(tx, session)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			return ErrNotFound
		case err != nil:
			return err
		case r.DID != did:
			return ErrNotFound
		}
		return table.Delete(tx, session)
	})
}

// EndAll ends all sessions of an account.
func (s *Service) EndAll(ctx context.Context, did syntax.DID) error {
	return s.store.Update(ctx, func(tx storage.Tx) error { return EndAllTx(tx, did) })
}

// EndAllTx is [Service.EndAll] inside a transaction.
func EndAllTx(tx storage.Tx, did syntax.DID) error {
	_, err := table.DeleteAll(tx, storage.Range{Index: "account", Prefix: did.String() + " "})
	return err
}

// EndOpenedBy ends the sessions that were opened with the app password of a name, inside the
// transaction that revokes it.
func EndOpenedBy(_ context.Context, tx storage.Tx, did syntax.DID, name string) error {
	_, err := table.DeleteAll(tx, storage.Exactly("app_password", openedBy(did, name)))
	return err
}

// List returns the sessions of an account, newest first.
func (s *Service) List(ctx context.Context, did syntax.DID) ([]*Session, error) {
	var all []*Session
	err := s.store.View(ctx, func(tx storage.Tx) error {
		all = nil
		for r, err := range table.Scan(tx, storage.Range{Index: "account", Prefix: did.String() + " ", Reverse: true}) {
			if err != nil {
				return err
			}
			all = append(all, &r.Session)
		}
		return nil
	})
	return all, err
}

// Maintain deletes sessions that have expired, and the notes of service tokens that were used and
// have expired since. It is to be called periodically.
func (s *Service) Maintain(ctx context.Context) error {
	expired := func(before time.Time) storage.Range {
		return storage.Range{Index: "expires", To: storage.TimeKey(before)}
	}
	return errors.Join(
		table.Purge(ctx, s.store, expired(s.now())),
		usedTokens.Purge(ctx, s.store, expired(s.now().Add(-clockSkew))),
	)
}
