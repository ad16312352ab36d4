package did

import (
	"context"
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Errors of directories. Test for them with [errors.Is].
var (
	// ErrNotFound says that the directory doesn't know the DID.
	ErrNotFound = errors.New("did: not registered")
	// ErrTombstoned says that the DID was given up for good.
	ErrTombstoned = errors.New("did: tombstoned")
	// ErrRefused says that an operation was looked at and will never be taken.
	ErrRefused = errors.New("did: operation refused")
	// ErrNotController says that the server can't make an operation, since its rotation key is not
	// among those of the DID: only the owner can change the DID.
	ErrNotController = errors.New("did: the server's rotation key is not among those of the DID")
	// ErrUnavailable says that the directory could not be reached, or gave no
	// sense. Whether an operation arrived is unknown.
	ErrUnavailable = errors.New("did: directory unavailable")
)

// Directory keeps the logs of did:plc. Its methods are safe for concurrent use.
type Directory interface {
	// Submit adds an operation to the log of a DID. An operation that is there
	// already is no error. An [ErrRefused] is also an [InvalidError] if it is known what is wrong
	// with the operation. Errors: [ErrRefused], [ErrUnavailable].
	Submit(ctx context.Context, id syntax.DID, op *Operation) error
	// Log returns the operations that are in force, oldest first.
	// Errors: [ErrNotFound], [ErrUnavailable].
	Log(ctx context.Context, id syntax.DID) ([]*Operation, error)
}

// Last returns the last operation in the log of a DID.
// Errors: [ErrNotFound], [ErrTombstoned], [ErrUnavailable].
func Last(ctx context.Context, dir Directory, id syntax.DID) (*Operation, error) {
	log, err := dir.Log(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(log) == 0 {
		return nil, fmt.Errorf("%w: the log of %s is empty", ErrUnavailable, id)
	}
	last := log[len(log)-1]
	if last.Type == TypeTombstone {
		return nil, ErrTombstoned
	}
	return last, nil
}

// contains reports whether an operation is in a log.
func contains(log []*Operation, op *Operation) bool {
	want, err := op.CID()
	if err != nil {
		return false
	}
	for _, o := range log {
		if have, err := o.CID(); err == nil && have == want {
			return true
		}
	}
	return false
}
