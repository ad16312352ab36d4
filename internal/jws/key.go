package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// The sizes of RSA keys in bits. Smaller ones are weak, and larger ones are slow to verify with.
const (
	MinRSA = 2048
	MaxRSA = 8192
)

// ErrSize is the [ErrKey] of an RSA key that has another size.
var ErrSize = fmt.Errorf("%w: an RSA key must have %d to %d bits", ErrKey, MinRSA, MaxRSA)

// secrets are the members of a JWK that only private keys have, and "k", which only symmetric ones
// have (sources: RFC 7518, section 6; RFC 8037; for "priv", the draft of AKP keys).
var secrets = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "priv", "k"}

// SecretMember returns the name of a member of a JWK that must not be published, or "".
func SecretMember[V any](jwk map[string]V) string {
	for _, member := range secrets {
		if _, has := jwk[member]; has {
			return member
		}
	}
	return ""
}

// public are the members that make up a public key.
var public = []string{"kty", "crv", "x", "y", "n", "e"}

// PublicKey reads a JWK, and returns the key and its SHA-256 thumbprint in base64url (source: RFC
// 7638). A private or symmetric key is refused. Error: [ErrKey].
func PublicKey[V any](jwk map[string]V) (key crypto.PublicKey, thumbprint string, err error) {
	if member := SecretMember(jwk); member != "" {
		return nil, "", fmt.Errorf("%w: it has the member %q, which is secret", ErrKey, member)
	}
	members := map[string]V{}
	for _, member := range public { // others, such as certificates, have no meaning here
		if v, has := jwk[member]; has {
			members[member] = v
		}
	}
	raw, err := json.Marshal(members)
	if err == nil {
		raw, err = complete(raw)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrKey, err)
	}
	var k jose.JSONWebKey
	if err := k.UnmarshalJSON(raw); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrKey, err)
	}
	if err := check(k.Key); err != nil {
		return nil, "", err
	}
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrKey, err)
	}
	return k.Key, base64.RawURLEncoding.EncodeToString(sum), nil
}

// sizes are the lengths of the coordinates of points, in bytes.
var sizes = map[string]int{"P-256": 32, "P-384": 48, "P-521": 66}

// complete returns a public key with the zeros at the beginning of its coordinates. They are
// required (source: RFC 7518, section 6.2.1.2), but some clients leave them out, among them
// indigo's: one in 128 of its keys has such a coordinate.
func complete(jwk []byte) ([]byte, error) {
	var k struct {
		Type     string `json:"kty"`
		Curve    string `json:"crv,omitempty"`
		X        string `json:"x,omitempty"`
		Y        string `json:"y,omitempty"`
		Modulus  string `json:"n,omitempty"`
		Exponent string `json:"e,omitempty"`
	}
	if err := json.Unmarshal(jwk, &k); err != nil {
		return nil, err
	}
	for _, coordinate := range []*string{&k.X, &k.Y} {
		b, err := encoding.DecodeString(*coordinate)
		if missing := sizes[k.Curve] - len(b); err == nil && len(b) > 0 && missing > 0 {
			*coordinate = encoding.EncodeToString(append(make([]byte, missing), b...))
		}
	}
	return json.Marshal(k)
}

// check refuses keys that no algorithm is for.
func check(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		for _, curve := range curves {
			if k.Curve == curve {
				return nil
			}
		}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < MinRSA || bits > MaxRSA {
			return ErrSize
		}
		if k.E < 3 || k.E%2 == 0 {
			return fmt.Errorf("%w: the exponent of the RSA key", ErrKey)
		}
		return nil
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("%w: its type", ErrKey)
}
