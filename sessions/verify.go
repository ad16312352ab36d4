package sessions

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Auth is what an access token proves: who calls, and what they may do.
type Auth struct {
	Account *accounts.Account
	// Session is nil with [ScopeTakendown].
	Session *Session
	Scope   Scope

	permissions Permissions
	service     *Service // nil for an Auth that no service has verified
	stamp       string   // of the account, with [ScopeTakendown]
	active      bool     // a deactivated account is refused
}

var errScheme = refusal.New(ErrInvalidToken, "Unexpected authorization type")

// Verify checks the access token of a request, and that it has some permissions; with none given,
// [UseAccount]. The session and the account are read each time, so that a session that has ended is
// refused at once. Errors: [ErrInvalidToken], also of a token that lacks a permission,
// [ErrExpiredToken], [ErrAccountNotFound], [ErrAccountTakedown].
func (s *Service) Verify(ctx context.Context, r Request, permissions ...Permission) (*Auth, error) {
	if r.Scheme != SchemeBearer {
		return nil, errScheme
	}
	if len(permissions) == 0 {
		permissions = []Permission{UseAccount}
	}
	t := s.signer.parse(typeAccess, r.Token)
	if err := t.fresh(); err != nil {
		return nil, err
	}
	auth := &Auth{Scope: t.claims.Scope, permissions: s.Permissions(t.claims.Scope), service: s}
	if err := auth.Require(permissions...); err != nil {
		return nil, err
	}
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		if auth.Scope == ScopeTakendown {
			auth.stamp = t.claims.Session
			auth.Account, err = s.leaving(tx, t.did(), auth.stamp)
			return err
		}
		a, r, err := s.load(tx, t.did(), t.claims.Session)
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

// VerifyActive is [Service.Verify] for what a deactivated account may not do, such as writing to
// its repository. Errors: those of Verify, and [ErrAccountDeactivated].
func (s *Service) VerifyActive(ctx context.Context, r Request, permissions ...Permission) (*Auth, error) {
	auth, err := s.Verify(ctx, r, permissions...)
	if err != nil {
		return nil, err
	}
	if auth.Account.DeactivatedAt != nil {
		return nil, errDeactivated
	}
	auth.active = true
	return auth, nil
}

// leaving reads the account of a token that was issued while the account was taken down. No session
// is stored that could end: the token is revoked when the takedown ends, or the password changes.
func (s *Service) leaving(tx storage.Tx, did syntax.DID, stamp string) (*accounts.Account, error) {
	a, now, err := accounts.StampTx(tx, did)
	switch {
	case errors.Is(err, accounts.ErrNotFound):
		return nil, errAccountGone
	case err == nil && (a.Takedown == nil || now != stamp):
		return nil, errRevoked
	}
	return a, err
}

// AliveTx checks again, inside a transaction, what a request proved: that the session hasn't ended,
// and that its account exists and is in good standing. A transaction in which a session changes
// something should begin with it, since a request can last longer than its session. Gatehouse's own
// services do so by themselves if their context is one of [NewContext], as the contexts of requests
// to xrpc are. Errors: those of [Service.Verify] or [Service.VerifyActive], whichever
// returned the Auth.
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

// Allows reports whether the caller has a permission.
func (a *Auth) Allows(p Permission) bool { return a.permissions.Allow(p) }

// Require returns an [ErrInvalidToken] if the caller lacks one of some permissions. It is for what
// only some of the callers of a method may ask for.
func (a *Auth) Require(permissions ...Permission) error {
	if !a.permissions.Allow(permissions...) {
		return errScope
	}
	return nil
}

type authKey struct{}

// NewContext returns a context that carries what a request proved. What Gatehouse's services write
// under it is written in transactions that have read the session alive (see [Service.AliveTx]):
// once the session has ended they return [ErrExpiredToken] and the like instead. A nil a removes it
// from the context.
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
