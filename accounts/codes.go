package accounts

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/storage"
)

// codeMails has the kind of e-mail that carries the codes of each purpose.
var codeMails = map[codes.Purpose]mail.Kind{
	codes.ResetPassword:    mail.ResetPassword,
	codes.DeleteAccount:    mail.DeleteAccount,
	codes.ConfirmEmail:     mail.ConfirmEmail,
	codes.UpdateEmail:      mail.UpdateEmail,
	codes.SignPLCOperation: mail.PLCOperation,
	codes.SignIn:           mail.SignIn,
}

// sendCode e-mails the owner of an account a code, and waits until the mailer has accepted it. It
// returns a [ratelimit.ErrLimited] beyond the budgets of the recipient and of the client.
func (s *Service) sendCode(ctx context.Context, a *Account, purpose codes.Purpose) error {
	if a.Email == "" {
		return errNoEmail
	}
	if err := s.chargeMail(ctx, a.Email); err != nil {
		return err
	}
	m, err := s.codeMessage(ctx, a.DID, purpose)
	if err != nil {
		return err
	}
	return s.send(ctx, a.DID, m)
}

// redeem uses up a code of an account, and runs fn with the account's record in the same
// transaction. If fn returns an error, the code stays valid. A wrong code is counted, although the
// transaction refuses it.
func (s *Service) redeem(ctx context.Context, did syntax.DID, purpose codes.Purpose, code codes.Code, fn func(storage.Tx, *record) error) error {
	return s.decide(ctx, func(tx storage.Tx) (refusal, err error) {
		if refusal, err := s.cfg.Codes.Redeem(tx, did, purpose, code); refusal != nil || err != nil {
			return refusal, err
		}
		r, err := get(tx, did)
		if err != nil {
			return nil, err
		}
		return nil, fn(tx, r)
	})
}

// codeMessage issues a code for an account, and returns the message that carries it. The account is
// read in the transaction that issues the code: an address that was replaced meanwhile must not
// receive a valid code.
func (s *Service) codeMessage(ctx context.Context, did syntax.DID, purpose codes.Purpose) (mail.Message, error) {
	var a *Account
	var issued codes.Issued
	for {
		nonce, err := s.cfg.Codes.Nonce()
		if err != nil {
			return mail.Message{}, err
		}
		err = s.store.Update(ctx, func(tx storage.Tx) error {
			r, err := get(tx, did)
			if err != nil {
				return err
			}
			if r.Email == "" {
				return errNoEmail
			}
			a = &r.Account
			issued, err = s.cfg.Codes.Issue(tx, did, purpose, nonce)
			return err
		})
		if err == nil {
			break
		}
		if !errors.Is(err, storage.ErrConflict) { // another account's code has the same selector
			return mail.Message{}, err
		}
	}
	kind := codeMails[purpose]
	return s.message(a, a.Email, kind, mail.Data{Code: string(issued.Code), Page: s.cfg.MailPages[kind], Expires: issued.Left})
}
