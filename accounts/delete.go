package accounts

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// RequestDelete e-mails a code with which the account can be deleted. Errors: [ErrNotFound],
// [ErrInvalidRequest] for an account without an address, [ratelimit.ErrLimited], [mail.ErrDelivery]
// (source: com.atproto.server.requestAccountDelete).
func (s *Service) RequestDelete(ctx context.Context, did syntax.DID) error {
	a, err := s.Get(ctx, did)
	if err != nil {
		return err
	}
	return s.sendCode(ctx, a, codes.DeleteAccount)
}

// ErrTakenDown is returned when the owner of an account that is taken down asks for something that
// only an admin may do then. Clients are answered 401 AccountTakedown.
var ErrTakenDown = errors.New("accounts: account taken down")

var errTakenDown = refusal.New(ErrTakenDown, "Account has been taken down")

// Delete deletes an account, given its DID in any spelling that [NormalizeIdentifier] understands,
// its password and the code of [Service.RequestDelete]. Errors: [ErrBadCredentials],
// [ErrTakenDown], [codes.ErrInvalid], [codes.ErrExpired], [ratelimit.ErrLimited] (source:
// com.atproto.server.deleteAccount).
func (s *Service) Delete(ctx context.Context, did syntax.DID, password, typedCode string) error {
	r, err := s.authenticate(ctx, did.String(), password, func(tx storage.Tx) (*record, error) { return findDID(tx, did.String()) })
	switch {
	case errors.Is(err, errTriedTooLong):
		return err
	case errors.Is(err, ErrBadCredentials):
		return errBadDIDOrPassword
	case err != nil:
		return err
	case r.Takedown != nil:
		return errTakenDown
	}
	code, err := codes.Parse(typedCode)
	if err != nil {
		return err
	}
	return s.decide(ctx, func(tx storage.Tx) (refusal, err error) {
		if refusal, err := s.cfg.Codes.Redeem(tx, r.DID, codes.DeleteAccount, code); refusal != nil || err != nil {
			return refusal, err
		}
		now, err := get(tx, r.DID)
		switch {
		case err != nil:
			return nil, err
		case now.PasswordHash != r.PasswordHash: // changed meanwhile
			return nil, errBadDIDOrPassword
		case now.Takedown != nil:
			return nil, errTakenDown
		}
		return nil, s.remove(ctx, tx, now)
	})
}

// DeleteNow deletes an account without asking its owner. A takedown stays with the DID. Error:
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

// remove deletes an account and everything that belongs to it, here and, by way of the hooks, in
// other packages. What has to outlive it, such as a takedown, stays with its DID.
func (s *Service) remove(ctx context.Context, tx storage.Tx, r *record) error {
	if err := s.runHooks(ctx, tx, Change{Kind: Deleted, Account: &r.Account, Before: &r.Account}); err != nil {
		return err
	}
	if err := codes.Void(tx, r.DID); err != nil {
		return err
	}
	if _, err := didChanges.DeleteAll(tx, storage.Range{Prefix: r.DID.String() + " "}); err != nil {
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
