package accounts

import (
	"context"
	"errors"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// ErrAuthFactorRequired says that a sign-in code was mailed, which has to come with the login.
var ErrAuthFactorRequired = errors.New("accounts: sign-in code required")

var errAuthFactorRequired = refusal.New(ErrAuthFactorRequired, "A sign in code has been sent to your email address")

// CheckSignIn asks for the second factor of an account that has one: without a code it mails one
// and returns [ErrAuthFactorRequired]; a code is used up. The functions in also run in the same
// transaction, and an error of theirs leaves the code as it was. Errors: [codes.ErrInvalid],
// [codes.ErrExpired].
func (s *Service) CheckSignIn(ctx context.Context, a *Account, typedCode string, also ...func(storage.Tx) error) error {
	if typedCode != "" {
		code, err := codes.Parse(typedCode)
		if err != nil {
			return err
		}
		return s.decide(ctx, func(tx storage.Tx) (refusal, err error) {
			if refusal, err := s.cfg.Codes.Redeem(tx, a.DID, codes.SignIn, code); refusal != nil || err != nil {
				return refusal, err
			}
			if _, err := get(tx, a.DID); err != nil {
				return nil, err
			}
			return nil, inTurn(tx, also)
		})
	}
	if err := s.sendCode(ctx, a, codes.SignIn); err != nil {
		return err
	}
	return errAuthFactorRequired
}

// inTurn runs what a caller adds to a transaction.
func inTurn(tx storage.Tx, also []func(storage.Tx) error) error {
	for _, f := range also {
		if err := f(tx); err != nil {
			return err
		}
	}
	return nil
}
