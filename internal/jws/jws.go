// Package jws signs, reads and verifies JWTs with asymmetric keys (RFC 7515), and reads the JWKs of
// such keys (RFC 7517). It takes one spelling of a token only: base64url without padding
// and line breaks.
//
// It doesn't look algorithms up in the JWT library's registry, in which indigo replaces ES256 by an
// implementation for other types of keys.
package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// The errors of this package. Test for them with [errors.Is].
var (
	// ErrMalformed is returned when a text isn't a signed JWT.
	ErrMalformed = errors.New("jws: malformed token")
	// ErrSignature is returned when a signature isn't that of a key, or of another algorithm than the
	// key's.
	ErrSignature = errors.New("jws: the signature doesn't verify")
	// ErrKey is returned when a JWK isn't a public key of the algorithms of this package. The error
	// says why.
	ErrKey = errors.New("jws: not a public key that is supported")
)

// methods are the algorithms of signatures. There is neither "none" nor one with a shared secret.
var methods = map[string]jwt.SigningMethod{
	"ES256": jwt.SigningMethodES256, "ES384": jwt.SigningMethodES384, "ES512": jwt.SigningMethodES512,
	"PS256": jwt.SigningMethodPS256, "PS384": jwt.SigningMethodPS384, "PS512": jwt.SigningMethodPS512,
	"RS256": jwt.SigningMethodRS256, "RS384": jwt.SigningMethodRS384, "RS512": jwt.SigningMethodRS512,
	"EdDSA": jwt.SigningMethodEdDSA,
}

// algorithms are the names of methods, the one that every client has first.
var algorithms = []string{"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA"}

// Algorithms returns the names of the algorithms, ES256 first (source: RFC 7518, section 3.1).
func Algorithms() []string { return slices.Clone(algorithms) }

// curves are the curves of the algorithms of ECDSA. The JWT library doesn't compare them.
var curves = map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}

// Token is a JWT whose signature may be verified. Its claims are not to be believed before.
type Token struct {
	// Header and Claims are its two JSON objects. Of a property that occurs twice the last counts.
	Header, Claims map[string]any
	alg            string
	signed         string
	signature      []byte
}

var encoding = base64.RawURLEncoding.Strict()

// Parse reads a token, without verifying it. Tokens of more than most bytes are refused. Error:
// [ErrMalformed].
func Parse(raw string, most int) (*Token, error) {
	if len(raw) > most || strings.ContainsAny(raw, "\r\n") { // which the decoder would skip
		return nil, ErrMalformed
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, ErrMalformed
	}
	var t Token
	for i, into := range []*map[string]any{&t.Header, &t.Claims} {
		b, err := encoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(b, into) != nil || *into == nil {
			return nil, ErrMalformed
		}
	}
	var err error
	if t.signature, err = encoding.DecodeString(parts[2]); err != nil {
		return nil, ErrMalformed
	}
	t.alg, _ = t.Header["alg"].(string)
	t.signed = raw[:len(parts[0])+1+len(parts[1])]
	return &t, nil
}

// Alg returns the algorithm that the header names.
func (t *Token) Alg() string { return t.alg }

// Kid returns the ID of the key that the header names, or "".
func (t *Token) Kid() string {
	kid, _ := t.Header["kid"].(string)
	return kid
}

// IsType reports whether the header has a media type, such as "at+jwt", with "application/" before
// it or without, and in any case (source: RFC 7515, section 4.1.9).
func (t *Token) IsType(typ string) bool {
	got, _ := t.Header["typ"].(string)
	return strings.EqualFold(strings.TrimPrefix(strings.ToLower(got), "application/"), typ)
}

// Text returns a claim that is a string, or "".
func (t *Token) Text(claim string) string {
	s, _ := t.Claims[claim].(string)
	return s
}

// Verify checks the signature with a public key, whose type has to fit the algorithm. A header that
// names extensions which have to be understood is refused, since none are. Error: [ErrSignature].
func (t *Token) Verify(key crypto.PublicKey) error {
	if _, critical := t.Header["crit"]; critical {
		return ErrSignature
	}
	return Verify(t.alg, t.signed, t.signature, key)
}

// Verify checks the signature of a text with a public key, whose type has to fit the algorithm.
// Error: [ErrSignature].
func Verify(alg, signed string, signature []byte, key crypto.PublicKey) error {
	if !Fits(alg, key) || methods[alg].Verify(signed, signature, key) != nil {
		return ErrSignature
	}
	return nil
}

// Fits reports whether a key is one of an algorithm.
func Fits(alg string, key crypto.PublicKey) bool {
	if methods[alg] == nil {
		return false
	}
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return curves[alg] != nil && k.Curve == curves[alg]
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "PS") || strings.HasPrefix(alg, "RS")
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// Sign returns a token that is signed with ES256. The header is given without its algorithm.
func Sign(key *ecdsa.PrivateKey, header, claims map[string]any) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims(claims))
	for name, v := range header {
		t.Header[name] = v
	}
	return t.SignedString(key)
}
