package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// RecommendedCredentials is what the DID of an account on this server should contain.
type RecommendedCredentials struct {
	RotationKeys        []string
	AlsoKnownAs         []string
	VerificationMethods map[string]string
	Services            map[string]did.Service
}

// Recommend returns what an account's DID should contain. Error: [ErrNotFound] (source:
// com.atproto.identity.getRecommendedDidCredentials).
func (i *Identity) Recommend(ctx context.Context, id syntax.DID) (*RecommendedCredentials, error) {
	s := i.s
	a, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	data := did.AtprotoData(id, a.Handle.String(), a.SigningKey, s.cfg.PublicURL)
	c := &RecommendedCredentials{AlsoKnownAs: data.AlsoKnownAs, VerificationMethods: data.VerificationMethods, Services: data.Services}
	if key := s.cfg.DIDs.RecoveryKey; key != "" {
		c.RotationKeys = append(c.RotationKeys, key)
	}
	if key := s.cfg.DIDs.RotationKey(); key != "" {
		c.RotationKeys = append(c.RotationKeys, key)
	}
	return c, nil
}

// mayChangeDID refuses to sign PLC operations for an account whose codes might be mailed to
// somebody else than its owner.
func (s *Service) mayChangeDID(a *Account) error {
	switch {
	case a.NotYetActivated:
		return refusal.New(ErrInvalidRequest, "The account has to be activated before PLC operations are signed for it")
	case a.Brought && a.EmailConfirmedAt == nil:
		return refusal.New(ErrInvalidRequest, "The email address has to be confirmed before PLC operations are signed")
	case s.unvouched(a):
		return errUnvouched
	}
	return nil
}

// RequestPLCSignature e-mails the owner of an account a code for [Identity.SignPLCOperation]. An
// account that moved here must have been activated, and its address confirmed. If the server can't
// sign for the DID, according to the directory, no code is mailed; if that is because the server's
// rotation key is missing there, the error is a [did.ErrNotController]. Errors: [ErrNotFound],
// [ErrInvalidRequest], [ratelimit.ErrLimited], [mail.ErrDelivery] (source:
// com.atproto.identity.requestPlcOperationSignature).
func (i *Identity) RequestPLCSignature(ctx context.Context, id syntax.DID) error {
	s := i.s
	a, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	if err := s.mayChangeDID(a); err != nil {
		return err
	}
	if err := s.canSign(ctx, id); err != nil {
		return err
	}
	return s.sendCode(ctx, a, codes.SignPLCOperation)
}

// canSignTimeout bounds the time that canSign waits for the directory.
const canSignTimeout = 5 * time.Second

// canSign refuses a DID for which the server can't sign operations, according to the directory. If
// the directory can't be reached it accepts any DID: the directory may be back when the code is
// used.
func (s *Service) canSign(ctx context.Context, id syntax.DID) error {
	ctx, cancel := context.WithTimeout(ctx, canSignTimeout)
	defer cancel()
	data, err := s.cfg.DIDs.Data(ctx, id)
	ours := s.cfg.DIDs.RotationKey()
	switch {
	case errors.Is(err, did.ErrNotFound), errors.Is(err, did.ErrTombstoned):
		return directoryError(err)
	case err == nil && ours != "" && !slices.Contains(data.RotationKeys, ours):
		return errSignYourself
	}
	return nil
}

var errSignYourself = ownersTask("sign PLC operations with a rotation key of your own, or add the server's first")

