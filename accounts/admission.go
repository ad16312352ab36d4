package accounts

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// SignUpMode says who may sign up. The empty mode is [SignUpOpen].
type SignUpMode string

// The modes of sign-up.
const (
	// SignUpOpen takes everybody.
	SignUpOpen SignUpMode = "open"
	// SignUpInvites takes those who have an invite code, also of those who move here.
	SignUpInvites SignUpMode = "invites"
	// SignUpMigrations takes accounts that move here from another server, and no new ones: whoever
	// signs up brings a DID, and proves that it is theirs.
	SignUpMigrations SignUpMode = "migrations"
	// SignUpClosed takes nobody.
	SignUpClosed SignUpMode = "closed"
)

// SignUpModes are all modes of sign-up.
func SignUpModes() []SignUpMode {
	return []SignUpMode{SignUpOpen, SignUpInvites, SignUpMigrations, SignUpClosed}
}

// ErrSignUpClosed says that the server takes no new accounts, or only those that move here.
var ErrSignUpClosed = errors.New("accounts: sign-up is closed")

var (
	errSignUpClosed = refusal.New(ErrSignUpClosed, "This server doesn't take new accounts")
	errOnlyMoving   = refusal.New(ErrSignUpClosed, "This server only takes accounts that move here from another server")
)

// Applicant is somebody who wants to sign up, as CheckSignUp of a [Config] gets to see them.
type Applicant struct {
	// Handle and Email (in lower case) are fit for use here, and were free a moment ago.
	Handle syntax.Handle
	Email  string
	// DID is the DID that an account brings with it when it moves here, proved. It is empty for a
	// new account.
	DID syntax.DID
	// InviteCode can be used, or is empty. It is spelt as it was made.
	InviteCode string
	// VerificationCode and VerificationPhone are what the client sent, which nobody has looked at:
	// the answer of a captcha, for example (source: com.atproto.server.createAccount).
	VerificationCode  string
	VerificationPhone string
}

// SignUpMode returns who may sign up.
func (s *Service) SignUpMode() SignUpMode { return s.cfg.SignUp }

// InviteRequired reports whether sign-up needs an invite code.
func (s *Service) InviteRequired() bool { return s.cfg.SignUp == SignUpInvites }

// checkMode refuses whom the mode of sign-up keeps out, knowing nothing but what they say.
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

// checkOwner refuses who brings a DID without having proved that it is theirs.
func checkOwner(p CreateParams) error {
	if p.DID != "" && p.DID != p.ProvenDID {
		return refusal.Newf(ErrMissingAuth, "Missing auth to create account with did: %s", p.DID)
	}
	return nil
}

// checkInvite refuses an invite code that can't be used.
func (s *Service) checkInvite(tx storage.Tx, p CreateParams) error {
	switch {
	case p.InviteCode == "": // checkParams has refused it where one is needed
		return nil
	case s.gate != nil:
		return s.gate.Check(tx, p.InviteCode)
	case s.InviteRequired() && !p.Admit: // nobody here knows any code
		return refusal.New(ErrInviteRequired, "Provided invite code not available")
	}
	return nil
}

var errRehearsed = errors.New("accounts: rehearsed")

// ask lets Config.CheckSignUp decide. It may have a captcha used up, or a payment made, so it is
// asked last: what the first transaction would refuse is refused before.
func (s *Service) ask(ctx context.Context, r *record, p CreateParams) error {
	if s.cfg.CheckSignUp == nil || p.Admit {
		return nil
	}
	err := s.store.Update(ctx, func(tx storage.Tx) error {
		if err := s.reserve(tx, r, p); err != nil {
			return err
		}
		return errRehearsed // nothing of it is written
	})
	if !errors.Is(err, errRehearsed) {
		return err
	}
	err = s.cfg.CheckSignUp(ctx, Applicant{
		Handle: r.Handle, Email: r.Email, DID: p.DID, InviteCode: p.InviteCode,
		VerificationCode: p.VerificationCode, VerificationPhone: p.VerificationPhone,
	})
	if err != nil {
		return s.told(ctx, err) // that the address is free
	}
	return nil
}
