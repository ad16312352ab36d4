package signin

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// The errors of this package. Test for them with [errors.Is]. A wrong secret or an unknown
// identifier is an [accounts.ErrBadCredentials], an account that is taken down a
// [sessions.ErrAccountTakedown], and too many guesses are a [ratelimit.ErrLimited].
var (
	// ErrFactorRequired is returned when an attempt has proved who somebody is, and the account asks
	// for a second factor. The error is a [*FactorRequiredError]. Clients are answered 401
	// AuthFactorTokenRequired.
	ErrFactorRequired = errors.New("signin: second factor required")
	// ErrUsed is returned when a [Pass] has been used already. It is a mistake of the program:
	// clients are answered 500 InternalServerError.
	ErrUsed = errors.New("signin: the pass was used before")
)

// FactorRequiredError says what is still missing of an attempt. It is an [ErrFactorRequired].
type FactorRequiredError struct {
	// Factors are the names of the factors that the account has. A code of any of them will do. The
	// first of them has been asked for: see [Factor].
	Factors []string
	message string
}

// Error returns what is missing, for logs.
func (e *FactorRequiredError) Error() string {
	return fmt.Sprintf("%v: %s", ErrFactorRequired, strings.Join(e.Factors, " or "))
}

// PublicMessage returns the text for the client.
func (e *FactorRequiredError) PublicMessage() string { return e.message }

// Is makes errors.Is(err, ErrFactorRequired) true.
func (e *FactorRequiredError) Is(target error) bool { return target == ErrFactorRequired }

var (
	errBadCredentials   = refusal.New(accounts.ErrBadCredentials, "Invalid identifier or password")
	errBadDIDOrPassword = refusal.New(accounts.ErrBadCredentials, "Invalid did or password")
	errTakedown         = refusal.New(sessions.ErrAccountTakedown, "Account has been taken down")
	errTakenDown        = refusal.New(accounts.ErrTakenDown, "Account has been taken down") // when the owner tries what only an admin may do
)

// hideAccount doesn't tell whether it is the account that doesn't exist or the secret that is
// wrong.
func hideAccount(err error) error {
	if errors.Is(err, accounts.ErrNotFound) {
		return errBadCredentials
	}
	return err
}

// hideAppPassword is hideAccount for an app password that doesn't exist.
func hideAppPassword(err error) error {
	if errors.Is(err, apppasswords.ErrNotFound) {
		return errBadCredentials
	}
	return err
}
