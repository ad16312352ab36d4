package did

import (
	"context"
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Errors of directories, registrars and resolvers. Test for them with [errors.Is].
var (
	// ErrNotFound is returned when the directory, or the host of a did:web, doesn't know the DID.
	// Clients are answered 400 DidNotFound by the methods that resolve identities, such as
	// com.atproto.identity.resolveDid, and 400 InvalidRequest by others.
	ErrNotFound = errors.New("did: not registered")
	// ErrTombstoned is returned when the last operation of the DID is a tombstone, which ends the
	// DID. Clients are answered 400 DidDeactivated by the methods that resolve identities, such as
	// com.atproto.identity.resolveDid, and 400 InvalidRequest by others.
	ErrTombstoned = errors.New("did: tombstoned")
	// ErrRefused is returned when the directory refused an operation and won't accept it later
	// either. Clients who made the operation themselves (com.atproto.identity.signPlcOperation and
	// submitPlcOperation) are answered 400 InvalidRequest with the reason, others 502
	// UpstreamFailure.
	ErrRefused = errors.New("did: operation refused")
	// ErrNotController is returned when the server can't sign an operation, since its rotation key
	// is not among those of the DID: only the owner can change the DID. Clients are answered 400
	// InvalidRequest.
	ErrNotController = errors.New("did: the server's rotation key is not among those of the DID")
	// ErrUnavailable is returned when the directory or the host of a did:web could not be reached,
	// or gave an answer that makes no sense. Whether a submitted operation arrived is then unknown.
	// Clients are answered 502 UpstreamFailure.
	ErrUnavailable = errors.New("did: directory unavailable")
)

// Directory keeps the logs of did:plc operations. Its methods are safe for concurrent use. A
// Directory that wraps another one passes the context on: by it [Client] and [Local] tell the
// [Registrar] what they know about whether an operation is the last one.
type Directory interface {
	// Submit adds an operation to the log of a DID. Submitting an operation that is in the log
	// already is not an error. If the reason for a refusal is known, the [ErrRefused] is also an
	// [InvalidError]. Errors: [ErrRefused], [ErrUnavailable].
	Submit(ctx context.Context, id syntax.DID, op *Operation) error
	// Log returns the operations of a DID that are in force, oldest first. Errors: [ErrNotFound],
	// [ErrUnavailable].
	Log(ctx context.Context, id syntax.DID) ([]*Operation, error)
}

// last returns the last operation in the log of a DID. Errors: [ErrNotFound], [ErrTombstoned],
// [ErrUnavailable].
func last(ctx context.Context, dir Directory, id syntax.DID) (*Operation, error) {
	log, err := dir.Log(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(log) == 0 {
		return nil, fmt.Errorf("%w: the log of %s is empty", ErrUnavailable, id)
	}
	op := log[len(log)-1]
	if op.Type == TypeTombstone {
		return nil, ErrTombstoned
	}
	return op, nil
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

// receipt says what is known of a successful Submit. If the operation was added, it wasn't in the
// log before, so that it is the last one. If it was only accepted, it is the last one unless it was
// in the log before, since a directory may answer an old operation like a new one.
type receipt struct{ added, accepted bool }

type receiptKey struct{}

// withReceipt returns a context for one Submit, and the receipt that the directory fills in.
func withReceipt(ctx context.Context) (context.Context, *receipt) {
	r := new(receipt)
	return context.WithValue(ctx, receiptKey{}, r), r
}

// receiptOf returns the receipt of a context. If it has none, nobody reads what is returned.
func receiptOf(ctx context.Context) *receipt {
	if r, ok := ctx.Value(receiptKey{}).(*receipt); ok {
		return r
	}
	return new(receipt)
}
