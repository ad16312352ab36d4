package sessions

import (
	"context"
	"errors"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Credentials are what somebody logs in with.
type Credentials struct {
	// Identifier is a handle, a DID or an e-mail address, in any spelling that
	// [accounts.NormalizeIdentifier] understands.
	Identifier string
	// Password is the account password, or an app password in any spelling that
	// [apppasswords.Normalize] understands.
	Password string
	// AuthFactorToken is the code that was mailed, if one was asked for.
	AuthFactorToken string
	// AllowTakendown gives an account that is taken down tokens for leaving,
	// instead of an error.
	AllowTakendown bool
}

// Login opens a session. With the account password it also calls off a scheduled deletion. Errors:
// [accounts.ErrBadCredentials], [ratelimit.ErrLimited], [ErrAccountTakedown],
// [accounts.ErrAuthFactorRequired], and of a wrong sign-in code codes.ErrInvalid and
// codes.ErrExpired of accounts/codes (source: com.atproto.server.createSession).
func (s *Service) Login(ctx context.Context, c Credentials) (*Tokens, error) {
	if apppasswords.Plausible(c.Password) {
		t, err := s.loginAppPassword(ctx, c)
		if !errors.Is(err, accounts.ErrBadCredentials) {
			return t, err
		}
		// An account password may look like an app password. And whoever guesses at app
		// passwords pays the same as whoever guesses at passwords.
	}
	return s.loginPassword(ctx, c)
}

// loginAppPassword opens a session with an app password. Whether there is one is looked up before a
// guess is charged, so that the count of guesses is kept by account; what is looked up is told only
// after.
func (s *Service) loginAppPassword(ctx context.Context, c Credentials) (*Tokens, error) {
	var p *apppasswords.AppPassword
	err := s.store.View(ctx, func(tx storage.Tx) error {
		a, err := accounts.FindTx(tx, c.Identifier)
		if err == nil {
			p, err = s.appPasswords.MatchTx(tx, a.DID, c.Password)
		}
		return err
	})
	if err != nil {
		return nil, notMatched(err)
	}
	if err := s.accounts.ChargeGuess(ctx, c.Identifier, p.DID); err != nil {
		return nil, err
	}
	var t *Tokens
	err = s.store.Update(ctx, func(tx storage.Tx) error {
		if err := storage.Prefetch(tx, accounts.Ref(p.DID), apppasswords.Ref(p.ID)); err != nil {
			return err
		}
		a, err := accounts.GetTx(tx, p.DID)
		if err != nil {
			return err
		}
		if err := s.appPasswords.StillTx(tx, p); err != nil { // it may have been revoked since
			return err
		}
		if a.Takedown != nil {
			return errTakedown
		}
		g := Grant{Method: MethodAppPassword, AppPassword: p.Name, Scope: ScopeAppPass}
		if p.Privileged {
			g.Scope = ScopeAppPassPrivileged
		}
		t, err = s.Open(tx, a, g)
		return err
	})
	if err != nil {
		return nil, notMatched(err)
	}
	return t, nil
}

// notMatched tells nobody whether it is the account or the app password that isn't there.
func notMatched(err error) error {
	if errors.Is(err, accounts.ErrNotFound) || errors.Is(err, apppasswords.ErrNotFound) {
		return accounts.ErrBadCredentials
	}
	return err
}

func (s *Service) loginPassword(ctx context.Context, c Credentials) (*Tokens, error) {
	a, err := s.accounts.Authenticate(ctx, c.Identifier, c.Password)
	if err != nil {
		return nil, err
	}
	if a.Takedown != nil && !c.AllowTakendown {
		return nil, errTakedown
	}
	if a.Takedown != nil {
		if a.EmailAuthFactor {
			if err := s.accounts.CheckSignIn(ctx, a, c.AuthFactorToken); err != nil {
				return nil, err
			}
		}
		return s.leavingTokens(a)
	}
	var t *Tokens
	factorSince := false // the account has had a second factor only since
	open := func(tx storage.Tx) error {
		// The password was checked outside the transaction: it may have been
		// changed since, and the account deleted or taken down.
		now, err := s.accounts.StillTx(tx, a)
		if err != nil {
			return err
		}
		if now.Takedown != nil {
			return errTakedown
		}
		if factorSince = now.EmailAuthFactor && !a.EmailAuthFactor; factorSince {
			return nil
		}
		if err := s.accounts.CallOffDeletionTx(ctx, tx, now); err != nil {
			return err
		}
		t, err = s.Open(tx, now, Grant{Method: MethodPassword})
		return err
	}
	if a.EmailAuthFactor {
		err = s.accounts.CheckSignIn(ctx, a, c.AuthFactorToken, open)
	} else {
		err = s.store.Update(ctx, open)
	}
	switch {
	case err != nil:
		return nil, err
	case factorSince:
		return s.loginPassword(ctx, c)
	}
	return t, nil
}

// leavingTokens are those of an account that is taken down. Nothing is stored, and they can't be
// refreshed: the access token is good as long as the takedown and the password are the same.
func (s *Service) leavingTokens(a *accounts.Account) (*Tokens, error) {
	t, err := s.tokens(a, &record{Session: Session{ID: a.Stamp(), Grant: Grant{Scope: ScopeTakendown}}}, "none")
	if err != nil {
		return nil, err
	}
	t.Session = nil
	return t, nil
}
