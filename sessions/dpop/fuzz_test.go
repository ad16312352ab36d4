package dpop_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-at/gatehouse/sessions/dpop"
)

// fixed returns a client with the same key in all processes of a fuzz test.
func fixed(f *testing.F) *client {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{7}, 32))
	return newClient(f, jwt.SigningMethodES256, key, err)
}

// FuzzVerify has anything as the DPoP header. What is taken has to be signed by a key in it, which
// is never the case for what is made up.
func FuzzVerify(f *testing.F) {
	c := fixed(f)
	key := c.thumbprint()
	f.Add(c.proof())
	f.Add("")
	f.Add("a.b.c")
	f.Add(c.proof(object{"htu": "https://pds.test/%zz"}))
	f.Add(c.proof(object{"h:jwk": object{"kty": "RSA", "n": "AQAB", "e": "AQAB"}}))
	f.Add(c.proof(object{"h:jwk": object{"kty": "OKP", "crv": "Ed25519", "x": "AA"}}))
	f.Fuzz(func(t *testing.T, header string) {
		p, err := dpop.Verify([]string{header}, check())
		switch {
		case err == nil && p.Key != key:
			t.Errorf("%q is taken for a proof of %+v", header, p)
		case err != nil && !errors.Is(err, dpop.ErrProof) && !errors.Is(err, dpop.ErrNonce):
			t.Errorf("%q: %v", header, err)
		}
	})
}

// FuzzClaims has anything as the header and the claims of a proof that is signed.
func FuzzClaims(f *testing.F) {
	c := fixed(f)
	key := c.thumbprint()
	jwk, _ := json.Marshal(c.jwk())
	f.Add(`{"typ":"dpop+jwt","alg":"ES256","jwk":`+string(jwk)+`}`, `{"jti":"one","htm":"GET","htu":"`+target+`","iat":1767268830}`)
	f.Add(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":{"kty":"EC"}}`, `{"jti":"one","iat":1e308,"htu":"http://[::1]:80/../%41"}`)
	f.Add(`{"typ":"dpop+jwt","typ":"x","alg":"RS256"}`, `{}`)
	f.Fuzz(func(t *testing.T, header, claims string) {
		signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
		signature, err := jwt.SigningMethodES256.Sign(signed, c.key)
		if err != nil {
			t.Fatal(err)
		}
		wanted := check()
		wanted.AccessToken, wanted.Nonces = "", nil
		p, err := dpop.Verify([]string{signed + "." + base64.RawURLEncoding.EncodeToString(signature)}, wanted)
		if err != nil {
			if !errors.Is(err, dpop.ErrProof) {
				t.Errorf("%v", err)
			}
			return
		}
		if p.Key != key || p.ID == "" || len(p.ID) > 256 || now.Sub(p.IssuedAt).Abs().Minutes() > 1.001 {
			t.Errorf("%+v", p)
		}
	})
}
