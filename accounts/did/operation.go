package did

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// The types of operations (source: the did:plc specification, 0.1).
const (
	TypeOperation = "plc_operation"
	TypeTombstone = "plc_tombstone"
)

// typeCreate is the type of the first form of genesis operations. It is found in old logs, and no
// directory accepts new ones.
const typeCreate = "create"

// Operation is one operation in the log of a did:plc (source: the did:plc specification, 0.1).
type Operation struct {
	// Type is [TypeOperation] or [TypeTombstone].
	Type string
	// RotationKeys are the keys that may sign the next operation, as did:keys in order of rank.
	RotationKeys []string
	// VerificationMethods are the keys in the DID document by name, as did:keys.
	VerificationMethods map[string]string
	// AlsoKnownAs are the names of the DID; a handle has the form at://HANDLE.
	AlsoKnownAs []string
	// Services are the services in the DID document by name.
	Services map[string]Service
	// Prev is the CID of the operation before this one. It is empty in a genesis operation.
	Prev string
	// Sig is the signature in base64url without padding.
	Sig string

	legacy legacyCreate // the contents of a typeCreate
}

// legacyCreate has the contents of the first form of genesis operations.
type legacyCreate struct {
	SigningKey, RecoveryKey, Handle, Service string
}

// Signer signs operations with a rotation key. An [atcrypto.PrivateKey] is a Signer, and a key
// management service may be another.
type Signer interface {
	// PublicKey returns the public key.
	PublicKey() (atcrypto.PublicKey, error)
	// HashAndSign returns the low-S ECDSA signature of the content's SHA-256.
	HashAndSign(content []byte) ([]byte, error)
}

