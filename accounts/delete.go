package accounts

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/storage"
)

// RequestDelete mails a code with which the account can be deleted
// (source: com.atproto.server.requestAccountDelete).
func (s *Service) RequestDelete(ctx context.Context, did syntax.DID) error {
	return s.sendCode(ctx, did, mail.DeleteAccount)
}

// Delete removes an account, given its password and a code of [Service.RequestDelete].
// Errors: [ErrBadCredentials], [ErrInvalidToken], [ErrExpiredToken]
// (source: com.atproto.server.deleteAccount).
func (s *Service) Delete(ctx context.Context, did syntax.DID, password, code string) error {
	if utf8.RuneCountInString(password) > maxTriedPassword {
		return errTriedTooLong
	}
	var r *record
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		r, err = get(tx, did)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		r, err = &record{}, nil
	}
	if err != nil {
		return err
	}
	switch err := s.verifyPassword(ctx, r, password); {
	case errors.Is(err, ErrBadCredentials):
		return errBadDIDOrPassword
	case err != nil:
		return err
	}
	return s.redeem(ctx, mail.DeleteAccount, did, code, func(tx storage.Tx, now *record) error {
		if now.PasswordHash != r.PasswordHash { // changed meanwhile
			return errBadDIDOrPassword
		}
		return s.remove(tx, now)
	})
}

// DeleteNow removes an account without asking its owner
// (source: com.atproto.admin.deleteAccount).
func (s *Service) DeleteNow(ctx context.Context, did syntax.DID) error {
	return s.store.Update(ctx, func(tx storage.Tx) error {
		r, err := get(tx, did)
		if err != nil {
			return err
		}
		return s.remove(tx, r)
	})
}

// remove takes away the account and all that is known of it, here and in the
// other domains, in the transaction.
func (s *Service) remove(tx storage.Tx, r *record) error {
	if err := s.runHooks(tx, Change{Kind: Deleted, Account: &r.Account, Before: &r.Account}); err != nil {
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
	return accountsTable.Delete(tx, r.DID.String())
}
