package sessions

import (
	"context"
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// End ends the session of the token, expired or not, so that none of its tokens works any longer.
// If the session has ended already, End does nothing. Error: [ErrInvalidToken] (source:
// com.atproto.server.deleteSession).
func (t *RefreshToken) End(ctx context.Context) error {
	if t.parsed.bad != nil {
		return t.parsed.bad
	}
	err := t.service.Revoke(ctx, t.parsed.did(), t.parsed.claims.Session)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// End is [RefreshToken.End] of a token that hasn't been parsed.
func (s *Service) End(ctx context.Context, refreshJWT string) error {
	return s.ParseRefresh(refreshJWT).End(ctx)
}

// Revoke ends one session of an account, which is named by its ID. Error: [ErrNotFound].
func (s *Service) Revoke(ctx context.Context, did syntax.DID, session string) error {
	return s.store.Update(ctx, func(tx storage.Tx) error { return s.RevokeTx(tx, did, session) })
}

// RevokeTx is [Service.Revoke] inside a transaction.
func (s *Service) RevokeTx(tx storage.Tx, did syntax.DID, session string) error {
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
}

// EndByCodeTx ends the session that was opened for an authorization code, which is given by its
// hash, inside a transaction, and reports whether there was one. It is for a code that is used
// again, which is then taken for stolen (source: RFC 6749, section 4.1.2).
func EndByCodeTx(tx storage.Tx, code string) (ended bool, err error) {
	if code == "" {
		return false, nil
	}
	n, err := table.DeleteAll(tx, storage.Exactly("code", code))
	return n > 0, err
}

// EndOfClient ends the sessions of an account that an OAuth client has.
func (s *Service) EndOfClient(ctx context.Context, did syntax.DID, clientID string) error {
	return s.store.Update(ctx, func(tx storage.Tx) error { return EndOfClientTx(tx, did, clientID) })
}

// EndOfClientTx is [Service.EndOfClient] inside a transaction.
func EndOfClientTx(tx storage.Tx, did syntax.DID, clientID string) error {
	_, err := table.DeleteAll(tx, storage.Under("client", clientKey(clientID), did.String()))
	return err
}

// EndClient ends the sessions of all accounts that an OAuth client has, such as one that is refused
// from now on. It does so in several transactions: if it returns an error, some may have ended.
func (s *Service) EndClient(ctx context.Context, clientID string) error {
	return table.Purge(ctx, s.store, storage.Under("client", clientKey(clientID)))
}

// EndAll ends all sessions of an account.
func (s *Service) EndAll(ctx context.Context, did syntax.DID) error {
	return s.store.Update(ctx, func(tx storage.Tx) error { return endAllTx(tx, did) })
}

// endAllTx is [Service.EndAll] inside a transaction.
func endAllTx(tx storage.Tx, did syntax.DID) error {
	_, err := table.DeleteAll(tx, storage.Under("account", did.String()))
	return err
}

// EndOpenedBy ends the sessions that were opened with an app password, which is named, inside the
// transaction that revokes it.
func EndOpenedBy(_ context.Context, tx storage.Tx, did syntax.DID, name string) error {
	_, err := table.DeleteAll(tx, storage.Exactly("app_password", openedBy(did, name)))
	return err
}

// List returns the sessions of an account, newest first. There may be thousands, if the account has
// many app passwords.
func (s *Service) List(ctx context.Context, did syntax.DID) ([]*Session, error) {
	return s.list(ctx, storage.Under("account", did.String()))
}

// ListOAuth returns the sessions of an account that OAuth clients have, newest first, without reading
// the others.
func (s *Service) ListOAuth(ctx context.Context, did syntax.DID) ([]*Session, error) {
	return s.list(ctx, storage.Under("kind", ofKind(did, kindOAuth)))
}

// list returns the sessions of a range that is ordered by time, newest first.
func (s *Service) list(ctx context.Context, newest storage.Range) ([]*Session, error) {
	newest.Reverse = true
	var all []*Session
	err := s.store.View(ctx, func(tx storage.Tx) error {
		all = nil
		for r, err := range table.Scan(tx, newest) {
			if err != nil {
				return err
			}
			if s.now().Before(r.ExpiresAt) { // or it is yet to be removed
				all = append(all, &r.Session)
			}
		}
		return nil
	})
	return all, err
}

// Maintain deletes the sessions that have expired, at the end of the day on which they did, and the
// records of used service tokens that have expired. Call it periodically.
func (s *Service) Maintain(ctx context.Context) error {
	expired := func(before time.Time) storage.Range {
		return storage.Range{Index: "expires", To: storage.TimeKey(before)}
	}
	return errors.Join(
		table.Purge(ctx, s.store, expired(s.now())),
		usedTokens.Purge(ctx, s.store, expired(s.now().Add(-clockSkew))),
	)
}
