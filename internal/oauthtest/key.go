// Package oauthtest is the client's half of OAuth for tests: keys, the proofs and assertions that
// they sign, and code verifiers.
package oauthtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-at/gatehouse/internal/jws"
)

// Key is a P-256 key of a client.
type Key struct{ private *ecdsa.PrivateKey }

// NewKey returns a new key.
func NewKey() *Key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // the source of randomness doesn't fail
	}
	return &Key{private}
}

// JWK returns the public key.
func (k *Key) JWK() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.private.Public(), KeyID: k.Thumbprint()[:8], Algorithm: "ES256", Use: "sig"}
}

// JWKS returns the key set of a client that has only this key.
func (k *Key) JWKS() json.RawMessage {
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k.JWK()}})
	if err != nil {
		panic(err) // a public key always encodes
	}
	return b
}

// Thumbprint returns the SHA-256 thumbprint of the key (source: RFC 7638).
func (k *Key) Thumbprint() string {
	key := jose.JSONWebKey{Key: k.private.Public()}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		panic(err) // a public key always has one
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// Proof is what a DPoP proof says.
type Proof struct {
	// Method and URL are those of the request.
	Method, URL string
	// Nonce is the server's.
	Nonce string
	// AccessToken is the token that the proof goes with, if there is one.
	AccessToken string
	// Now is when the proof is made.
	Now time.Time
	// Header and Claims replace or, with a nil value, remove parts of the proof.
	Header, Claims map[string]any
}

// Sign returns a proof (source: RFC 9449, section 4.2).
func (k *Key) Sign(p Proof) string {
	key := k.JWK()
	public := map[string]any{}
	b, err := json.Marshal(jose.JSONWebKey{Key: key.Key})
	if err == nil {
		err = json.Unmarshal(b, &public)
	}
	if err != nil {
		panic(err) // a public key always encodes
	}
	claims := map[string]any{"jti": rand.Text(), "htm": p.Method, "htu": p.URL, "iat": p.Now.Unix()}
	if p.Nonce != "" {
		claims["nonce"] = p.Nonce
	}
	if p.AccessToken != "" {
		sum := sha256.Sum256([]byte(p.AccessToken))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return k.sign(merge(map[string]any{"typ": "dpop+jwt", "jwk": public}, p.Header), merge(claims, p.Claims))
}

// Assertion returns a client assertion of the key (source: RFC 7523). Claims replaces or, with a
// nil value, removes claims.
func (k *Key) Assertion(clientID, issuer string, now time.Time, claims map[string]any) string {
	return k.sign(map[string]any{"kid": k.JWK().KeyID}, merge(map[string]any{
		"iss": clientID, "sub": clientID, "aud": issuer, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}, claims))
}

// RequestObject returns a signed request object with some parameters (source: RFC 9101).
func (k *Key) RequestObject(clientID, issuer string, now time.Time, params map[string]any) string {
	return k.sign(map[string]any{"kid": k.JWK().KeyID, "typ": "oauth-authz-req+jwt"}, merge(map[string]any{
		"iss": clientID, "aud": issuer, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "client_id": clientID,
	}, params))
}

func (k *Key) sign(header, claims map[string]any) string {
	signed, err := jws.Sign(k.private, header, claims)
	if err != nil {
		panic(err) // a P-256 key signs
	}
	return signed
}

// merge returns a map with the changes of another, in which a nil value removes one.
func merge(m, changes map[string]any) map[string]any {
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

// Verifier returns a code verifier and its challenge (source: RFC 7636).
func Verifier() (verifier, challenge string) {
	verifier = rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	return verifier, base64.RawURLEncoding.EncodeToString(sum[:])
}
