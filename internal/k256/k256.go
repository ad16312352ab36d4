// Package k256 makes keys of the curve secp256k1 from a source of randomness, which atcrypto can't.
package k256

import (
	"crypto/rand"
	"fmt"
	"io"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// Generate makes a private key. A nil source is [rand.Reader].
func Generate(source io.Reader) (*atcrypto.PrivateKeyK256, error) {
	if source == nil {
		source = rand.Reader
	}
	b := make([]byte, 32)
	for {
		if _, err := io.ReadFull(source, b); err != nil {
			return nil, fmt.Errorf("reading randomness: %w", err)
		}
		// All but about one in 2^128 numbers of 32 bytes are valid private keys: those below the
		// order of the curve, except zero.
		if key, err := atcrypto.ParsePrivateBytesK256(b); err == nil {
			return key, nil
		}
	}
}
