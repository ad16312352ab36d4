package did

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// The limits of the public directory and of the did:plc specification. Where they differ, the
// stricter one is used: the public directory accepts ten rotation keys, or none.
const (
	maxOperationBytes = 4000
	maxRotationKeys   = 5
	maxEntries        = 10
	maxAlsoKnownAs    = 258
	maxName           = 32
	maxKey            = 256
	maxServiceType    = 256
	maxEndpoint       = 512
	recoveryWindow    = 72 * time.Hour
)

// Logged is an operation in the audit log of a directory (source: the did:plc specification, 0.1).
type Logged struct {
	DID       syntax.DID `json:"did"`
	Operation *Operation `json:"operation"`
	CID       string     `json:"cid"`
	// Nullified is true if a rotation key of higher rank has undone the operation.
	Nullified bool `json:"nullified"`
	// CreatedAt is when the directory accepted the operation.
	CreatedAt time.Time `json:"createdAt"`
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// Validate checks the form, the keys and the size of an operation that is to be submitted, without
// looking at the log of its DID. Operations in logs may be older than these rules. It returns an
// [InvalidError] that is also an [ErrRefused].
func (o *Operation) Validate() error {
	b, err := o.bytes()
	switch {
	case err != nil:
		return invalid("it must be encodable as DAG-CBOR")
	case len(b) > maxOperationBytes:
		return invalid("it must not be larger than %d bytes, and has %d", maxOperationBytes, len(b))
	case o.Sig == "":
		return invalid("sig must be a signature in base64url")
	}
	switch o.Type {
	case TypeTombstone:
		if o.Prev == "" {
			return invalid("prev must be the CID of an operation")
		}
		return nil
	case TypeOperation:
		return o.validContents()
	}
	return invalid("type must be %s or %s", TypeOperation, TypeTombstone)
}

// validContents checks the contents of an operation.
func (o *Operation) validContents() error {
	if n := len(o.RotationKeys); n < 1 || n > maxRotationKeys {
		return invalid("rotationKeys must have 1 to %d keys, and has %d", maxRotationKeys, n)
	}
	for i, k := range o.RotationKeys {
		if _, err := atcrypto.ParsePublicDIDKey(k); err != nil {
			return invalid("rotationKeys/%d must be a K-256 or P-256 did:key", i)
		}
		if slices.Contains(o.RotationKeys[:i], k) {
			return invalid("rotationKeys/%d must not repeat a key", i)
		}
	}
	for _, list := range []struct {
		name string
		n    int
	}{
		{"verificationMethods", len(o.VerificationMethods)}, {"alsoKnownAs", len(o.AlsoKnownAs)}, {"services", len(o.Services)},
	} {
		if list.n > maxEntries {
			return invalid("%s must have %d entries at most, and has %d", list.name, maxEntries, list.n)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.VerificationMethods)) {
		at := within("verificationMethods", name)
		if len(name) > maxName {
			return invalid("%s must have a name of %d bytes at most", at, maxName)
		}
		if !isDIDKey(o.VerificationMethods[name]) {
			return invalid("%s must be a did:key of %d bytes at most", at, maxKey)
		}
	}
	for i, aka := range o.AlsoKnownAs {
		if len(aka) > maxAlsoKnownAs {
			return invalid("alsoKnownAs/%d must have %d bytes at most", i, maxAlsoKnownAs)
		}
		if slices.Contains(o.AlsoKnownAs[:i], aka) {
			return invalid("alsoKnownAs/%d must not repeat a name", i)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Services)) {
		switch s, at := o.Services[name], within("services", name); {
		case len(name) > maxName:
			return invalid("%s must have a name of %d bytes at most", at, maxName)
		case len(s.Type) > maxServiceType:
			return invalid("%s/type must have %d bytes at most", at, maxServiceType)
		case len(s.Endpoint) > maxEndpoint:
			return invalid("%s/endpoint must have %d bytes at most", at, maxEndpoint)
		}
	}
	return nil
}

const base58Alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// isDIDKey reports whether a string has the form of a did:key of any kind. Only keys that sign
// operations have to be of a kind that can be verified here.
func isDIDKey(k string) bool {
	encoded, ok := strings.CutPrefix(k, "did:key:z")
	return ok && encoded != "" && len(k) <= maxKey && strings.Trim(encoded, base58Alphabet) == ""
}

// validGenesis checks the first operation of a DID.
func validGenesis(id syntax.DID, o *Operation) error {
	switch {
	case o.Prev != "":
		return invalid("prev must be null: %s has no operation to follow", id)
	case o.Type == TypeTombstone:
		return invalid("type must not be %s: %s has no operation to follow", TypeTombstone, id)
	}
	if _, err := o.verify(o.normal().RotationKeys); err != nil {
		return invalid("%v", err)
	}
	made, err := o.DID()
	if err != nil {
		return err
	}
	if made != id {
		return invalid("it must be the genesis operation of %s, and is that of %s", id, made)
	}
	return nil
}

// next checks an operation against the log of its DID, without nullified entries, and returns how
// many entries of that log stay in force. The operation nullifies the others, which a rotation key
// of higher rank may do for 72 hours.
func next(id syntax.DID, log []*Logged, o *Operation, now time.Time) (keep int, err error) {
	if len(log) == 0 {
		return 0, validGenesis(id, o)
	}
	at := slices.IndexFunc(log, func(l *Logged) bool { return l.CID == o.Prev })
	if at < 0 || log[at].Operation.Type == TypeTombstone {
		return 0, invalid("prev must be the CID of the last operation of %s", id)
	}
	if o.Type == typeCreate {
		return 0, invalid("type must not be %s in an operation that follows another", typeCreate)
	}
	keys := log[at].Operation.normal().RotationKeys
	if at < len(log)-1 {
		disputed := log[at+1]
		signer, err := disputed.Operation.verify(keys)
		if err != nil {
			return 0, fmt.Errorf("did: the log of %s is broken: %w", id, err)
		}
		keys = keys[:slices.Index(keys, signer)]
		if now.Sub(disputed.CreatedAt) > recoveryWindow {
			return 0, invalid("prev must be the CID of the last operation of %s: what it would undo is older than %v", id, recoveryWindow)
		}
	}
	if _, err := o.verify(keys); err != nil {
		return 0, invalid("%v", err)
	}
	return at + 1, nil
}
