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
	// Session is nil with [ScopeTakendown], and with an access token of another authorization server.
	Session *Session
	// Scope is that of the access token.
	Scope Scope
	// Client is the OAuth client that calls, if one does.
	Client *Client

	permissions Permissions
	service     *Service // nil for an Auth that no service has verified
	stamp       string   // of the account, with [ScopeTakendown]
	active      bool     // a deactivated account is refused
}

var errScheme = refusal.New(ErrInvalidToken, "Unexpected authorization type")

// Verify checks the access token of a request, and that it has some permissions; with none given,
// [UseAccount]. The session and the account are read each time, so that a session that has ended is
// refused at once. Errors of a bearer token: [ErrInvalidToken], also of one that lacks a
// permission, [ErrExpiredToken], [ErrAccountNotFound], [ErrAccountTakedown].
//
// With [SchemeDPoP] the token is that of an OAuth session, and the request has to have a proof that
// was made for it and wasn't used before. Errors: [dpop.ErrProof], [dpop.ErrNonce],
// [ErrInvalidToken] for a token that is malformed, [ErrBoundToken], [ErrAccountTakedown],
// [ErrScopeMissing] and [ErrNotForOAuth] of one that lacks a permission, and [ErrIssuer].
func (s *Service) Verify(ctx context.Context, r Request, permissions ...Permission) (*Auth, error) {
	if len(permissions) == 0 {
		permissions = []Permission{UseAccount}
	}
	switch r.Scheme {
	case SchemeBearer:
		return s.verifyBearer(ctx, r.Token, permissions)
	case SchemeDPoP:
		return s.verifyBound(ctx, r, permissions)
	}
	return nil, errScheme
}

// verifyBearer is [Service.Verify] of a bearer token.
func (s *Service) verifyBearer(ctx context.Context, raw string, permissions []Permission) (*Auth, error) {
	t := s.signer.parse(typeAccess, raw)
	if err := t.fresh(); err != nil {
		if looksBound(raw) { // which is good for nobody without a proof
			return nil, errMalformed
		}
		return nil, err
	}
	auth := &Auth{Scope: t.claims.Scope, permissions: s.Permissions(t.claims.Scope), service: s}
	if err := auth.Require(permissions...); err != nil {
		return nil, err
	}
	read := refs(t.did(), t.claims.Session)
	err := storage.ViewOf(ctx, s.store, read, func(tx storage.Tx) (err error) {
		if auth.Scope == ScopeTakendown {
			auth.stamp = t.claims.Session
			auth.Account, err = s.leaving(tx, t.did(), auth.stamp)
			return err
		}
		a, r, err := s.loadBearer(tx, t.did(), t.claims.Session)
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
	var now *accounts.Account
	var err error
	switch {
	case a.Session != nil:
		now, _, err = s.load(tx, a.Account.DID, a.Session.ID)
	case a.Client != nil:
		now, err = s.loadRemote(tx, a.Account.DID)
	default:
		_, err = s.leaving(tx, a.Account.DID, a.stamp)
		return err
	}
	switch {
	case err != nil && a.Client != nil:
		return dead(err)
	case err == nil && a.active && now.DeactivatedAt != nil:
		return errDeactivated
	}
	return err
}

// Allows reports whether the caller has a permission.
func (a *Auth) Allows(p Permission) bool { return a.permissions.Allow(p) }

// Require returns an error if the caller lacks one of some permissions: an [ErrInvalidToken], or,
// of an OAuth session, an [ErrScopeMissing] or [ErrNotForOAuth]. It is for what only some of the
// callers of a method may ask for.
func (a *Auth) Require(permissions ...Permission) error {
	for _, p := range permissions {
		switch {
		case a.permissions.Allow(p):
		case a.Client != nil:
			return missing(p)
		default:
			return errScope
		}
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
