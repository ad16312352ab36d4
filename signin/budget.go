package signin

import (
	"context"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/typed"
)

// guessBudget is for guesses at the secrets of each account, by whatever identifier and in whatever
// way, from each address. The client's address is that of the context (see [ratelimit.NewContext]).
// Callers in this program may have none, and share one count for each account then.
var guessBudget = []ratelimit.Window{{Points: 30, Per: 5 * time.Minute}, {Points: 300, Per: 24 * time.Hour}}

// newGuess returns the charge of an attempt at an account, or at none.
func (s *Service) newGuess(identifier string, account *accounts.Account) *guess {
	// All spellings of an identifier share one budget, whatever their case.
	g := &guess{limits: s.cfg.Limits, typed: typed.Lower(accounts.NormalizeIdentifier(identifier))}
	g.who = g.typed
	if account != nil {
		g.who = account.DID.String()
	}
	return g
}

// guess is the charge of one attempt.
type guess struct {
	limits  ratelimit.Meter
	typed   string // the identifier, in one spelling
	who     string // the DID of its account, or the identifier
	charged bool
}

// charge takes the guess from the budget, once. It counts by what was typed, of which the client is
// told how many guesses are left, and by the account, of which the client is only told that none
// are left: the number would tell which address is whose.
func (g *guess) charge(ctx context.Context) error {
	if g.charged {
		return nil
	}
	client := ratelimit.FromContext(ctx)
	if err := g.limits.ChargeFor(ctx, client, "login "+g.typed+" "+client.Address, guessBudget...); err != nil {
		return err
	}
	if err := g.chargeAccount(ctx, g.who); err != nil {
		return err
	}
	g.charged = true
	return nil
}

// chargeFor is charge for an attempt that turned out to be at the account of a DID.
func (g *guess) chargeFor(ctx context.Context, did syntax.DID) error {
	if err := g.charge(ctx); err != nil || g.who == did.String() {
		return err
	}
	return g.chargeAccount(ctx, did.String())
}

func (g *guess) chargeAccount(ctx context.Context, who string) error {
	client := ratelimit.FromContext(ctx)
	observe := client.Observe
	client.Observe = func(state ratelimit.State) {
		if !state.Allowed && observe != nil {
			observe(state)
		}
	}
	return g.limits.ChargeFor(ctx, client, "guess "+who+" "+client.Address, guessBudget...)
}
