package did

import (
	"fmt"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// The limits of the public directory.
const (
	maxOperationBytes = 7500
	maxRotationKeys   = 5
	maxEntries        = 10
	maxAlsoKnownAs    = 256
	maxName           = 32
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

// Validate checks an operation by itself: its form, its keys and its size. Its
// error is an [ErrRefused].
func (o *Operation) Validate() error {
	b, err := o.bytes()
	switch {
	case err != nil:
		return refused("%v", err)
	case len(b) > maxOperationBytes:
		return refused("the operation has %d bytes, over %d", len(b), maxOperationBytes)
	case o.Sig == "":
		return refused("the operation is not signed")
	case o.Type == TypeTombstone:
		if o.Prev == "" {
			return refused("a tombstone without an operation before it")
		}
		return nil
	}
	n := o.normal()
	if len(n.RotationKeys) < 1 || len(n.RotationKeys) > maxRotationKeys {
		return refused("%d rotation keys; there must be 1 to %d", len(n.RotationKeys), maxRotationKeys)
	}
	for i, k := range n.RotationKeys {
		if _, err := atcrypto.ParsePublicDIDKey(k); err != nil {
			return refused("rotation key %q is not supported", k)
		}
		if slices.Contains(n.RotationKeys[:i], k) {
			return refused("rotation key %q twice", k)
		}
	}
	if len(n.VerificationMethods) > maxEntries || len(n.AlsoKnownAs) > maxEntries || len(n.Services) > maxEntries {
		return refused("more than %d entries", maxEntries)
	}
	for name, k := range n.VerificationMethods {
		if _, err := atcrypto.ParsePublicDIDKey(k); err != nil || name == "" || len(name) > maxName {
			return refused("verification method %q: %q is not supported", name, k)
		}
	}
	for i, aka := range n.AlsoKnownAs {
		if aka == "" || len(aka) > maxAlsoKnownAs || slices.Contains(n.AlsoKnownAs[:i], aka) {
			return refused("alsoKnownAs %q is too long or there twice", aka)
		}
	}
	for name, s := range n.Services {
		if name == "" || len(name) > maxName || len(s.Type) > maxServiceType || len(s.Endpoint) > maxEndpoint {
			return refused("service %q is too long", name)
		}
	}
	return nil
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

// next checks an operation against the log of its DID, nullified entries left out, and returns how many
// entries of that log it keeps: the rest it nullifies, as a rotation key of higher rank may for 72 hours.
func next(id syntax.DID, log []*Logged, o *Operation, now time.Time) (keep int, err error) {
	if err := o.Validate(); err != nil {
		return 0, err
	}
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
			return 0, err
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
