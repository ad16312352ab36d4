package signin

import (
	"context"
	"errors"
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Pass is what an [Attempt] has proved. It can be used once, soon after it was made.
type Pass struct {
	service        *Service
	way            string
	proof          *Proof
	account        *accounts.Account // as it was before; nil if the attempt named none
	factors        []Factor          // those of the account
	code           string
	allowTakendown bool

	mu   sync.Mutex
	used bool
}

// DID returns the account that the pass is for.
func (p *Pass) DID() syntax.DID { return p.proof.DID }

// Grant returns what a session that is opened with the pass may do, and how it was opened. The
// owner of the account has [sessions.ScopeAccess]; any other scope belongs to somebody or something
// that acts for the owner.
func (p *Pass) Grant() sessions.Grant {
	return sessions.Grant{Method: p.way, AppPassword: p.proof.appPassword, Scope: p.proof.Scope}
}

// Use runs fn in a transaction in which everything that was proved still holds: the account exists
// and isn't taken down (unless the attempt had AllowTakendown), the secret is the same, and the
// code of a second factor, which is used up, is right. If the owner of the account has passed, a
// scheduled deletion is called off. An error of fn undoes all that and is returned, and the pass
// can be used again. Like any function of a transaction fn may run more than once.
//
// Errors: [accounts.ErrBadCredentials] if the proof no longer holds, [sessions.ErrAccountTakedown],
// [ErrFactorRequired] if the account has a factor only now, the refusals of a [Factor], [ErrUsed].
func (p *Pass) Use(ctx context.Context, fn func(tx storage.Tx, a *accounts.Account) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used {
		return ErrUsed
	}
	var missing []Factor
	var now *accounts.Account
	err := storage.Decide(ctx, p.service.store, func(tx storage.Tx) (refusal, err error) {
		missing = nil
		if err := storage.Prefetch(tx, append(p.proof.prefetch, accounts.Ref(p.DID()))...); err != nil {
			return nil, err
		}
		if now, err = p.service.accounts.ReadTx(tx, p.DID()); err != nil {
			return nil, hideAccount(err)
		}
		var factors []Factor
		if !p.proof.WithoutFactors {
			if factors, err = p.service.factorsTx(tx, now); err != nil {
				return nil, err
			}
		}
		if len(factors) > 0 && p.code != "" {
			if refusal, err := redeemTx(tx, now, factors, p.code); refusal != nil || err != nil {
				return refusal, err
			}
		}
		if err := p.stillTx(tx); err != nil {
			return nil, err
		}
		if err := p.checkTakedown(now); err != nil {
			return nil, err
		}
		if len(factors) > 0 && p.code == "" {
			missing = factors
			return nil, errMissing
		}
		if p.proof.owner() && now.Takedown == nil {
			if err := p.service.accounts.CallOffDeletionTx(ctx, tx, now); err != nil {
				return nil, err
			}
		}
		return nil, fn(tx, now)
	})
	if errors.Is(err, errMissing) {
		return challenge(ctx, now, missing)
	}
	p.used = err == nil
	return err
}

// errMissing rolls back a transaction for want of a code.
var errMissing = errors.New("signin: a code is missing")

// stillTx checks that what the way proved still holds.
func (p *Pass) stillTx(tx storage.Tx) error {
	if p.proof.StillTx == nil {
		return nil
	}
	return p.proof.StillTx(tx)
}

// checkTakedown refuses an account that is taken down, unless its owner wants to leave.
func (p *Pass) checkTakedown(a *accounts.Account) error {
	if a.Takedown != nil && !(p.allowTakendown && p.proof.owner()) {
		return errTakedown
	}
	return nil
}

// redeemTx uses up a code with the first factor whose code it is. The refusal is that of the first
// factor.
func redeemTx(tx storage.Tx, a *accounts.Account, factors []Factor, code string) (refusal, err error) {
	for _, f := range factors {
		refused, err := f.RedeemTx(tx, a, code)
		if refused == nil || err != nil {
			return nil, err
		}
		if refusal == nil {
			refusal = refused
		}
	}
	return refusal, nil
}

// challenge asks for a code of the first of some factors.
func challenge(ctx context.Context, a *accounts.Account, factors []Factor) error {
	message, err := factors[0].Challenge(ctx, a)
	if err != nil {
		return err
	}
	missing := &FactorRequiredError{message: message}
	for _, f := range factors {
		missing.Factors = append(missing.Factors, f.Name())
	}
	return missing
}