// SignPLCOperation returns the last operation of an account's DID as its successor, changed by
// change and signed with the server's rotation key. It doesn't submit the operation. The code of
// [Identity.RequestPLCSignature] is used up if an operation is returned. An operation that changes
// nothing is refused. If the DID's rotation keys don't include the server's, the error is a
// [did.ErrNotController]. Errors: [ErrNotFound], [ErrInvalidRequest], [codes.ErrInvalid],
// [codes.ErrExpired], [ErrDirectory] (source: com.atproto.identity.signPlcOperation).
func (i *Identity) SignPLCOperation(ctx context.Context, id syntax.DID, typedCode string, change func(*did.Operation)) (*did.Operation, error) {
	s := i.s
	if typedCode == "" {
		return nil, refusal.New(ErrInvalidRequest, "email confirmation token required to sign PLC operations")
	}
	a, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := s.mayChangeDID(a); err != nil {
		return nil, err
	}
	code, err := codes.Parse(typedCode)
	if err != nil {
		return nil, err
	}
	// A wrong code is refused before the directory is asked and anything is signed.
	err = s.decide(ctx, func(tx storage.Tx) (refusal, err error) {
		return s.cfg.Codes.Check(tx, id, codes.SignPLCOperation, code)
	})
	if err != nil {
		return nil, err
	}
	op, err := s.cfg.DIDs.Sign(ctx, id, change)
	switch {
	case errors.Is(err, did.ErrNotController):
		return nil, errSignYourself
	case errors.Is(err, did.ErrRefused):
		return nil, invalidOperation(err)
	case err != nil:
		return nil, directoryError(err)
	}
	var after *Account
	err = s.redeem(ctx, id, codes.SignPLCOperation, code, func(_ storage.Tx, r *record) error {
		after = &r.Account
		return s.mayChangeDID(after)
	})
	if err != nil {
		return nil, err
	}
	s.notify(after, mail.PLCOperationSigned, mail.Data{})
	return op, nil
}

// invalidOperation refuses an operation, with the reason if it is known. It doesn't pass on the
// directory's own words.
func invalidOperation(err error) error {
	var wrong *did.InvalidError
	if errors.As(err, &wrong) {
		return refusal.New(ErrInvalidRequest, wrong.ForClients())
	}
	return refusal.New(ErrInvalidRequest, "Invalid operation: the DID directory refused it")
}

// SubmitPLCOperation submits an operation for an account's DID to the directory. The operation must
// name this server's rotation key and endpoint, and the account's handle and signing key.
// Submitting an operation again changes nothing. Errors: [ErrNotFound], [ErrInvalidRequest],
// [ErrDirectory] (source: com.atproto.identity.submitPlcOperation).
func (i *Identity) SubmitPLCOperation(ctx context.Context, id syntax.DID, op *did.Operation) error {
	s := i.s
	a, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	pds := op.Services[did.AtprotoPDS]
	refuse := func(text string) error { return refusal.New(ErrInvalidRequest, text) }
	switch {
	case op.Type != did.TypeOperation:
		return refuse("Invalid operation: type must be " + did.TypeOperation)
	case op.Sig == "":
		return refuse("Invalid operation: sig must be a signature in base64url")
	case !slices.Contains(op.RotationKeys, s.cfg.DIDs.RotationKey()):
		return refuse("Rotation keys do not include server's rotation key")
	case pds.Type != did.AtprotoPDSType:
		return refuse("Incorrect type on atproto_pds service")
	case !s.isHere(pds.Endpoint):
		return refuse("Incorrect endpoint on atproto_pds service")
	case op.VerificationMethods[did.AtprotoKey] != a.SigningKey:
		return refuse("Incorrect signing key")
	case len(op.AlsoKnownAs) == 0 || op.AlsoKnownAs[0] != "at://"+a.Handle.String():
		return refuse("Incorrect handle in alsoKnownAs")
	}
	// This writes nothing, but it checks the precondition of ctx: that the session that asks for
	// the submission is still alive.
	if err := s.store.Update(ctx, func(tx storage.Tx) error { _, err := get(tx, id); return err }); err != nil {
		return err
	}
	err = s.cfg.DIDs.Submit(ctx, id, op)
	switch {
	case errors.Is(err, did.ErrRefused):
		return invalidOperation(err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	return nil
}
