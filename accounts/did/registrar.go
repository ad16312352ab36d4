package did

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/hostname"
)

// Registrar mints the DIDs of new accounts and changes the DIDs that the server controls. Its
// methods are safe for concurrent use. It must not be copied or changed after its first use.
type Registrar struct {
	// Directory keeps the operations of each did:plc. Required.
	Directory Directory
	// Signer holds the server's rotation key, and signs the server's operations. Required.
	Signer Signer
	// RecoveryKey is the operator's own rotation key as a did:key, which ranks above the server's
	// in new DIDs. Optional.
	RecoveryKey string
	// PublicURL is the URL of this server, which new DIDs name as their PDS.
	PublicURL string
	// Web makes the DID of a new account a did:web with the account's handle as the host name,
	// which is a subdomain of the server's; the server serves its document. Default: did:plc.
	// Accounts that bring a did:plc from elsewhere are taken care of in either case.
	Web bool
	// Resolver is the resolver through which the documents of these DIDs are shown. It learns the
	// state of a DID that the registrar has changed, so that it doesn't have to ask the directory,
	// and doesn't return the state before the change. Optional.
	Resolver *Resolver

	signed signedOperations
}

// MintParams are what a new DID is made from.
type MintParams struct {
	Handle syntax.Handle
	// SigningKey is the account's signing key as a did:key.
	SigningKey string
	// RecoveryKey is the owner's own rotation key as a did:key, which ranks above all others.
	// Optional.
	RecoveryKey string
}

// Mint makes a DID and, for a did:plc, the signed genesis operation that has to be submitted for
// the DID to exist. The operation of a did:web is nil. Mint publishes nothing. It returns an error
// for a key or a handle that can't be part of a DID, and when the Signer fails.
func (r *Registrar) Mint(ctx context.Context, p MintParams) (syntax.DID, *Operation, error) {
	if r.Web {
		id, err := r.Name(p.Handle)
		return id, nil, err
	}
	op := &Operation{
		Type:                TypeOperation,
		VerificationMethods: map[string]string{AtprotoKey: p.SigningKey},
		AlsoKnownAs:         []string{"at://" + p.Handle.String()},
		Services:            map[string]Service{AtprotoPDS: {Type: AtprotoPDSType, Endpoint: r.PublicURL}},
	}
	for _, key := range []string{p.RecoveryKey, r.RecoveryKey, r.RotationKey()} {
		if key != "" && !slices.Contains(op.RotationKeys, key) {
			op.RotationKeys = append(op.RotationKeys, key)
		}
	}
	if err := op.Sign(r.Signer); err != nil {
		return "", nil, err
	}
	if err := op.Validate(); err != nil {
		return "", nil, err
	}
	id, err := op.DID()
	if err != nil {
		return "", nil, err
	}
	r.signed.add(op)
	return id, op, nil
}

// Name returns the DID that Mint makes for a handle if the handle alone determines it, as with Web,
// and an empty DID otherwise. Such a handle is free only if its DID is: an account keeps its DID
// when it changes its handle.
func (r *Registrar) Name(handle syntax.Handle) (syntax.DID, error) {
	if !r.Web {
		return "", nil
	}
	return hostname.WebDID(handle.String())
}

// Submit publishes an operation. Submitting an operation again changes nothing. A new operation
// that has the same contents as the last one is an [ErrRefused]. Errors: [ErrRefused],
// [ErrUnavailable].
func (r *Registrar) Submit(ctx context.Context, id syntax.DID, op *Operation) error {
	learned, err := r.checkAndSubmit(ctx, id, op)
	if !learned {
		r.Resolver.Forget(id) // even after an error, since the operation may have arrived
	}
	return err
}

func (r *Registrar) checkAndSubmit(ctx context.Context, id syntax.DID, op *Operation) (learned bool, err error) {
	genesis := op.Prev == ""
	// Mint and Sign have checked their own operations. Nobody else has seen that of Mint before it is
	// submitted; that of Sign may have been submitted elsewhere, with others after it.
	ours := r.signed.take(op)
	isNew := ours && genesis
	if !ours && !genesis { // a genesis operation has no predecessor to repeat
		if last, err := last(ctx, r.Directory, id); err == nil {
			if op.repeats(last) {
				return false, errNoChange
			}
			isNew = op.follows(last)
		}
	}
	return r.submit(ctx, id, op, isNew)
}

var errNoChange = invalid("it must change the DID")

// submit publishes an operation, and reports whether the resolver has learned the state of the DID
// after it. It does if the operation is known to be the last one: isNew says that it wasn't in the
// log before.
func (r *Registrar) submit(ctx context.Context, id syntax.DID, op *Operation, isNew bool) (learned bool, err error) {
	began := r.Resolver.begin(id)
	ctx, receipt := withReceipt(ctx)
	if err := r.Directory.Submit(ctx, id, op); err != nil {
		return false, err
	}
	isLast := receipt.added || receipt.accepted && isNew
	return isLast && r.Resolver.learn(began, op), nil
}

// Exists reports whether a DID is published. A tombstoned DID counts as published. Error:
// [ErrUnavailable].
func (r *Registrar) Exists(ctx context.Context, id syntax.DID) (bool, error) {
	switch _, err := last(ctx, r.Directory, id); {
	case err == nil, errors.Is(err, ErrTombstoned):
		return true, nil
	case errors.Is(err, ErrNotFound):
		return false, nil
	default:
		return false, err
	}
}

