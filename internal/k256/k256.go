// Package k256 makes keys of the curve secp256k1 from a source of randomness, which atcrypto can't.
package k256

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// Generate makes a private key. A nil source is [rand.Reader].
func Generate(source io.Reader) (*atcrypto.PrivateKeyK256, error) {
	b, err := Random(source)
	if err != nil {
		return nil, err
	}
	return atcrypto.ParsePrivateBytesK256(b)
}

// Random returns a private key as bytes, without the cost of computing the public key. A nil source
// is [rand.Reader].
func Random(source io.Reader) ([]byte, error) {
	if source == nil {
		source = rand.Reader
	}
	b := make([]byte, len(order))
	for {
		if _, err := io.ReadFull(source, b); err != nil {
			return nil, fmt.Errorf("reading randomness: %w", err)
		}
		if valid(b) {
			return b, nil
		}
	}
}

// order is the order of the curve (source: SEC 2, section 2.4.1).
var order, _ = hex.DecodeString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")

// valid reports whether bytes are a private key: a number between zero and the order of the curve,
// which all but about one in 2^128 are.
func valid(b []byte) bool {
	return len(b) == len(order) && bytes.Compare(b, order) < 0 && !bytes.Equal(b, make([]byte, len(order)))
}

// Key is a private key whose public key is computed when it is used for the first time. Its methods
// are safe for concurrent use.
type Key struct {
	parsed func() (*atcrypto.PrivateKeyK256, error)
}

// Parse returns the key of bytes that [Random] returned.
func Parse(b []byte) (*Key, error) {
	if !valid(b) {
		return nil, errors.New("not a private key of the curve secp256k1")
	}
	b = bytes.Clone(b)
	return &Key{sync.OnceValues(func() (*atcrypto.PrivateKeyK256, error) { return atcrypto.ParsePrivateBytesK256(b) })}, nil
}

// PublicKey returns the public key.
func (k *Key) PublicKey() (atcrypto.PublicKey, error) {
	p, err := k.parsed()
	if err != nil {
		return nil, err
	}
	return p.PublicKey()
}

// HashAndSign returns the low-S ECDSA signature of the content's SHA-256.
func (k *Key) HashAndSign(content []byte) ([]byte, error) {
	p, err := k.parsed()
	if err != nil {
		return nil, err
	}
	return p.HashAndSign(content)
}
