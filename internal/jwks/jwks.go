// Package jwks reads sets of public keys (source: RFC 7517) and chooses the keys that may have
// signed a token.
package jwks

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/gatehouse-at/gatehouse/internal/jws"
	"github.com/gatehouse-at/gatehouse/internal/strictjson"
)

// MaxKeys is the most keys that a set may have.
const MaxKeys = 50

// Algorithms returns the signature algorithms that are accepted, the recommended one first. There
// is neither "none" among them, nor an algorithm of symmetric keys.
func Algorithms() []string { return jws.Algorithms() }

// Key is a public key.
type Key struct {
	// ID is the key's kid, which may be empty.
	ID string
	// Algorithm is the only algorithm that the key is meant for, or empty.
	Algorithm string
	// Public is an *ecdsa.PublicKey, an *rsa.PublicKey or an ed25519.PublicKey.
	Public crypto.PublicKey
	// Thumbprint is the SHA-256 thumbprint of the key in base64url (source: RFC 7638). It names the
	// key whatever its kid is.
	Thumbprint string
}

// Parse returns the keys of a set that are for verifying signatures. Keys of unknown types, on
// unknown curves and for other uses are left out (source: RFC 7517, section 5). A set with a
// private or symmetric key is refused as a whole, since somebody has to know that their secret is
// public. The errors are fit to be shown to whoever wrote the set.
func Parse(document []byte) ([]Key, error) {
	set, err := strictjson.Parse(document)
	if err != nil {
		return nil, err
	}
	if !set.Has("keys") {
		return nil, errors.New("it has no member keys")
	}
	var members []json.RawMessage
	if err := json.Unmarshal(set["keys"], &members); err != nil {
		return nil, errors.New("keys must be an array of JWKs")
	}
	if len(members) > MaxKeys {
		return nil, fmt.Errorf("it has more than %d keys", MaxKeys)
	}
	keys := make([]Key, 0, len(members))
	for i, member := range members {
		k, err := parse(member)
		if err != nil {
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		}
		if k != nil {
			keys = append(keys, *k)
		}
	}
	return keys, nil
}

// parse returns a key, or nil if it is for something else.
func parse(member json.RawMessage) (*Key, error) {
	o, err := strictjson.Parse(member)
	if err != nil {
		return nil, err
	}
	kind, err := o.String("kty")
	if err != nil {
		return nil, err
	}
	switch secret := jws.SecretMember(o); {
	case secret == "k" || secret == "" && kind == "oct":
		return nil, errors.New("it is a symmetric key, which must never be published: use a public key, such as one for ES256")
	case secret != "":
		return nil, fmt.Errorf("it is a private key (it has a member %s): publish the public key, and make a new one, since this one isn't secret any longer", secret)
	}
	if use, err := forSignatures(o); err != nil || !use || !slices.Contains([]string{"EC", "RSA", "OKP"}, kind) {
		return nil, err
	}
	if curve, err := o.String("crv"); err != nil || kind != "RSA" && !slices.Contains([]string{"P-256", "P-384", "P-521", "Ed25519"}, curve) {
		return nil, err
	}
	return decode(o)
}

// forSignatures reports whether a key is meant for verifying signatures.
func forSignatures(o strictjson.Object) (bool, error) {
	use, err := o.String("use")
	if err != nil {
		return false, err
	}
	operations, err := o.Strings("key_ops")
	if err != nil {
		return false, err
	}
	return (use == "" || use == "sig") && (!o.Has("key_ops") || slices.Contains(operations, "verify")), nil
}

// decode decodes a public key of a known type.
func decode(o strictjson.Object) (*Key, error) {
	id, err := o.String("kid")
	if err != nil {
		return nil, err
	}
	algorithm, err := o.String("alg")
	if err != nil {
		return nil, err
	}
	if algorithm != "" && !slices.Contains(Algorithms(), algorithm) {
		return nil, nil
	}
	public, thumbprint, err := jws.PublicKey(o)
	switch {
	case errors.Is(err, jws.ErrSize):
		return nil, fmt.Errorf("an RSA key must have %d to %d bits", jws.MinRSA, jws.MaxRSA)
	case err != nil:
		return nil, errors.New("it isn't a valid JWK")
	}
	return &Key{id, algorithm, public, thumbprint}, nil
}

// Suits reports whether the key can have made a signature by an algorithm.
func (k Key) Suits(algorithm string) bool {
	return (k.Algorithm == "" || k.Algorithm == algorithm) && jws.Fits(algorithm, k.Public)
}

// Choose returns the keys that a token with a kid and an algorithm in its header may have been
// signed with. Without a kid, these are all keys for the algorithm.
func Choose(keys []Key, id, algorithm string) []Key {
	var chosen []Key
	for _, k := range keys {
		if (id == "" || k.ID == id) && k.Suits(algorithm) {
			chosen = append(chosen, k)
		}
	}
	return chosen
}

// Contains reports whether a key with a thumbprint is in a set.
func Contains(keys []Key, thumbprint string) bool {
	return slices.ContainsFunc(keys, func(k Key) bool { return k.Thumbprint == thumbprint })
}
