package accounts

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// RequestDelete e-mails the owner a code for [Service.Delete]. Errors: [ErrNotFound],
// [ErrInvalidRequest] for an account without an address, [ratelimit.ErrLimited], [mail.ErrDelivery]
// (source: com.atproto.server.requestAccountDelete).
func (s *Service) RequestDelete(ctx context.Context, did syntax.DID) error {
	a, err := s.Get(ctx, did)
	if err != nil {
		return err
	}
	return s.sendCode(ctx, a, codes.DeleteAccount)
}

// ErrTakenDown is returned when the owner of an account that is taken down wants to delete it,
// which only an admin can do then. Clients are answered 401 AccountTakedown.
var ErrTakenDown = errors.New("accounts: account taken down")

var errTakenDown = refusal.New(ErrTakenDown, "Account has been taken down")

// Delete deletes an account with the code of [Service.RequestDelete]. The caller must have
// authenticated the owner: check runs in the transaction, once the code was found to be right, and
// returns an error if the authentication is no longer valid. That error is returned, and the code
// stays valid. Errors: those of check, [ErrNotFound], [ErrTakenDown], [codes.ErrInvalid],
// [codes.ErrExpired] (source: com.atproto.server.deleteAccount).
func (s *Service) Delete(ctx context.Context, did syntax.DID, typedCode string, check func(storage.Tx) error) error {
	code, err := codes.Parse(typedCode)
	if err != nil {
		return err
	}
	return s.redeem(ctx, did, codes.DeleteAccount, code, func(tx storage.Tx, r *record) error {
		if err := check(tx); err != nil {
			return err
		}
		if r.Takedown != nil {
			return errTakenDown
		}
		return s.remove(ctx, tx, r)
	})
}

// DeleteNow deletes an account without a code, for an admin. A takedown stays with the DID. Error:
// [ErrNotFound] (source: com.atproto.admin.deleteAccount).
func (s *Service) DeleteNow(ctx context.Context, did syntax.DID) error {
	return s.update(ctx, func(tx storage.Tx) error {
		r, err := get(tx, did)
		if err != nil {
			return err
		}
		return s.remove(ctx, tx, r)
	})
}

// remove deletes an account and everything that belongs to it, here and, through the hooks, in
// other packages. What must outlive it, such as a takedown, stays with its DID.
func (s *Service) remove(ctx context.Context, tx storage.Tx, r *record) error {
	if err := s.runHooks(ctx, tx, Change{Kind: Deleted, Account: &r.Account, Before: &r.Account}); err != nil {
		return err
	}
	if err := codes.Void(tx, r.DID); err != nil {
		return err
	}
	if _, err := didChanges.DeleteAll(tx, storage.Under("", r.DID.String())); err != nil {
		return err
	}
	if _, err := reservedTable.DeleteAll(tx, storage.Exactly("did", r.DID.String())); err != nil {
		return err
	}
	if err := s.leaveBehind(tx, r); err != nil {
		return err
	}
	if err := s.handles.HoldDeleted(tx, r.DID, r.Handle); err != nil {
		return err
	}
	return accountsTable.Delete(tx, r.DID.String())
}
