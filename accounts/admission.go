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
	// SignUpOpen takes everybody whom the [Gate], if there is one, lets pass.
	SignUpOpen SignUpMode = "open"
	// SignUpMigrations takes accounts that move here from another server, and no new ones: a sign-up
	// needs a DID, and proof of it.
	SignUpMigrations SignUpMode = "migrations"
	// SignUpClosed takes nobody.
	SignUpClosed SignUpMode = "closed"
)

// Gate stands before sign-up and lets those pass who have a ticket, such as an invite code. Its
// methods with a transaction take part in the sign-up, and may run more than once.
type Gate interface {
	// Ticket returns a ticket as it was issued, from what an applicant typed or pasted. If a ticket is
	// required and the text is empty, it returns an error.
	Ticket(typed string) (string, error)
	// Check refuses a ticket that can't be used now.
	Check(tx storage.Tx, ticket string) error
	// Redeem uses a ticket for an account, or refuses it as Check does.
	Redeem(tx storage.Tx, ticket string, did syntax.DID) error
	// Release takes back a use by Redeem, after a sign-up that failed.
	Release(tx storage.Tx, ticket string, did syntax.DID) error
}

// ErrSignUpClosed is returned when the server takes no new accounts, or only accounts that move here.
// Clients are answered 400 SignUpClosed.
var ErrSignUpClosed = errors.New("accounts: sign-up is closed")

var (
	errSignUpClosed = refusal.New(ErrSignUpClosed, "This server doesn't take new accounts")
	errOnlyMoving   = refusal.New(ErrSignUpClosed, "This server only takes accounts that move here from another server")
)

// Applicant is somebody who wants to sign up, as CheckSignUp of a [Config] sees them.
type Applicant struct {
	// Handle and Email, both in lower case, are valid here, and were free a moment ago.
	Handle syntax.Handle
	Email  string
	// DID is the DID of an account that moves here; the applicant has proved that it is theirs. It is
	// empty for a new account.
	DID syntax.DID
	// Ticket is what the applicant brought for the [Gate], such as an invite code. It can be used, and
	// is spelt as it was issued. It is empty if there is none.
	Ticket string
	// VerificationCode and VerificationPhone are what the client sent, such as the answer to a
	// captcha. Nothing has checked them (source: com.atproto.server.createAccount).
	VerificationCode  string
	VerificationPhone string
}

// SignUpMode returns who may sign up.
func (s *Service) SignUpMode() SignUpMode { return s.cfg.SignUp }

// PasswordRequired reports whether sign-up needs a password.
func (s *Service) PasswordRequired() bool { return !s.cfg.NoPasswords }

// checkMode refuses a sign-up that the mode doesn't allow, by its parameters alone: nothing is
// looked up.
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
	return checkOwner(p) // at once, so that nobody else learns which handles and addresses are free
}

// checkOwner refuses a DID that the applicant hasn't proved to be theirs.
func checkOwner(p CreateParams) error {
	if p.DID != "" && p.DID != p.ProvenDID {
		return refusal.Newf(ErrMissingAuth, "Missing auth to create account with did: %s", p.DID)
	}
	return nil
}

// ticket returns the ticket of an applicant as it was issued. It may be missing if none is required,
// or if an admin admits the applicant.
func (s *Service) ticket(p CreateParams) (string, error) {
	if s.cfg.Gate == nil || p.Admit && typed.Name(p.Ticket) == "" {
		return "", nil
	}
	return s.cfg.Gate.Ticket(p.Ticket)
}

var errRehearsed = errors.New("accounts: rehearsed")

// ask calls Config.CheckSignUp. That may use up a captcha or take a payment, so it is called last,
// after a rehearsal of the first transaction has shown that nothing else is wrong.
func (s *Service) ask(ctx context.Context, r *record, p CreateParams) error {
	if s.cfg.CheckSignUp == nil || p.Admit {
		return nil
	}
	err := s.store.Update(ctx, func(tx storage.Tx) error {
		if err := s.reserve(ctx, tx, r, p); err != nil {
			return err
		}
		return errRehearsed // so that nothing is written
	})
	if !errors.Is(err, errRehearsed) {
		return err
	}
	err = s.cfg.CheckSignUp(ctx, Applicant{
		Handle: r.Handle, Email: r.Email, DID: p.DID, Ticket: p.Ticket,
		VerificationCode: p.VerificationCode, VerificationPhone: p.VerificationPhone,
	})
	if err != nil {
		return s.told(ctx, err) // a refusal by the gate tells that the address is free
	}
	return nil
}
