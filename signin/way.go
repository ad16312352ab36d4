package signin

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Way is one way of proving who one is. Its methods are safe for concurrent use.
type Way interface {
	// Name names the way, such as "ldap". Sessions record by it how they were opened.
	Name() string
	// Prove checks a secret. If the attempt isn't for this way, or its secret is wrong, it returns
	// [accounts.ErrBadCredentials], and the next way is tried. Any other error ends the attempt, such
	// as that of a directory that doesn't answer: clients are answered 500, or by the error's own kind
	// if xrpc knows it. The error is logged, unless its text contains the password.
	//
	// The guess has been charged when Prove is called, outside of transactions. Prove has 30 seconds,
	// and what it returns after the context has ended is dropped. A way decides nothing else:
	// takedowns, second factors and budgets are the [Service]'s.
	Prove(ctx context.Context, a Attempt) (*Proof, error)
}

// Proof is what a [Way] has proved.
type Proof struct {
	// DID is the account of who made the attempt. If [Attempt.Account] isn't nil it has to be that
	// one.
	DID syntax.DID
	// Scope is what sessions of the proof may do: [sessions.ScopeAccess], the default, if it was the
	// owner of the account, or [sessions.ScopeAppPass] or [sessions.ScopeAppPassPrivileged] if it was
	// somebody or something that acts for the owner.
	Scope sessions.Scope
	// WithoutFactors means that no second factor is asked for, since the way proves two factors by
	// itself, as a passkey does, or is for programs, which can't enter codes.
	WithoutFactors bool
	// StillTx checks, in the transaction that uses the proof, that it still holds: that a password is
	// the same, or that a link hasn't been used before. It may write, such as that the link is used
	// now. It returns [accounts.ErrBadCredentials] if not. Optional.
	StillTx func(tx storage.Tx) error

	appPassword string
	prefetch    []storage.Ref // what StillTx reads
}

// owner reports whether the proof is by the owner of the account.
func (p *Proof) owner() bool { return p.Scope == sessions.ScopeAccess }

// The methods that sessions record of the ways of this package (see [sessions.Grant]).
const (
	MethodSignUp      = "sign-up"
	MethodPassword    = "password"
	MethodAppPassword = "app-password"
)

// charging is a [Way] of this package that charges the guess by itself, after a budget of its own.
type charging interface{ chargesGuess() }

// lookup is a [Way] of this package that only looks a secret up, in the transaction that finds the
// account. The guess is charged after that, and what was found is told only then.
type lookup interface {
	lookUpTx(tx storage.Tx, a Attempt) (*Proof, error)
}

// Password returns the way of proving who one is by the account password.
func Password(a *accounts.Service) Way { return password{a} }

type password struct{ accounts *accounts.Service }

func (password) Name() string { return MethodPassword }

func (password) chargesGuess() {}

// Prove implements [Way]. The budget of hashes is charged before that of guesses, and both before
// the password is hashed.
func (w password) Prove(ctx context.Context, a Attempt) (*Proof, error) {
	if a.Credential != nil { // which isn't worth the work of a hash
		return nil, errBadCredentials
	}
	p, err := w.accounts.Authenticate(ctx, a.did(), a.Password, a.charge)
	if err != nil {
		return nil, err
	}
	return &Proof{DID: p.DID(), StillTx: p.StillTx}, nil
}

// AppPassword returns the way of proving that one acts for an account by one of its app passwords.
func AppPassword(store storage.Store, p *apppasswords.Service) Way { return appPassword{store, p} }

type appPassword struct {
	store        storage.Store
	appPasswords *apppasswords.Service
}

func (appPassword) Name() string { return MethodAppPassword }

// Prove implements [Way].
func (w appPassword) Prove(ctx context.Context, a Attempt) (proof *Proof, err error) {
	err = w.store.View(ctx, func(tx storage.Tx) error {
		proof, err = w.lookUpTx(tx, a)
		return err
	})
	return proof, err
}

func (w appPassword) lookUpTx(tx storage.Tx, a Attempt) (*Proof, error) {
	p, err := w.appPasswords.MatchTx(tx, a.did(), a.Password)
	if err != nil {
		return nil, hideAppPassword(err)
	}
	proof := &Proof{
		DID: p.DID, Scope: sessions.ScopeAppPass, WithoutFactors: true,
		StillTx:     func(tx storage.Tx) error { return hideAppPassword(w.appPasswords.StillTx(tx, p)) },
		appPassword: p.Name, prefetch: []storage.Ref{apppasswords.Ref(p.ID)},
	}
	if p.Privileged {
		proof.Scope = sessions.ScopeAppPassPrivileged
	}
	return proof, nil
}