// fields returns the operation as the map that is encoded, signed and hashed.
func (o *Operation) fields() map[string]any {
	m := map[string]any{"type": o.Type, "prev": nil}
	if o.Prev != "" {
		m["prev"] = o.Prev
	}
	if o.Sig != "" {
		m["sig"] = o.Sig
	}
	switch o.Type {
	case TypeTombstone:
	case typeCreate:
		m["signingKey"], m["recoveryKey"] = o.legacy.SigningKey, o.legacy.RecoveryKey
		m["handle"], m["service"] = o.legacy.Handle, o.legacy.Service
	default:
		methods, services := map[string]any{}, map[string]any{}
		for name, key := range o.VerificationMethods {
			methods[name] = key
		}
		for name, s := range o.Services {
			services[name] = map[string]any{"type": s.Type, "endpoint": s.Endpoint}
		}
		m["verificationMethods"], m["services"] = methods, services
		m["rotationKeys"], m["alsoKnownAs"] = anys(o.RotationKeys), anys(o.AlsoKnownAs)
	}
	return m
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

// bytes returns the DAG-CBOR of the operation.
func (o *Operation) bytes() ([]byte, error) {
	b, err := atdata.MarshalCBOR(o.fields())
	if err != nil {
		return nil, fmt.Errorf("did: encoding an operation: %w", err)
	}
	return b, nil
}

// unsigned returns the DAG-CBOR of the operation without its signature.
func (o *Operation) unsigned() ([]byte, error) {
	c := *o
	c.Sig = ""
	return c.bytes()
}

// CID returns the identifier by which the next operation refers to this one.
func (o *Operation) CID() (string, error) {
	b, err := o.bytes()
	if err != nil {
		return "", err
	}
	c, err := cid.NewPrefixV1(cid.DagCBOR, multihash.SHA2_256).Sum(b)
	if err != nil {
		return "", fmt.Errorf("did: %w", err)
	}
	return c.String(), nil
}

const (
	plcAlphabet = "abcdefghijklmnopqrstuvwxyz234567"
	plcLength   = 24
)

var base32Lower = base32.NewEncoding(plcAlphabet).WithPadding(base32.NoPadding)

// isPLC reports whether a DID is a well-formed did:plc, so that it can be a part of a URL or a key.
func isPLC(id syntax.DID) bool {
	hash, ok := strings.CutPrefix(id.String(), "did:plc:")
	return ok && len(hash) == plcLength && strings.Trim(hash, plcAlphabet) == ""
}

// DID returns the DID that a signed genesis operation creates.
func (o *Operation) DID() (syntax.DID, error) {
	b, err := o.bytes()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return syntax.DID("did:plc:" + base32Lower.EncodeToString(sum[:])[:plcLength]), nil
}

// Sign signs the operation and sets Sig.
func (o *Operation) Sign(key Signer) error {
	b, err := o.unsigned()
	if err != nil {
		return err
	}
	sig, err := key.HashAndSign(b)
	if err != nil {
		return fmt.Errorf("did: signing an operation: %w", err)
	}
	o.Sig = base64.RawURLEncoding.EncodeToString(sig)
	return nil
}

// verify returns the first of the given keys that verifies the signature.
func (o *Operation) verify(keys []string) (string, error) {
	sig, err := base64.RawURLEncoding.Strict().DecodeString(o.Sig)
	// The decoder skips line breaks, with which one signed operation would have several forms and
	// so several CIDs.
	if err != nil || strings.ContainsAny(o.Sig, "\r\n") {
		return "", errors.New("sig must be a signature in base64url without padding")
	}
	b, err := o.unsigned()
	if err != nil {
		return "", err
	}
	for _, k := range keys {
		public, err := atcrypto.ParsePublicDIDKey(k)
		if err == nil && public.HashAndVerify(b, sig) == nil {
			return k, nil
		}
	}
	return "", errors.New("sig must be a signature by one of the rotation keys")
}

// Next returns a new, unsigned operation that follows this one and has the same contents.
func (o *Operation) Next() (*Operation, error) {
	prev, err := o.CID()
	if err != nil {
		return nil, err
	}
	n := o.normal()
	return &Operation{
		Type: TypeOperation, Prev: prev,
		RotationKeys: slices.Clone(n.RotationKeys), VerificationMethods: maps.Clone(n.VerificationMethods),
		AlsoKnownAs: slices.Clone(n.AlsoKnownAs), Services: maps.Clone(n.Services),
	}, nil
}

// repeats reports whether the operation follows the given one and has the same contents.
func (o *Operation) repeats(last *Operation) bool {
	same, err := last.Next()
	if err != nil {
		return false
	}
	a, err1 := o.unsigned()
	b, err2 := same.unsigned()
	return err1 == nil && err2 == nil && bytes.Equal(a, b)
}

// follows reports whether the operation names the given one as its predecessor.
func (o *Operation) follows(last *Operation) bool {
	c, err := last.CID()
	return err == nil && c == o.Prev
}

// normal converts the first form of a genesis operation to today's form, and returns any other
// operation as it is.
func (o *Operation) normal() *Operation {
	if o.Type != typeCreate {
		return o
	}
	endpoint, handle := o.legacy.Service, o.legacy.Handle
	if !strings.HasPrefix(endpoint, "http://") && !strings.HasPrefix(endpoint, "https://") {
		endpoint = "https://" + endpoint
	}
	if !strings.HasPrefix(handle, "at://") {
		handle = "at://" + strings.TrimPrefix(strings.TrimPrefix(handle, "http://"), "https://")
	}
	return &Operation{
		Type: TypeOperation, Prev: o.Prev, Sig: o.Sig,
		RotationKeys:        []string{o.legacy.RecoveryKey, o.legacy.SigningKey},
		VerificationMethods: map[string]string{AtprotoKey: o.legacy.SigningKey},
		AlsoKnownAs:         []string{handle},
		Services:            map[string]Service{AtprotoPDS: {Type: AtprotoPDSType, Endpoint: endpoint}},
	}
}

// Data returns the state of a DID after the operation, which is nil after a tombstone.
func (o *Operation) Data(did syntax.DID) *Data {
	if o.Type == TypeTombstone {
		return nil
	}
	n := o.normal()
	return &Data{
		DID: did, VerificationMethods: n.VerificationMethods, RotationKeys: n.RotationKeys,
		AlsoKnownAs: n.AlsoKnownAs, Services: n.Services,
	}
}

// SetHandle replaces the handle of the DID, which is the first one in AlsoKnownAs. If the new
// handle was a further name of the DID before, it isn't repeated.
func (o *Operation) SetHandle(h syntax.Handle) {
	uri := "at://" + h.String()
	at := slices.IndexFunc(o.AlsoKnownAs, func(aka string) bool { return strings.HasPrefix(aka, "at://") })
	if at < 0 {
		o.AlsoKnownAs = append([]string{uri}, o.AlsoKnownAs...)
		return
	}
	o.AlsoKnownAs[at] = uri
	others := slices.DeleteFunc(o.AlsoKnownAs[at+1:], func(aka string) bool { return aka == uri })
	o.AlsoKnownAs = o.AlsoKnownAs[:at+1+len(others)]
}

// MarshalJSON encodes the operation in the form that directories accept.
func (o *Operation) MarshalJSON() ([]byte, error) { return json.Marshal(o.fields()) }

// UnmarshalJSON decodes an operation. It accepts only what MarshalJSON would write, apart from the
// order of properties, so that what is signed is what was sent. It returns an [InvalidError] that
// names the property.
func (o *Operation) UnmarshalJSON(b []byte) error {
	sent, err := readJSON(b)
	if err != nil {
		return err
	}
	object, ok := sent.(map[string]any)
	if !ok {
		return unreadable("it must be an object")
	}
	properties, known := operationProperties[text(object["type"])]
	switch _, typed := object["type"]; {
	case !typed:
		return unreadable("it must have the property %q", "type")
	case !known:
		return unreadable("type must be %s or %s", TypeOperation, TypeTombstone)
	}
	if _, err := readObject("", object, append([]string{"type", "prev"}, properties...), "sig"); err != nil {
		return err
	}
	read := Operation{Type: text(object["type"]), Prev: text(object["prev"]), Sig: text(object["sig"])}
	if object["prev"] != nil && read.Prev == "" {
		return unreadable("prev must be null or the CID of an operation")
	}
	if _, signed := object["sig"]; signed && read.Sig == "" {
		return unreadable("sig must be a signature in base64url")
	}
	switch read.Type {
	case TypeOperation:
		e, err := readContents(object)
		if err != nil {
			return err
		}
		e.Apply(&read)
	case typeCreate:
		for name, into := range map[string]*string{
			"signingKey": &read.legacy.SigningKey, "recoveryKey": &read.legacy.RecoveryKey,
			"handle": &read.legacy.Handle, "service": &read.legacy.Service,
		} {
			value, err := readString(name, object[name])
			if err != nil {
				return err
			}
			*into = value
		}
	}
	*o = read
	return nil
}

// operationProperties are the properties of operations of each type besides type, prev and sig.
var operationProperties = map[string][]string{
	TypeOperation: contents,
	TypeTombstone: nil,
	typeCreate:    {"signingKey", "recoveryKey", "handle", "service"},
}
