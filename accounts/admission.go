package accounts

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/typed"
	"github.com/gatehouse-at/gatehouse/storage"
)

// SignUpMode says who may sign up. The empty mode is [SignUpOpen].
type SignUpMode string

// The modes of sign-up.
const (
	// SignUpOpen permits all sign-ups for which the [Gate], if there is one, accepts the ticket.
	SignUpOpen SignUpMode = "open"
	// SignUpMigrations only permits accounts that move here from another server: a sign-up needs an
	// existing DID, and proof that the caller controls it.
	SignUpMigrations SignUpMode = "migrations"
	// SignUpClosed permits no sign-up, except by an admin.
	SignUpClosed SignUpMode = "closed"
)

// Gate decides which tickets, such as invite codes, permit a sign-up. Its methods with a
// transaction take part in the transactions of the sign-up, and may run more than once. Clients are
// shown the errors of a Gate as those of a [Hook].
type Gate interface {
	// Ticket returns the ticket that an applicant typed or pasted, in the form in which it was
	// issued. If a ticket is required and the text is empty, it returns an error.
	Ticket(typed string) (string, error)
	// Check returns an error if a ticket can't be used now.
	Check(tx storage.Tx, ticket string) error
	// Redeem uses a ticket for an account. It returns an error if the ticket can't be used.
	Redeem(tx storage.Tx, ticket string, did syntax.DID) error
	// Release gives back a ticket that Redeem used for a sign-up that failed.
	Release(tx storage.Tx, ticket string, did syntax.DID) error
}

// ErrSignUpClosed is returned when the [SignUpMode] doesn't permit a sign-up. Clients are answered
// 400 SignUpClosed.
var ErrSignUpClosed = errors.New("accounts: sign-up is closed")

var (
	errSignUpClosed = refusal.New(ErrSignUpClosed, "This server doesn't take new accounts")
	errOnlyMoving   = refusal.New(ErrSignUpClosed, "This server only takes accounts that move here from another server")
)

// Applicant is somebody who wants to sign up, for CheckSignUp of a [Config].
type Applicant struct {
	// Handle and Email, both in lower case, have passed all checks, and were free a moment ago.
	Handle syntax.Handle
	Email  string
	// DID is the DID of an account that moves here; the applicant has proved to control it. It is
	// empty for a new account.
	DID syntax.DID
	// Ticket is the ticket for the [Gate], such as an invite code, in the form in which it was
	// issued. It was usable a moment ago. It is empty if there is none.
	Ticket string
	// VerificationCode and VerificationPhone are what the client sent, such as the answer to a
	// captcha, unchecked (source: com.atproto.server.createAccount).
	VerificationCode  string
	VerificationPhone string
}

// SignUpMode returns who may sign up.
func (s *Service) SignUpMode() SignUpMode { return s.cfg.SignUp }

// PasswordRequired reports whether a sign-up needs a password, which it does unless NoPasswords of
// the [Config] is set.
func (s *Service) PasswordRequired() bool { return !s.cfg.NoPasswords }

// checkMode refuses a sign-up that the mode doesn't permit. It only considers the parameters, and
// looks nothing up.
func (s *Service) checkMode(p CreateParams) error {
	switch {
	case p.Admit:
		return nil
	case s.cfg.SignUp == SignUpClosed:
		return errSignUpClosed
	case s.cfg.SignUp != SignUpMigrations:
		return nil
	case p.DID == "":
		return errOnlyMoving
	}
	return checkOwner(p) // first of all, so that nobody else learns which handles and addresses are free
}

// checkOwner refuses a DID that the applicant hasn't proved to control.
func checkOwner(p CreateParams) error {
	if p.DID != "" && p.DID != p.ProvenDID {
		return refusal.Newf(ErrMissingAuth, "Missing auth to create account with did: %s", p.DID)
	}
	return nil
}

// ticket returns the ticket of a sign-up in the form in which it was issued. It is empty if there
// is no Gate, or if an admin creates the account without one.
func (s *Service) ticket(p CreateParams) (string, error) {
	if s.cfg.Gate == nil || p.Admit && typed.Name(p.Ticket) == "" {
		return "", nil
	}
	return s.cfg.Gate.Ticket(p.Ticket)
}

var errRehearsed = errors.New("accounts: rehearsed")

// ask calls CheckSignUp of the [Config]. That may use up a captcha or take a payment, so it is
// called last, after a rehearsal of the first transaction has shown that nothing else is wrong.
func (s *Service) ask(ctx context.Context, r *record, p CreateParams) error {
	if s.cfg.CheckSignUp == nil || p.Admit {
		return nil
	}
	err := s.store.Update(ctx, func(tx storage.Tx) error {
		if err := s.reserve(ctx, tx, r, p); err != nil {
			return err
		}
		return errRehearsed // rolls the transaction back
	})
	if !errors.Is(err, errRehearsed) {
		return err
	}
	err = s.cfg.CheckSignUp(ctx, Applicant{
		Handle: r.Handle, Email: r.Email, DID: p.DID, Ticket: p.Ticket,
		VerificationCode: p.VerificationCode, VerificationPhone: p.VerificationPhone,
	})
	if err != nil {
		return s.told(ctx, err) // it reveals that the address is free
	}
	return nil
}
