package signin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Config configures a [Service].
type Config struct {
	// Ways are the ways of proving who one is. They are tried in this order until one proves it. What
	// isn't listed can't be used. At least one is required.
	Ways []Way
	// Factors are the second factors that accounts may have. A code is tried with each that the
	// account has, in this order, and without a code the first of them is asked for one.
	Factors []Factor
	// Limits counts guesses. The zero value limits nothing.
	Limits ratelimit.Meter
	// Logger is told of ways that misbehave. Default: none.
	Logger *slog.Logger
}

// Service finds out who somebody is, and opens sessions. Its methods are safe for concurrent use.
type Service struct {
	store    storage.Store
	accounts *accounts.Service
	sessions *sessions.Service
	cfg      Config
}

// New returns a service for the accounts and sessions of a store.
func New(store storage.Store, a *accounts.Service, s *sessions.Service, cfg Config) (*Service, error) {
	if err := checkNames(cfg); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{store: store, accounts: a, sessions: s, cfg: cfg}, nil
}

// checkNames checks that ways and factors can be told apart.
func checkNames(cfg Config) error {
	if len(cfg.Ways) == 0 {
		return errors.New("signin: Config.Ways is required")
	}
	taken := map[string]bool{"": true, MethodSignUp: true}
	for i, w := range cfg.Ways {
		if w == nil || taken[w.Name()] {
			return fmt.Errorf("signin: Config.Ways[%d] is nil, or its name is empty or in use", i)
		}
		taken[w.Name()] = true
	}
	for i, f := range cfg.Factors {
		if f == nil || taken[f.Name()] {
			return fmt.Errorf("signin: Config.Factors[%d] is nil, or its name is empty or in use", i)
		}
		taken[f.Name()] = true
	}
	return nil
}

