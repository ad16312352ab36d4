package did

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/hostname"
)

// Registrar makes the DIDs of new accounts and keeps those up to date that the
// server controls. Its methods are safe for concurrent use.
type Registrar interface {
	// Mint makes a DID. Nothing happens outside.
	Mint(ctx context.Context, p MintParams) (Minted, error)
	// Submit publishes an operation; doing it again changes nothing. A new operation that changes
	// nothing of the last one is refused. Errors: [ErrRefused], [ErrUnavailable].
	Submit(ctx context.Context, id syntax.DID, op *Operation) error
	// Exists reports whether a DID is published. Error: [ErrUnavailable].
	Exists(ctx context.Context, id syntax.DID) (bool, error)
	// Change brings a DID to a new state; if it is in that already, nothing happens. Errors:
	// [ErrNotFound], [ErrTombstoned], [ErrNotController], [ErrRefused], [ErrUnavailable].
	Change(ctx context.Context, id syntax.DID, change func(*Operation)) error
	// Tombstone gives a did:plc up for good. Errors as of Change.
	Tombstone(ctx context.Context, id syntax.DID) error
	// Sign makes the operation that follows the last one of a did:plc and signs it, without
	// submitting it. An operation that changes nothing is an [ErrRefused]. Errors as of Change.
	Sign(ctx context.Context, id syntax.DID, change func(*Operation)) (*Operation, error)
	// Data returns what a did:plc stands for now. Errors: [ErrNotFound], [ErrTombstoned],
	// [ErrUnavailable].
	Data(ctx context.Context, id syntax.DID) (*Data, error)
	// RotationKey is the server's rotation key, as a did:key.
	RotationKey() string
	// RecoveryDIDKey is the operator's own rotation key, or empty.
	RecoveryDIDKey() string
}

// Namer is a [Registrar] whose new DIDs follow from handles, so that a handle is only free if its
// DID is: an account keeps its DID when it changes its handle.
type Namer interface {
	// Name returns the DID of a new account with a handle.
	Name(handle syntax.Handle) (syntax.DID, error)
}

// MintParams are what a DID is made of.
type MintParams struct {
	Handle syntax.Handle
	// SigningKey is the account's key, as a did:key.
	SigningKey string
	// RecoveryKey is the account owner's own rotation key, as a did:key. Optional.
	RecoveryKey string
}

// Minted is a new DID.
type Minted struct {
	DID syntax.DID
	// Operation has to be submitted for the DID to exist. It is nil if nothing has to.
	Operation *Operation
}

// CheckRecoveryKey refuses what is not a did:key of a supported kind; an empty
// key is none, and fine.
func CheckRecoveryKey(key string) error {
	if key == "" {
		return nil
	}
	if _, err := atcrypto.ParsePublicDIDKey(key); err != nil {
		return fmt.Errorf("did: recovery key: %w", err)
	}
	return nil
}

// PLC is a [Registrar] for did:plc.
type PLC struct {
	// Directory keeps the operations.
	Directory Directory
	// Signer has the server's rotation key, and signs its operations.
	Signer Signer
	// RecoveryKey is the operator's own rotation key, as a did:key, which
	// outranks the server's. Optional.
	RecoveryKey string
	// Endpoint is the URL of the server.
	Endpoint string
}

// Mint implements [Registrar]: it makes and signs a genesis operation.
func (p *PLC) Mint(ctx context.Context, m MintParams) (Minted, error) {
	op := &Operation{
		Type:                TypeOperation,
		VerificationMethods: map[string]string{AtprotoKey: m.SigningKey},
		AlsoKnownAs:         []string{"at://" + m.Handle.String()},
		Services:            map[string]Service{AtprotoPDS: {Type: AtprotoPDSType, Endpoint: p.Endpoint}},
	}
	for _, key := range []string{m.RecoveryKey, p.RecoveryKey, p.RotationKey()} {
		if key != "" && !slices.Contains(op.RotationKeys, key) {
			op.RotationKeys = append(op.RotationKeys, key)
		}
	}
	if err := op.Sign(p.Signer); err != nil {
		return Minted{}, err
	}
	if err := op.Validate(); err != nil {
		return Minted{}, err
	}
	id, err := op.DID()
	return Minted{DID: id, Operation: op}, err
}

// Submit implements [Registrar].
func (p *PLC) Submit(ctx context.Context, id syntax.DID, op *Operation) error {
	if op.Prev != "" { // a genesis operation repeats nothing
		if last, err := Last(ctx, p.Directory, id); err == nil && op.repeats(last) {
			return errNoChange
		}
	}
	return p.Directory.Submit(ctx, id, op)
}

var errNoChange = invalid("it must change the DID")

// Exists implements [Registrar].
func (p *PLC) Exists(ctx context.Context, id syntax.DID) (bool, error) {
	switch _, err := Last(ctx, p.Directory, id); {
	case err == nil, errors.Is(err, ErrTombstoned):
		return true, nil
	case errors.Is(err, ErrNotFound):
		return false, nil
	default:
		return false, err
	}
}

// Change implements [Registrar].
func (p *PLC) Change(ctx context.Context, id syntax.DID, change func(*Operation)) error {
	if id.Method() != "plc" {
		return nil
	}
	for try := 1; ; try++ {
		op, changed, err := p.next(ctx, id, change)
		if err != nil || !changed {
			return err
		}
		err = p.Directory.Submit(ctx, id, op)
		switch {
		case errors.Is(err, ErrUnavailable) && p.arrived(ctx, id, op):
			return nil
		case try == maxRivals || !errors.Is(err, ErrRefused) || !p.overtaken(ctx, id, op):
			return err
		}
	}
}

