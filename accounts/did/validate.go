package did

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// The limits of the public directory and of the did:plc specification, where they
// differ the stricter one: the public directory would take ten rotation keys, or none.
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

// Logged is an operation in a directory's log.
type Logged struct {
	DID       syntax.DID `json:"did"`
	Operation *Operation `json:"operation"`
	CID       string     `json:"cid"`
	Nullified bool       `json:"nullified"`
	CreatedAt time.Time  `json:"createdAt"`
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// Validate checks an operation that is to be submitted by itself: its form, its keys and
// its size. Operations in logs may be older than these rules. Its error is an [ErrRefused].
func (o *Operation) Validate() error {
	b, err := o.bytes()
	switch {
	case err != nil:
		return refused("%v", err)
	case len(b) > maxOperationBytes:
		return refused("the operation has %d bytes, over %d", len(b), maxOperationBytes)
	case o.Sig == "":
		return refused("the operation is not signed")
	}
	switch o.Type {
	case TypeTombstone:
		if o.Prev == "" {
			return refused("a tombstone without an operation before it")
		}
		return nil
	case TypeOperation:
		return o.validContents()
	}
	return refused("operations of type %q are not taken", o.Type)
}

func (o *Operation) validContents() error {
	if len(o.RotationKeys) < 1 || len(o.RotationKeys) > maxRotationKeys {
		return refused("%d rotation keys; there must be 1 to %d", len(o.RotationKeys), maxRotationKeys)
	}
	for i, k := range o.RotationKeys {
		if _, err := atcrypto.ParsePublicDIDKey(k); err != nil {
			return refused("rotation key %q is not supported", k)
		}
		if slices.Contains(o.RotationKeys[:i], k) {
			return refused("rotation key %q twice", k)
		}
	}
	if len(o.VerificationMethods) > maxEntries || len(o.AlsoKnownAs) > maxEntries || len(o.Services) > maxEntries {
		return refused("more than %d entries", maxEntries)
	}
	for name, k := range o.VerificationMethods {
		if len(name) > maxName || !isDIDKey(k) {
			return refused("verification method %q: %q is no did:key, or too long", name, k)
		}
	}
	for i, aka := range o.AlsoKnownAs {
		if len(aka) > maxAlsoKnownAs || slices.Contains(o.AlsoKnownAs[:i], aka) {
			return refused("alsoKnownAs %q is too long or there twice", aka)
		}
	}
	for name, s := range o.Services {
		if len(name) > maxName || len(s.Type) > maxServiceType || len(s.Endpoint) > maxEndpoint {
			return refused("service %q is too long", name)
		}
	}
	return nil
}

const base58Alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// isDIDKey reports whether a string has the form of a did:key, of whatever kind. Only those
// that sign operations have to be of a kind that we can verify.
func isDIDKey(k string) bool {
	encoded, ok := strings.CutPrefix(k, "did:key:z")
	return ok && encoded != "" && len(k) <= maxKey && strings.Trim(encoded, base58Alphabet) == ""
}

// validGenesis checks the first operation of a DID.
func validGenesis(id syntax.DID, o *Operation) error {
	if o.Type == TypeTombstone || o.Prev != "" {
		return refused("%s has no operation to follow", id)
	}
	if _, err := o.verify(o.normal().RotationKeys); err != nil {
		return refused("%v", err)
	}
	made, err := o.DID()
	if err != nil {
		return err
	}
	if made != id {
		return refused("the operation makes %s, not %s", made, id)
	}
	return nil
}

// next checks an operation against the log of its DID, nullified entries left out, and returns how
// many entries of that log it keeps: the rest it nullifies, as a rotation key of higher rank may
// for 72 hours.
func next(id syntax.DID, log []*Logged, o *Operation, now time.Time) (keep int, err error) {
	if len(log) == 0 {
		return 0, validGenesis(id, o)
	}
	at := slices.IndexFunc(log, func(l *Logged) bool { return l.CID == o.Prev })
	if at < 0 || log[at].Operation.Type == TypeTombstone {
		return 0, refused("the operation does not follow the last one of %s", id)
	}
	if o.Type == TypeCreate {
		return 0, refused("a genesis operation can't follow another")
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
			return 0, refused("the operation that is to be undone is older than %v", recoveryWindow)
		}
	}
	if _, err := o.verify(keys); err != nil {
		return 0, refused("%v", err)
	}
	return at + 1, nil
}
