package sessions

import (
	"errors"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/storage"
)

var (
	errRefreshToken = refusal.New(ErrInvalidToken, "The refresh token is not one of this server")
	errRefreshKey   = refusal.New(ErrInvalidToken, "The refresh token is bound to another key than that of the DPoP proof")
)

// RefreshOAuthTx exchanges the refresh token of an OAuth session, for a client that has proved to
// have the key with a thumbprint, inside a transaction. The access token that the session has had
// ends. The refresh token works on for the grace period, in which everybody who uses it with the
// key gets the tokens that are now the session's. When it is used after that, by whomever, it is
// taken for stolen, and the session ends.
//
// The access token has the scope narrow, which the caller has found to be within that of the
// session; "" is the session's. The scope expanded replaces the session's own, if the contents of
// its permission sets have changed; "" keeps it. Both are expanded.
//
// A refusal has to be committed (see [storage.Decide]): [ErrInvalidToken], [ErrExpiredToken],
// [ErrAccountNotFound], [ErrAccountTakedown]. An err is one of the store, or an [ErrPermission] for
// a scope without "atproto". The tokens are signed after the transaction: see [Service.SignOAuth].
func (s *Service) RefreshOAuthTx(tx storage.Tx, refreshToken, key, narrow, expanded string) (i *Issue, refused, err error) {
	if err := s.issues(); err != nil {
		return nil, nil, err
	}
	for _, scope := range []string{narrow, expanded} {
		if scope == "" {
			continue
		}
		if _, err := s.oauth.allowedBy(scope); err != nil {
			return nil, nil, err
		}
	}
	session, id, ok := s.parseOAuthRefresh(refreshToken)
	if !ok {
		return nil, errRefreshToken, nil
	}
	a, r, refused, err := s.loadOAuth(tx, session)
	if refused != nil || err != nil {
		return nil, refused, err
	}
	next := s.next(id)
	fresh := next.usedHash == r.Refresh
	current, good := next.id, fresh
	if !fresh {
		current, good = s.latest(r, id)
	}
	switch {
	case !good:
		return nil, errReused, table.Delete(tx, r.ID)
	case !token.Equal(r.Client.Key, key):
		return nil, errRefreshKey, nil
	case fresh:
		s.replace(r, next, s.oauth.cfg.Grace, r.RefreshLifetime)
		r.Access = s.accessID(current)
	default:
		if expanded == "" || string(r.Scope) == expanded {
			return s.issue(a, r, current, narrow), nil, nil // nothing to write
		}
	}
	if expanded != "" {
		r.Scope = Scope(expanded)
	}
	if err := s.known.Put(tx, r); err != nil {
		return nil, nil, err
	}
	return s.issue(a, r, current, narrow), nil, nil
}

// loadOAuth reads an OAuth session and its account. Why they aren't good is a refusal.
func (s *Service) loadOAuth(tx storage.Tx, session string) (a *accounts.Account, r *record, refused, err error) {
	r, err = s.known.Get(tx, session)
	switch {
	case errors.Is(err, storage.ErrNotFound) || err == nil && r.Client == nil:
		return nil, nil, errRevoked, nil
	case err != nil:
		return nil, nil, nil, err
	}
	a, r, err = s.load(tx, r.DID, session)
	if err != nil && unlessRefused(err, nil) == nil {
		return nil, nil, err, nil
	}
	return a, r, nil, err
}