// arrived reports whether an operation is the last one, for when the directory's answer got lost.
func (p *PLC) arrived(ctx context.Context, id syntax.DID, op *Operation) bool {
	last, err := Last(ctx, p.Directory, id)
	return err == nil && contains([]*Operation{last}, op)
}

// maxRivals is how often a change that another overtook is made.
const maxRivals = 5

// overtaken reports whether another operation came before one that was refused.
func (p *PLC) overtaken(ctx context.Context, id syntax.DID, op *Operation) bool {
	last, err := Last(ctx, p.Directory, id)
	if err != nil {
		return false
	}
	c, err := last.CID()
	return err == nil && c != op.Prev
}

// Sign implements [Registrar].
func (p *PLC) Sign(ctx context.Context, id syntax.DID, change func(*Operation)) (*Operation, error) {
	op, changed, err := p.next(ctx, id, change)
	switch {
	case err != nil:
		return nil, err
	case !changed:
		return nil, errNoChange
	}
	return op, op.Validate()
}

// next makes the operation that follows the last one, and reports whether it changes anything. If
// it does, it is signed, which takes one of the last operation's rotation keys.
func (p *PLC) next(ctx context.Context, id syntax.DID, change func(*Operation)) (op *Operation, changed bool, err error) {
	last, err := Last(ctx, p.Directory, id)
	if err != nil {
		return nil, false, err
	}
	if op, err = last.Next(); err != nil {
		return nil, false, err
	}
	before, err := op.unsigned()
	if err != nil {
		return nil, false, err
	}
	keys := slices.Clone(op.RotationKeys)
	change(op)
	after, err := op.unsigned()
	if err != nil || bytes.Equal(before, after) {
		return op, false, err
	}
	key, err := p.Signer.PublicKey()
	if err != nil {
		return nil, false, fmt.Errorf("did: the server's rotation key: %w", err)
	}
	if !slices.Contains(keys, key.DIDKey()) {
		return nil, false, ErrNotController
	}
	return op, true, op.Sign(p.Signer)
}

// Tombstone implements [Registrar].
func (p *PLC) Tombstone(ctx context.Context, id syntax.DID) error {
	return p.Change(ctx, id, func(op *Operation) { *op = Operation{Type: TypeTombstone, Prev: op.Prev} })
}

// Data implements [Registrar].
func (p *PLC) Data(ctx context.Context, id syntax.DID) (*Data, error) {
	last, err := Last(ctx, p.Directory, id)
	if err != nil {
		return nil, err
	}
	return last.Data(id), nil
}

// RotationKey implements [Registrar].
func (p *PLC) RotationKey() string {
	public, err := p.Signer.PublicKey()
	if err != nil {
		return ""
	}
	return public.DIDKey()
}

// RecoveryDIDKey implements [Registrar].
func (p *PLC) RecoveryDIDKey() string { return p.RecoveryKey }

// Web is a [Registrar] whose new accounts get a did:web: the DID is the account's handle, a
// subdomain of the server's, and the server answers for its document. It still takes care of
// accounts that bring a did:plc.
type Web struct{ PLC }

// Mint implements [Registrar].
func (w *Web) Mint(ctx context.Context, m MintParams) (Minted, error) {
	id, err := w.Name(m.Handle)
	return Minted{DID: id}, err
}

// Name implements [Namer].
func (*Web) Name(handle syntax.Handle) (syntax.DID, error) { return WebDID(handle.String()) }

// WebDID returns the did:web of a host name, which may have a port. It is the same however the name
// is written: in any case, with a trailing dot, with the default port of HTTP or HTTPS, or as an
// internationalised name outside ASCII (source: the did:web method specification).
func WebDID(host string) (syntax.DID, error) {
	normal, err := hostname.Normal(host)
	if err != nil {
		return "", fmt.Errorf("did: %w", err)
	}
	id, err := syntax.ParseDID("did:web:" + strings.ReplaceAll(normal, ":", "%3A"))
	if err != nil {
		return "", fmt.Errorf("did: %q is not a host name: %w", host, err)
	}
	return id, nil
}

// AtprotoData is the state of an account's DID with one handle, one key and one server.
func AtprotoData(id syntax.DID, handle, signingKey, endpoint string) *Data {
	return &Data{
		DID:                 id,
		VerificationMethods: map[string]string{AtprotoKey: signingKey},
		AlsoKnownAs:         []string{"at://" + handle},
		Services:            map[string]Service{AtprotoPDS: {Type: AtprotoPDSType, Endpoint: endpoint}},
	}
}

// ParseRotationKey reads a K-256 private key in hexadecimal, the form in which the
// reference server has it.
func ParseRotationKey(hexadecimal string) (*atcrypto.PrivateKeyK256, error) {
	b, err := decodeHex(hexadecimal)
	if err != nil {
		return nil, err
	}
	key, err := atcrypto.ParsePrivateBytesK256(b)
	if err != nil {
		return nil, errors.New("did: the rotation key is not the hexadecimal of a K-256 private key")
	}
	return key, nil
}

func decodeHex(s string) ([]byte, error) {
	b, err := hex.DecodeString(strings.TrimSpace(s))
	if err != nil {
		return nil, errors.New("did: the rotation key is not hexadecimal")
	}
	return b, nil
}
