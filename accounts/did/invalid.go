package did

import (
	"errors"
	"fmt"
)

// InvalidError says what is wrong with an operation, so that whoever made it can correct it. From
// [Operation.Validate] and from a [Directory] it is also an [ErrRefused].
type InvalidError struct {
	// Reason names the field and says what it must be, as in "rotationKeys/0 must be a did:key".
	// It may be shown to anyone.
	Reason string

	kind error
}

// Error implements error.
func (e *InvalidError) Error() string { return e.kind.Error() + ": " + e.Reason }

// Unwrap returns [ErrRefused], unless the error is that JSON couldn't be read as an operation.
func (e *InvalidError) Unwrap() error { return e.kind }

// ForClients returns the message for clients: the words that the reference server uses, and the
// reason.
func (e *InvalidError) ForClients() string { return "Invalid operation: " + e.Reason }

// errNotOperation is the kind of JSON that can't be read as an operation. It isn't an ErrRefused: a
// log that can't be read refuses nothing.
var errNotOperation = errors.New("did: not an operation")

// invalid refuses an operation with a reason.
func invalid(format string, args ...any) error {
	return &InvalidError{fmt.Sprintf(format, args...), ErrRefused}
}

// unreadable refuses JSON that isn't of the form of an operation.
func unreadable(format string, args ...any) error {
	return &InvalidError{fmt.Sprintf(format, args...), errNotOperation}
}
