package accounts

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// RequestDelete mails a code with which the account can be deleted
// (source: com.atproto.server.requestAccountDelete).
func (s *Service) RequestDelete(ctx context.Context, did syntax.DID) error {
	a, err := s.Get(ctx, did)
	if err != nil {
		return err
	}
	return s.sendCode(ctx, a, mail.DeleteAccount)
}

// ErrTakenDown is returned when the owner of an account that is taken down asks for what only an
// admin may do then.
var ErrTakenDown = errors.New("accounts: account taken down")

var errTakenDown = refusal.New(ErrTakenDown, "Account has been taken down")

// Delete removes an account, given its DID in any spelling that [NormalizeIdentifier] understands,
// its password and a code of [Service.RequestDelete]. Errors: [ErrBadCredentials], [ErrTakenDown],
// [ErrInvalidToken], [ErrExpiredToken], [ratelimit.ErrLimited] (source:
// com.atproto.server.deleteAccount).
func (s *Service) Delete(ctx context.Context, did syntax.DID, password, code string) error {
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
	return s.redeem(ctx, mail.DeleteAccount, r.DID, code, func(tx storage.Tx, now *record) error {
		switch {
		case now.PasswordHash != r.PasswordHash: // changed meanwhile
			return errBadDIDOrPassword
		case now.Takedown != nil:
			return errTakenDown
		}
		return s.remove(ctx, tx, now)
	})
}

// DeleteNow removes an account without asking its owner. A takedown stays with the DID
// (source: com.atproto.admin.deleteAccount).
func (s *Service) DeleteNow(ctx context.Context, did syntax.DID) error {
	return s.update(ctx, func(tx storage.Tx) error {
		r, err := get(tx, did)
		if err != nil {
			return err
		}
		return s.remove(ctx, tx, r)
	})
}

// remove takes away the account and all that is known of it, here and in the
// other domains, in the transaction.
func (s *Service) remove(ctx context.Context, tx storage.Tx, r *record) error {
	if err := s.runHooks(ctx, tx, Change{Kind: Deleted, Account: &r.Account, Before: &r.Account}); err != nil {
		return err
	}
	if err := voidCodes(tx, r.DID); err != nil {
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
	if err := s.holdDeleted(tx, r); err != nil {
		return err
	}
	return accountsTable.Delete(tx, r.DID.String())
}
