package sessions

import (
	"context"
	"errors"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Auth is what an access token proves: who calls, and what they may do.
type Auth struct {
	Account *accounts.Account
	// Session is nil with [ScopeTakendown].
	Session *Session
	Scope   Scope

	service *Service // nil for an Auth that no service has verified
	stamp   string   // of the account, with [ScopeTakendown]
	active  bool     // a deactivated account is refused
}

// Verify checks an access token of one of some scopes; with none given, of those
// of [Standard]. The session and the account are read each time, so that ending one
// takes effect everywhere with the next call. Errors: [ErrInvalidToken],
// [ErrExpiredToken], [ErrAccountNotFound], [ErrAccountTakedown].
func (s *Service) Verify(ctx context.Context, accessJWT string, scopes ...Scope) (*Auth, error) {
	if len(scopes) == 0 {
		scopes = Standard
	}
	c, err := s.signer.parse(typeAccess, accessJWT, false, scopes...)
	if err != nil {
		return nil, err
	}
	auth := &Auth{Scope: c.Scope, service: s}
	did := syntax.DID(c.Sub)
	err = s.store.View(ctx, func(tx storage.Tx) (err error) {
		if c.Scope == ScopeTakendown {
			auth.stamp = c.Session
			auth.Account, err = s.leaving(tx, did, c.Session)
			return err
		}
		a, r, err := s.load(tx, did, c.Session)
		if err == nil {
			auth.Account, auth.Session = a, &r.Session
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return auth, nil
}

// leaving reads the account of a token that was issued while the account was taken down. There is
// no session to end: the token ends with the takedown, or with the password.
func (s *Service) leaving(tx storage.Tx, did syntax.DID, stamp string) (*accounts.Account, error) {
	a, err := accounts.GetTx(tx, did)
	switch {
	case errors.Is(err, accounts.ErrNotFound):
		return nil, errAccountGone
	case err == nil && (a.Takedown == nil || a.Stamp() != stamp):
		return nil, errRevoked
	}
	return a, err
}

// AliveTx looks again, inside a transaction, whether what a request proved is still so: the session
// hasn't ended, and its account is there and in good standing. Whatever a session changes belongs
// in a transaction that begins so, since a request can last longer than its session. The writes of
// Gatehouse's own services do it by themselves if their context is one of [NewContext], as those
// of xrpc's requests are. Errors: those of [Service.Verify] and [Service.VerifyActive], whichever
// it was.
func (s *Service) AliveTx(tx storage.Tx, a *Auth) error {
	if a.Session == nil {
		_, err := s.leaving(tx, a.Account.DID, a.stamp)
		return err
	}
	now, _, err := s.load(tx, a.Account.DID, a.Session.ID)
	if err == nil && a.active && now.DeactivatedAt != nil {
		return errDeactivated
	}
	return err
}

// VerifyActive is [Service.Verify] for what a deactivated account may not do, such as writing to
// its repository. Errors: those of Verify, and [ErrAccountDeactivated].
func (s *Service) VerifyActive(ctx context.Context, accessJWT string, scopes ...Scope) (*Auth, error) {
	auth, err := s.Verify(ctx, accessJWT, scopes...)
	if err != nil {
		return nil, err
	}
	if auth.Account.DeactivatedAt != nil {
		return nil, errDeactivated
	}
	auth.active = true
	return auth, nil
}

// RefreshSession returns the session of a refresh token that is expired or not, if that is alive,
// and nil if it isn't or the token is not ours. Whether the token itself may still be used shows
// only in [Service.Refresh].
func (s *Service) RefreshSession(ctx context.Context, refreshJWT string) (*Auth, error) {
	c, err := s.signer.parse(typeRefresh, refreshJWT, true, ScopeRefresh)
	if err != nil {
		return nil, nil
	}
	var auth *Auth
	err = s.store.View(ctx, func(tx storage.Tx) error {
		a, r, err := s.load(tx, syntax.DID(c.Sub), c.Session)
		switch {
		case errors.Is(err, ErrExpiredToken), errors.Is(err, ErrAccountNotFound), errors.Is(err, ErrAccountTakedown):
			return nil
		case err != nil:
			return err
		}
		auth = &Auth{Account: a, Session: &r.Session, Scope: ScopeRefresh}
		return nil
	})
	return auth, err
}

// Require returns an [ErrInvalidToken] if the token has none of some scopes, for what only some of
// the sessions may ask for that may call a method.
func (a *Auth) Require(scopes ...Scope) error {
	if !slices.Contains(scopes, a.Scope) {
		return errScope
	}
	return nil
}

// Full reports whether the caller may manage the account.
func (a *Auth) Full() bool { return slices.Contains(Full, a.Scope) }

type authKey struct{}

// NewContext returns a context that carries what a request proved. What Gatehouse's services write
// under it is written in transactions that have read the session alive (see [Service.AliveTx]):
// after the session has ended they return [ErrExpiredToken] and the like instead. A nil a takes
// that back.
func NewContext(ctx context.Context, a *Auth) context.Context {
	ctx = context.WithValue(ctx, authKey{}, a)
	if a == nil || a.service == nil {
		return storage.WithoutPrecondition(ctx)
	}
	return storage.WithPrecondition(ctx, func(tx storage.Tx) error { return a.service.AliveTx(tx, a) })
}

// FromContext returns what the request of a context proved, or nil.
func FromContext(ctx context.Context) *Auth {
	a, _ := ctx.Value(authKey{}).(*Auth)
	return a
}
