package did

import (
	"errors"
	"fmt"
)

// InvalidError is returned when an operation can't be accepted, and says what is wrong with it, so
// that its author can correct it. From [Operation.Validate] and from a [Directory] it is also an
// [ErrRefused]. Clients are answered 400 InvalidRequest with [InvalidError.ForClients] if the
// operation is theirs.
type InvalidError struct {
	// Reason names the field and says what it must be, as in "rotationKeys/0 must be a did:key". It
	// may be shown to anyone.
	Reason string

	kind error
}

// Error implements error.
func (e *InvalidError) Error() string { return e.kind.Error() + ": " + e.Reason }

// Unwrap returns [ErrRefused], unless the error is that some JSON isn't an operation.
func (e *InvalidError) Unwrap() error { return e.kind }

// ForClients returns the message for clients: the reason after the words of the reference server.
func (e *InvalidError) ForClients() string { return "Invalid operation: " + e.Reason }

// errNotOperation is the kind of error for JSON that isn't an operation. It isn't an [ErrRefused],
// since a log that can't be parsed is not a refusal of anything.
var errNotOperation = errors.New("did: not an operation")

// invalid refuses an operation with a reason.
func invalid(format string, args ...any) error {
	return &InvalidError{fmt.Sprintf(format, args...), ErrRefused}
}

// unreadable refuses JSON that isn't of the form of an operation.
func unreadable(format string, args ...any) error {
	return &InvalidError{fmt.Sprintf(format, args...), errNotOperation}
}
