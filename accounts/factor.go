package accounts

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/storage"
)

// SendSignInCode e-mails the owner of an account a code for signing in, which is the second factor
// if EmailAuthFactor of the account is set. Errors: [ErrNotFound], [ErrInvalidRequest] for an
// account without an address, [ratelimit.ErrLimited], [mail.ErrDelivery].
func (e *Emails) SendSignInCode(ctx context.Context, a *Account) error {
	return e.s.sendCode(ctx, a, codes.SignIn)
}

// RedeemSignInCodeTx redeems a code of [Emails.SendSignInCode], inside a transaction. If it returns
// a refusal ([codes.ErrInvalid] or [codes.ErrExpired]), the transaction must be committed all the
// same, since it has counted a wrong guess: see [storage.Decide].
func (e *Emails) RedeemSignInCodeTx(tx storage.Tx, did syntax.DID, typedCode string) (refusal, err error) {
	code, err := codes.Parse(typedCode)
	if err != nil {
		return err, nil
	}
	return e.s.cfg.Codes.Redeem(tx, did, codes.SignIn, code)
}
