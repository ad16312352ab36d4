package accounts

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/storage"
)

// SendSignInCode mails an account a code for signing in: the second factor of an account whose
// EmailAuthFactor is set. Errors: [ErrInvalidRequest] if the account has no address,
// [ratelimit.ErrLimited], and those of the delivery.
func (e *Emails) SendSignInCode(ctx context.Context, a *Account) error {
	return e.s.sendCode(ctx, a, codes.SignIn)
}

// RedeemSignInCodeTx uses up a code of [Emails.SendSignInCode], inside a transaction. If the code is
// refused ([codes.ErrInvalid] or [codes.ErrExpired]), the transaction has to be committed all the
// same, since it counts the wrong guess: see [storage.Decide].
func (e *Emails) RedeemSignInCodeTx(tx storage.Tx, did syntax.DID, typedCode string) (refusal, err error) {
	code, err := codes.Parse(typedCode)
	if err != nil {
		return err, nil
	}
	return e.s.cfg.Codes.Redeem(tx, did, codes.SignIn, code)
}
