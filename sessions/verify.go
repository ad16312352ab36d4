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
	auth := &Auth{Scope: c.Scope}
	err = s.store.View(ctx, func(tx storage.Tx) error {
		did := syntax.DID(c.Sub)
		if c.Scope == ScopeTakendown {
			auth.Account, err = s.accounts.GetTx(tx, did)
			switch {
			case errors.Is(err, accounts.ErrNotFound):
				return errAccountGone
			case err == nil && (auth.Account.Takedown == nil || auth.Account.Stamp() != c.Session):
				// There is no session to end: the token ends with the takedown, or with another password.
				return errRevoked
			}
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

// VerifyActive is [Service.Verify] for what a deactivated account may not do, such as writing to its repository.
// Errors: those of Verify, and [ErrAccountDeactivated].
func (s *Service) VerifyActive(ctx context.Context, accessJWT string, scopes ...Scope) (*Auth, error) {
	auth, err := s.Verify(ctx, accessJWT, scopes...)
	if err == nil && auth.Account.DeactivatedAt != nil {
		return nil, errDeactivated
	}
	return auth, err
}

// RefreshSubject returns the account of a refresh token whose signature is good, expired or
// not. It doesn't look whether the account and the session still exist. Error: [ErrInvalidToken].
func (s *Service) RefreshSubject(refreshJWT string) (syntax.DID, error) {
	c, err := s.signer.parse(typeRefresh, refreshJWT, true, ScopeRefresh)
	if err != nil {
		return "", err
	}
	return syntax.DID(c.Sub), nil
}

// Full reports whether the caller may manage the account.
func (a *Auth) Full() bool { return slices.Contains(Full, a.Scope) }

type authKey struct{}

// NewContext returns a context that carries what a request proved.
func NewContext(ctx context.Context, a *Auth) context.Context {
	return context.WithValue(ctx, authKey{}, a)
}

// FromContext returns what the request of a context proved, or nil.
func FromContext(ctx context.Context) *Auth {
	a, _ := ctx.Value(authKey{}).(*Auth)
	return a
}
