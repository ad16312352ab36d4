package accounts

import (
	"context"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

// The budgets of what anybody may try. The client's address is that of the context (see
// [ratelimit.NewContext]). Callers in this program may have none: then there is no count for the
// address, and one count for all of them where it is kept by account and address.
var (
	// guessBudget is for passwords: each account, by whatever identifier, from each address.
	guessBudget = []ratelimit.Window{{Points: 30, Per: 5 * time.Minute}, {Points: 300, Per: 24 * time.Hour}}
	// hashBudget is for everything that hashes a password, from each address. The window of a day
	// is too wide to be shared by processes, each of which has processors of its own to protect.
	hashBudget = []ratelimit.Window{{Points: 100, Per: 5 * time.Minute}, {Points: 2000, Per: 24 * time.Hour}}
	// mailBudget is for e-mails with codes to each recipient, but for password resets, which
	// strangers ask for: those have resetBudget, of which each address has the part of
	// strangerBudget. What is asked for by handle or DID, which everybody knows, has the part of
	// namedBudget, so that it leaves something to who knows the e-mail address. senderBudget is for
	// what each address asks for.
	mailBudget     = []ratelimit.Window{{Points: 15, Per: time.Hour}, {Points: 50, Per: 24 * time.Hour}}
	resetBudget    = []ratelimit.Window{{Points: 10, Per: time.Hour}, {Points: 40, Per: 24 * time.Hour}}
	strangerBudget = []ratelimit.Window{{Points: 5, Per: time.Hour}, {Points: 20, Per: 24 * time.Hour}}
	namedBudget    = []ratelimit.Window{{Points: 7, Per: time.Hour}, {Points: 30, Per: 24 * time.Hour}}
	senderBudget   = []ratelimit.Window{{Points: 30, Per: time.Hour}, {Points: 100, Per: 24 * time.Hour}}
	// noticeBudget is for notices of each kind to each recipient, so that none of them hides
	// another.
	noticeBudget = []ratelimit.Window{{Points: 10, Per: time.Hour}, {Points: 30, Per: 24 * time.Hour}}
	// tellingBudget is for answers that tell whether an address has an account.
	tellingBudget = []ratelimit.Window{{Points: 24, Per: time.Hour}}
)

// ChargeGuess takes a guess at a password of an account, which was found by an identifier, from the
// budget that all ways of guessing and all spellings of an identifier share. Every way to log in
// has to call it before it tells whether a secret was right. Error: [ratelimit.ErrLimited].
func (s *Service) ChargeGuess(ctx context.Context, identifier string, id syntax.DID) error {
	return s.chargeGuess(ctx, normalIdentifier(identifier), id.String())
}

// chargeGuess counts by what was typed, of which the client is told how much is left, and by the
// account, of which it is only told when it is used up: what is left would tell which address is
// whose.
func (s *Service) chargeGuess(ctx context.Context, typed, who string) error {
	client := ratelimit.FromContext(ctx)
	if err := s.cfg.Limits.ChargeFor(ctx, client, "login "+typed+" "+client.Address, guessBudget...); err != nil {
		return err
	}
	observe := client.Observe
	client.Observe = func(state ratelimit.State) {
		if !state.Allowed && observe != nil {
			observe(state)
		}
	}
	return s.cfg.Limits.ChargeFor(ctx, client, "guess "+who+" "+client.Address, guessBudget...)
}

// chargeAddress takes from a budget of the client's address, if the client has one.
func (s *Service) chargeAddress(ctx context.Context, what string, budget []ratelimit.Window) error {
	address := ratelimit.FromContext(ctx).Address
	if address == "" {
		return nil
	}
	return s.cfg.Limits.Charge(ctx, what+" "+address, budget...)
}

// chargeHash takes a password hash from the budget of the client's address.
func (s *Service) chargeHash(ctx context.Context) error {
	return s.chargeAddress(ctx, "hash", hashBudget)
}

// chargeMail takes an e-mail with a code from the budgets of its recipient and of the client's
// address.
func (s *Service) chargeMail(ctx context.Context, email string) error {
	if err := s.chargeAddress(ctx, "mail from", senderBudget); err != nil {
		return err
	}
	return s.cfg.Limits.Charge(ctx, "mail to "+email, mailBudget...)
}

// chargeReset is chargeMail for a password reset, which was asked for by the recipient's e-mail
// address or, if named is set, by what names the account.
func (s *Service) chargeReset(ctx context.Context, email string, named bool) error {
	if err := s.chargeAddress(ctx, "mail from", senderBudget); err != nil {
		return err
	}
	address := ratelimit.FromContext(ctx).Address
	if err := s.cfg.Limits.Charge(ctx, "reset to "+email+" from "+address, strangerBudget...); err != nil {
		return err
	}
	if named {
		if err := s.cfg.Limits.Charge(ctx, "reset by name to "+email, namedBudget...); err != nil {
			return err
		}
	}
	return s.cfg.Limits.Charge(ctx, "reset to "+email, resetBudget...)
}

// mayBeTold refuses a client that has been told often enough whether addresses have accounts.
func (s *Service) mayBeTold(ctx context.Context) error {
	address := ratelimit.FromContext(ctx).Address
	if address == "" {
		return nil
	}
	return s.cfg.Limits.Check(ctx, "told "+address, tellingBudget...)
}

// told takes a refusal that tells whether an address has an account from the client's budget, and
// returns it if there was something left.
func (s *Service) told(ctx context.Context, refusal error) error {
	if err := s.chargeAddress(ctx, "told", tellingBudget); err != nil {
		return err
	}
	return refusal
}