// Data returns the present state of a did:plc. Errors: [ErrNotFound], [ErrTombstoned],
// [ErrUnavailable].
func (r *Registrar) Data(ctx context.Context, id syntax.DID) (*Data, error) {
	op, err := last(ctx, r.Directory, id)
	if err != nil {
		return nil, err
	}
	return op.Data(id), nil
}

// Change submits the operation that follows the last one of a did:plc, as changed by the function.
// It does nothing if the function changes nothing, and for a did:web. If another operation was
// submitted first, it tries again with that one as the last, so the function may be called several
// times. Errors: [ErrNotFound], [ErrTombstoned], [ErrNotController], [ErrRefused],
// [ErrUnavailable].
func (r *Registrar) Change(ctx context.Context, id syntax.DID, change func(*Operation)) error {
	learned, err := r.change(ctx, id, change)
	if !learned {
		r.Resolver.Forget(id) // even after an error, since the operation may have arrived
	}
	return err
}

// maxTries is how often a change is tried when other operations are submitted first.
const maxTries = 5

func (r *Registrar) change(ctx context.Context, id syntax.DID, change func(*Operation)) (learned bool, err error) {
	if id.Method() != "plc" {
		return false, nil
	}
	before, err := last(ctx, r.Directory, id)
	if err != nil {
		return false, err
	}
	for try := 1; ; try++ {
		op, changed, err := r.next(before, change)
		if err != nil || !changed {
			return false, err
		}
		learned, err := r.submit(ctx, id, op, true)
		if err == nil {
			return learned && try == 1, nil // rivals of this operation may have followed it
		}
		lost := errors.Is(err, ErrUnavailable) // the answer, and perhaps the operation
		if !lost && (try == maxTries || !errors.Is(err, ErrRefused)) {
			return false, err
		}
		now, readErr := last(ctx, r.Directory, id)
		switch {
		case readErr != nil:
			return false, err
		case lost && contains([]*Operation{now}, op):
			return false, nil
		case lost || contains([]*Operation{now}, before): // no other operation was in the way
			return false, err
		}
		before = now
	}
}

// next makes the operation that follows another one, and reports whether it changes anything. If it
// does, the operation is signed, for which the server's key has to be one of the rotation keys.
func (r *Registrar) next(before *Operation, change func(*Operation)) (op *Operation, changed bool, err error) {
	if op, err = before.Next(); err != nil {
		return nil, false, err
	}
	same, err := op.unsigned()
	if err != nil {
		return nil, false, err
	}
	keys := slices.Clone(op.RotationKeys)
	change(op)
	after, err := op.unsigned()
	if err != nil || bytes.Equal(same, after) {
		return op, false, err
	}
	key, err := r.Signer.PublicKey()
	if err != nil {
		return nil, false, fmt.Errorf("did: the server's rotation key: %w", err)
	}
	if !slices.Contains(keys, key.DIDKey()) {
		return nil, false, ErrNotController
	}
	return op, true, op.Sign(r.Signer)
}

// Sign makes and signs the operation that follows the last one of a did:plc, as changed by the
// function, and doesn't submit it. An operation that changes nothing is an [ErrRefused]. The errors
// are those of Change.
func (r *Registrar) Sign(ctx context.Context, id syntax.DID, change func(*Operation)) (*Operation, error) {
	last, err := last(ctx, r.Directory, id)
	if err != nil {
		return nil, err
	}
	op, changed, err := r.next(last, change)
	switch {
	case err != nil:
		return nil, err
	case !changed:
		return nil, errNoChange
	}
	if err := op.Validate(); err != nil {
		return nil, err
	}
	r.signed.add(op)
	return op, nil
}

// Tombstone ends a did:plc with a last operation. Errors: [ErrNotFound], [ErrTombstoned],
// [ErrNotController], [ErrRefused], [ErrUnavailable].
func (r *Registrar) Tombstone(ctx context.Context, id syntax.DID) error {
	return r.Change(ctx, id, func(op *Operation) { *op = Operation{Type: TypeTombstone, Prev: op.Prev} })
}

// RotationKey returns the server's rotation key as a did:key, or an empty string if the Signer
// fails.
func (r *Registrar) RotationKey() string {
	public, err := r.Signer.PublicKey()
	if err != nil {
		return ""
	}
	return public.DIDKey()
}

// signedOperations remembers the CIDs of the latest operations that Mint and Sign made and that
// weren't submitted yet. The zero value is ready for use.
type signedOperations struct {
	mu   sync.Mutex
	cids [256]string
	next int // the place of the next one
}

func (s *signedOperations) add(op *Operation) {
	c, err := op.CID()
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cids[s.next] = c
	s.next = (s.next + 1) % len(s.cids)
}

// take forgets an operation, and reports whether it was remembered.
func (s *signedOperations) take(op *Operation) bool {
	c, err := op.CID()
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.cids[:], c)
	if i < 0 {
		return false
	}
	s.cids[i] = ""
	return true
}

// ParseRotationKey parses a K-256 private key in hexadecimal, which is how the reference server is
// configured with its rotation key. Its errors don't repeat the key.
func ParseRotationKey(hexadecimal string) (*atcrypto.PrivateKeyK256, error) {
	b, err := hex.DecodeString(strings.TrimSpace(hexadecimal))
	if err != nil {
		return nil, errors.New("did: the rotation key is not hexadecimal")
	}
	key, err := atcrypto.ParsePrivateBytesK256(b)
	if err != nil {
		return nil, errors.New("did: the rotation key is not the hexadecimal of a K-256 private key")
	}
	return key, nil
}