// SignIn opens a session for whoever an attempt proves to be the owner of an account, or to act for
// the owner. With AllowTakendown the owner of an account that is taken down gets tokens for leaving
// (see [sessions.Service.OpenLeaving]). Errors: those of [Service.Prove] and [Pass.Use] (source:
// com.atproto.server.createSession).
func (s *Service) SignIn(ctx context.Context, a Attempt) (*sessions.Tokens, error) {
	pass, err := s.Prove(ctx, a)
	if err != nil {
		return nil, err
	}
	var t *sessions.Tokens
	err = pass.Use(ctx, func(tx storage.Tx, a *accounts.Account) (err error) {
		t, err = s.open(tx, a, pass.Grant())
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// SignUp creates an account and opens its first session, in one transaction. Whoever brings a DID
// that is taken down here gets tokens for leaving. Errors: those of [accounts.Service.Create]
// (source: com.atproto.server.createAccount).
func (s *Service) SignUp(ctx context.Context, p accounts.CreateParams) (*sessions.Tokens, error) {
	var t *sessions.Tokens
	_, err := s.accounts.Create(ctx, p, func(tx storage.Tx, a *accounts.Account) (err error) {
		t, err = s.open(tx, a, sessions.Grant{Method: MethodSignUp})
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// open opens a session, or issues tokens for leaving if the account is taken down.
func (s *Service) open(tx storage.Tx, a *accounts.Account, g sessions.Grant) (*sessions.Tokens, error) {
	if a.Takedown != nil {
		return s.sessions.OpenLeaving(tx, a.DID)
	}
	return s.sessions.Open(tx, a, g)
}

// DeleteAccount deletes an account with a code of [accounts.Service.RequestDelete], for its owner,
// whom the password has to prove in one of the ways of the server. The mailed code takes the place
// of second factors. Errors: [accounts.ErrBadCredentials], [accounts.ErrTakenDown],
// [codes.ErrInvalid], [codes.ErrExpired], [ratelimit.ErrLimited] (source:
// com.atproto.server.deleteAccount).
func (s *Service) DeleteAccount(ctx context.Context, did syntax.DID, password, code string) error {
	if _, err := syntax.ParseDID(accounts.NormalizeIdentifier(did.String())); err != nil {
		return errBadDIDOrPassword // no other identifier is taken here
	}
	pass, err := s.prove(ctx, Attempt{Identifier: did.String(), Password: password}, (*Proof).owner)
	switch {
	case errors.Is(err, errTooLong):
		return err
	case err != nil:
		return hideIdentifier(err)
	case pass.account == nil: // a way proved another account, where there is none of this DID
		return errBadDIDOrPassword
	case pass.account.Takedown != nil:
		return errTakenDown
	}
	return s.accounts.Delete(ctx, pass.DID(), code, func(tx storage.Tx) error { return hideIdentifier(pass.stillTx(tx)) })
}

// hideIdentifier gives an error the text of a method that takes DIDs alone.
func hideIdentifier(err error) error {
	if errors.Is(err, accounts.ErrBadCredentials) {
		return errBadDIDOrPassword
	}
	return err
}

// Prove tries the ways of the server with an attempt, and returns a pass if one of them proves who
// made it. Errors: [accounts.ErrBadCredentials], [ErrFactorRequired] if the attempt has no code and
// the account asks for one, [sessions.ErrAccountTakedown], [ratelimit.ErrLimited], those of a
// [Factor] that couldn't send a code, and others of a [Way].
func (s *Service) Prove(ctx context.Context, a Attempt) (*Pass, error) {
	pass, err := s.prove(ctx, a, func(*Proof) bool { return true })
	if err != nil {
		return nil, err
	}
	if pass.account == nil { // the attempt named none, so that its proof says whose it is
		err := s.store.View(ctx, func(tx storage.Tx) (err error) {
			if pass.account, err = accounts.GetTx(tx, pass.DID()); err != nil {
				return hideAccount(err)
			}
			pass.factors, err = s.factorsTx(tx, pass.account)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if err := pass.checkTakedown(pass.account); err != nil {
		return nil, err
	}
	if len(pass.factors) > 0 && pass.code == "" && !pass.proof.WithoutFactors {
		return nil, challenge(ctx, pass.account, pass.factors)
	}
	return pass, nil
}

// factorsTx returns the second factors that an account has.
func (s *Service) factorsTx(tx storage.Tx, a *accounts.Account) ([]Factor, error) {
	var all []Factor
	for _, f := range s.cfg.Factors {
		enrolled, err := f.EnrolledTx(tx, a)
		if err != nil {
			return nil, err
		}
		if enrolled {
			all = append(all, f)
		}
	}
	return all, nil
}

// maxPassword is the longest password that is tried, in characters.
const maxPassword = 512

var errTooLong = refusal.New(accounts.ErrBadCredentials, "Password too long. Consider resetting your password.")

// prove is the one place where secrets are tried. It returns a pass of the first proof that suits,
// of which takedowns and factors haven't been checked.
func (s *Service) prove(ctx context.Context, a Attempt, suits func(*Proof) bool) (*Pass, error) {
	if utf8.RuneCountInString(a.Password) > maxPassword {
		return nil, errTooLong
	}
	account, factors, found, err := s.find(ctx, a)
	if err != nil {
		return nil, err
	}
	if a.guess = s.newGuess(a.Identifier, account); account != nil {
		shown := *account // a way may do with it what it likes
		a.account = &shown
	}
	for i, w := range s.cfg.Ways {
		proof := found[i]
		if _, ok := w.(lookup); !ok {
			proof, err = s.ask(ctx, w, a)
		} else if proof == nil {
			err = errBadCredentials
		}
		if err == nil {
			proof, err = s.check(ctx, w, account, proof)
		}
		switch {
		case errors.Is(err, accounts.ErrBadCredentials), err == nil && !suits(proof):
			err = nil
			continue
		case err != nil:
			return nil, err
		}
		if err := a.guess.chargeFor(ctx, proof.DID); err != nil {
			return nil, err
		}
		return &Pass{
			service: s, way: w.Name(), proof: proof, account: account, factors: factors, code: a.Code, allowTakendown: a.AllowTakendown,
		}, nil
	}
	if err := a.guess.charge(ctx); err != nil {
		return nil, err
	}
	return nil, errBadCredentials
}

// find looks up the account that an attempt names, if there is one, with its second factors, and
// the proofs of the ways that only look secrets up.
func (s *Service) find(ctx context.Context, a Attempt) (account *accounts.Account, factors []Factor, found []*Proof, err error) {
	err = s.store.View(ctx, func(tx storage.Tx) error {
		found = make([]*Proof, len(s.cfg.Ways))
		if account, err = accounts.FindTx(tx, a.Identifier); err != nil && !errors.Is(err, accounts.ErrNotFound) {
			return err
		}
		a.account = account // nil for nobody, whose secrets are looked up all the same, which takes as long
		for i, w := range s.cfg.Ways {
			if l, ok := w.(lookup); ok {
				if found[i], err = l.lookUpTx(tx, a); err != nil && !errors.Is(err, accounts.ErrBadCredentials) {
					return err
				}
			}
		}
		if account == nil {
			factors = nil
			return nil
		}
		factors, err = s.factorsTx(tx, account)
		return err
	})
	return account, factors, found, err
}

// wayTimeout is how long a way of the embedding program may take.
const wayTimeout = 30 * time.Second

// ask has a way check an attempt. The guess has been charged before a way of the embedding program
// is asked, and such a way can neither panic nor hang beyond the context.
// If its error contains the password, the text of the error isn't logged.
func (s *Service) ask(ctx context.Context, w Way, a Attempt) (*Proof, error) {
	if _, ok := w.(charging); ok {
		return w.Prove(ctx, a)
	}
	if err := a.charge(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wayTimeout)
	defer cancel()
	type answer struct {
		proof *Proof
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		var got answer
		defer func() {
			if p := recover(); p != nil {
				got = answer{err: fmt.Errorf("signin: the way %q panicked: %v\n%s", w.Name(), p, debug.Stack())}
			}
			answers <- got
		}()
		got.proof, got.err = w.Prove(ctx, a)
	}()
	select {
	case got := <-answers:
		return got.proof, refusal.HideSecret(got.err, fmt.Sprintf("signin: the way %q", w.Name()), a.Password)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// check refuses what no way may prove, and returns the proof with its defaults.
func (s *Service) check(ctx context.Context, w Way, named *accounts.Account, proof *Proof) (*Proof, error) {
	fault := ""
	switch {
	case proof == nil || proof.DID == "":
		fault = "proved nobody"
	case named != nil && proof.DID != named.DID:
		fault = "proved another account than the attempt named"
	default:
		checked := *proof
		switch checked.Scope {
		case "":
			checked.Scope = sessions.ScopeAccess
			return &checked, nil
		case sessions.ScopeAccess, sessions.ScopeAppPass, sessions.ScopeAppPassPrivileged:
			return &checked, nil
		}
		fault = "proved a scope that no session may have"
	}
	s.cfg.Logger.ErrorContext(ctx, "a way of signing in misbehaved", "way", w.Name(), "fault", fault)
	return nil, fmt.Errorf("signin: the way %q %s", w.Name(), fault)
}
