package accounts

import (
	"context"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

// The budgets of what anybody may try. The client's address is that of the context (see
// [ratelimit.NewContext]). Go callers may have no address: then nothing is counted by address, and
// what is counted by account and address has one count for all of them.
var (
	// hashBudget is for everything that hashes a password, by address. It has so many points that
	// each process counts its own (see [ratelimit.Shared]): each has processors of its own to
	// protect.
	hashBudget = []ratelimit.Window{{Points: 100, Per: 5 * time.Minute}, {Points: 2000, Per: 24 * time.Hour}}
	// mailBudget is for e-mails with codes, by recipient, except for password resets, which
	// strangers can ask for. Those have resetBudget, of which each address can use no more than
	// strangerBudget. Requests by handle or DID, which everybody knows, can use no more than
	// namedBudget of it, so that some of it is left for those who know the e-mail address.
	// senderBudget is for e-mails by the address of the client that asks for them.
	mailBudget     = []ratelimit.Window{{Points: 15, Per: time.Hour}, {Points: 50, Per: 24 * time.Hour}}
	resetBudget    = []ratelimit.Window{{Points: 10, Per: time.Hour}, {Points: 40, Per: 24 * time.Hour}}
	strangerBudget = []ratelimit.Window{{Points: 5, Per: time.Hour}, {Points: 20, Per: 24 * time.Hour}}
	namedBudget    = []ratelimit.Window{{Points: 7, Per: time.Hour}, {Points: 30, Per: 24 * time.Hour}}
	senderBudget   = []ratelimit.Window{{Points: 30, Per: time.Hour}, {Points: 100, Per: 24 * time.Hour}}
	// noticeBudget is for notices, by kind and recipient, so that one kind doesn't use up the
	// budget of another.
	noticeBudget = []ratelimit.Window{{Points: 10, Per: time.Hour}, {Points: 30, Per: 24 * time.Hour}}
	// tellingBudget is for answers that reveal whether an e-mail address has an account, by address
	// of the client and by account.
	tellingBudget = []ratelimit.Window{{Points: 24, Per: time.Hour}}
)

// chargeAddress charges a budget of the client's address, if it has one.
func (s *Service) chargeAddress(ctx context.Context, what string, budget []ratelimit.Window) error {
	address := ratelimit.FromContext(ctx).Address
	if address == "" {
		return nil
	}
	return s.cfg.Limits.Charge(ctx, what+" "+address, budget...)
}

// chargeHash charges a password hash to the client's address.
func (s *Service) chargeHash(ctx context.Context) error {
	return s.chargeAddress(ctx, "hash", hashBudget)
}

// chargeMail charges an e-mail with a code to its recipient and to the client's address.
func (s *Service) chargeMail(ctx context.Context, email string) error {
	if err := s.chargeAddress(ctx, "mail from", senderBudget); err != nil {
		return err
	}
	return s.cfg.Limits.Charge(ctx, "mail to "+email, mailBudget...)
}

// chargeReset is chargeMail for a password reset. If named is set, the request named the handle or
// the DID of the account, and otherwise its e-mail address.
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

// mayBeTold refuses a client that has been answered too often whether addresses have accounts.
func (s *Service) mayBeTold(ctx context.Context) error {
	address := ratelimit.FromContext(ctx).Address
	if address == "" {
		return nil
	}
	return s.cfg.Limits.Check(ctx, "told "+address, tellingBudget...)
}

// told charges the client for a refusal that reveals whether an address has an account, and returns
// the refusal. If the client's budget is used up, it returns that error instead.
func (s *Service) told(ctx context.Context, refusal error) error {
	if err := s.chargeAddress(ctx, "told", tellingBudget); err != nil {
		return err
	}
	return refusal
}
