package accounts

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// PasswordPolicy decides whether an account may have a new password, which is neither too short nor
// too long. It is called at sign-up, at a password reset, and when an admin sets a password, but
// not at login. It returns nil if the account may have the password, and otherwise an
// [ErrInvalidPassword] made by [Refuse], so that clients are answered 400 InvalidPassword with its
// text. Other errors are answered as those of an [EmailPolicy] are.
//
// It is called outside transactions, may use the network, and must return when ctx ends. It is
// called concurrently. It must not log the password; if its error, or the value with which it
// panics, contains the password, the text isn't logged.
type PasswordPolicy func(ctx context.Context, password string, owner PasswordOwner) error

// PasswordOwner is the account that a new password is for.
type PasswordOwner struct {
	// Handle and Email are in lower case. An account that exists may have no address.
	Handle syntax.Handle
	Email  string
	// DID is empty for a new account, except for one that brings its DID along.
	DID syntax.DID
}

// EmailPolicy decides whether accounts may have an e-mail address, which [NormalizeEmail] has
// normalized. It is called at sign-up, whenever an account gets another address, also by an admin,
// and by com.atproto.temp.checkHandleAvailability. It returns nil if accounts may have the address,
// and otherwise an [ErrInvalidEmail] made by [Refuse], so that clients are answered 400
// InvalidRequest with its text.
//
// Any other error with a method PublicMessage() string is answered 400 with that text. An error
// without one means that the policy failed: it is logged, and clients are answered 500 without
// detail (or 503 if it is the error of a context that has ended). In any case nothing is changed.
//
// It is called outside transactions, may use the network, and must return when ctx ends. It is
// called concurrently.
type EmailPolicy func(ctx context.Context, address string) error

// Refuse returns the error with which a policy or a hook refuses something. It matches kind with
// [errors.Is]; kind also determines the status and the error name that clients are answered. It is
// an error of this package or of package handle, such as [ErrInvalidPassword], [ErrInvalidEmail],
// [handle.ErrInvalid] or [handle.ErrNotAvailable]. The text is the whole message that clients are
// shown.
func Refuse(kind error, text string) error { return refusal.New(kind, text) }

// askPasswordPolicy calls the PasswordPolicy of the [Config], if there is one.
// A panic of the policy becomes an error, since its value may contain the password.
func (s *Service) askPasswordPolicy(ctx context.Context, password string, owner PasswordOwner) (err error) {
	if s.cfg.PasswordPolicy == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("accounts: the password policy panicked: %v\n%s", p, debug.Stack())
		}
		err = refusal.HideSecret(err, "accounts: the password policy", password)
	}()
	return s.cfg.PasswordPolicy(ctx, password, owner)
}

// askPasswordPolicyFor is askPasswordPolicy for an account that exists.
func (s *Service) askPasswordPolicyFor(ctx context.Context, password string, id syntax.DID) error {
	if s.cfg.PasswordPolicy == nil {
		return nil
	}
	a, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	return s.askPasswordPolicy(ctx, password, PasswordOwner{Handle: a.Handle, Email: a.Email, DID: a.DID})
}
