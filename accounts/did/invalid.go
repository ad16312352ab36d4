package did

import (
	"errors"
	"fmt"
)

// InvalidError says what is wrong with an operation, so that whoever made it can mend it. Where it
// comes from [Operation.Validate] or a directory it is an [ErrRefused] as well.
type InvalidError struct {
	// Reason names the field and says what it must be, as in "rotationKeys/0 must be a did:key".
	// It may be shown to anyone.
	Reason string

	kind error
}

// Error implements error.
func (e *InvalidError) Error() string { return e.kind.Error() + ": " + e.Reason }

// Unwrap returns [ErrRefused], unless what was read is no operation at all.
func (e *InvalidError) Unwrap() error { return e.kind }

// ForClients is the reason in the words by which clients know it.
func (e *InvalidError) ForClients() string { return "Invalid operation: " + e.Reason }

// errNotOperation is the kind of what can't be read. It isn't an ErrRefused: a log that can't be
// read refuses nothing.
var errNotOperation = errors.New("did: not an operation")

// invalid refuses an operation for what is wrong with it.
func invalid(format string, args ...any) error {
	return &InvalidError{fmt.Sprintf(format, args...), ErrRefused}
}

// unreadable refuses what isn't in the form of an operation.
func unreadable(format string, args ...any) error {
	return &InvalidError{fmt.Sprintf(format, args...), errNotOperation}
}
