package jws_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	_ "github.com/bluesky-social/indigo/atproto/auth" // replaces ES256 in the JWT library's registry

	"github.com/gatehouse-at/gatehouse/internal/jws"
)

func p256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestSignAndVerify(t *testing.T) {
	key := p256(t)
	raw, err := jws.Sign(key, map[string]any{"typ": "at+jwt", "kid": "one"}, map[string]any{"sub": "alice"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.Parse(raw, len(raw))
	if err != nil || token.Alg() != "ES256" || token.Kid() != "one" || token.Text("sub") != "alice" || token.Text("none") != "" {
		t.Fatalf("%+v, %v", token, err)
	}
	if err := token.Verify(&key.PublicKey); err != nil {
		t.Error(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]crypto.PublicKey{
		"another key": &p256(t).PublicKey, "a key of another curve": &p384.PublicKey, "an RSA key": &rsaKey.PublicKey,
		"an Ed25519 key": ed25519.PublicKey(make([]byte, 32)), "a private key": key, "a secret": []byte("secret"), "nothing": nil,
	} {
		if err := token.Verify(other); !errors.Is(err, jws.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	critical, err := jws.Sign(key, map[string]any{"crit": []string{"x"}}, map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	if token, err := jws.Parse(critical, 1<<10); err != nil || !errors.Is(token.Verify(&key.PublicKey), jws.ErrSignature) {
		t.Errorf("extensions that have to be understood: %v", err)
	}
}

func TestTypes(t *testing.T) {
	for typ, want := range map[string]bool{
		`"at+jwt"`: true, `"AT+JWT"`: true, `"application/at+jwt"`: true, `"Application/at+JWT"`: true, `"JWT"`: false, `"at+jwt "`: false, `7`: false, `null`: false,
	} {
		token, err := jws.Parse(encode(`{"typ":`+typ+`}`)+"."+encode(`{}`)+".", 1<<10)
		if err != nil || token.IsType("at+jwt") != want {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := encode(`{"alg":"ES256"}`) + "." + encode(`{"a":1}`) + ".AA"
	if _, err := jws.Parse(good, len(good)); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"nothing": "", "two parts": "e30.e30", "four parts": good + ".", "too long": good + "AA", "padding": encode(`{}`) + ".e30=.",
		"a line break": encode(`{}`) + ".e3\n0.", "another alphabet": encode(`{}`) + "." + encode(`{}`) + ".+/", "unused bits": encode(`{}`) + "." + encode(`{}`) + ".AB",
		"a list": encode(`[]`) + "." + encode(`{}`) + ".", "null": encode(`{}`) + "." + encode(`null`) + ".", "two objects": encode(`{}{}`) + "." + encode(`{}`) + ".",
		"no JSON": encode(`x`) + "." + encode(`{}`) + ".", "deep": encode(strings.Repeat("[", 20000)) + "." + encode(`{}`) + ".",
	} {
		most := len(good)
		if name == "deep" {
			most = 1 << 20
		}
		if _, err := jws.Parse(raw, most); !errors.Is(err, jws.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestThumbprint has the example of RFC 7638, section 3.1.
func TestThumbprint(t *testing.T) {
	jwk := map[string]any{
		"kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
		"n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W" +
			"-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbIS" +
			"D08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
	}
	key, thumbprint, err := jws.PublicKey(jwk)
	if _, ok := key.(*rsa.PublicKey); !ok || err != nil || thumbprint != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("%T %s, %v", key, thumbprint, err)
	}
	for name, change := range map[string]map[string]any{
		"a private key": {"d": "AQAB"}, "a prime": {"p": "AQAB"}, "a secret": {"k": "AQAB"}, "an even exponent": {"e": "AQAA"}, "an exponent of 1": {"e": "AQ"},
		"a small modulus": {"n": "AQAB"}, "no modulus": {"n": nil}, "a modulus that is a number": {"n": 7}, "another type": {"kty": "EC"}, "no type": {"kty": ""},
		"a modulus of 16384 bits": {"n": strings.Repeat("_", 16384/6)},
	} {
		other := map[string]any{}
		for _, from := range []map[string]any{jwk, change} {
			for member, v := range from {
				other[member] = v
			}
		}
		if key, _, err := jws.PublicKey(other); !errors.Is(err, jws.ErrKey) || key != nil {
			t.Errorf("%s: %v, %v", name, key, err)
		}
	}
}

// TestCoordinatesWithoutZeros: indigo's client leaves out the zeros at the beginning of
// coordinates. The key and its thumbprint are the same with and without them.
func TestCoordinatesWithoutZeros(t *testing.T) {
	found := map[string]bool{}
	for n := uint64(1); len(found) < 2; n++ {
		private, err := atcrypto.ParsePrivateBytesP256(binary.BigEndian.AppendUint64(make([]byte, 24), n))
		if err != nil {
			t.Fatal(err)
		}
		public, err := private.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		short, err := public.JWK()
		if err != nil {
			t.Fatal(err)
		}
		full := map[string]any{"kty": "EC", "crv": "P-256"}
		b := public.(*atcrypto.PublicKeyP256).UncompressedBytes()
		full["x"], full["y"] = base64.RawURLEncoding.EncodeToString(b[1:33]), base64.RawURLEncoding.EncodeToString(b[33:])
		for name, v := range map[string]string{"x": short.X, "y": short.Y} {
			if full[name] != v {
				found[name] = true
			}
		}
		if full["x"] == short.X && full["y"] == short.Y {
			continue
		}
		want, wantThumbprint, err := jws.PublicKey(full)
		if err != nil {
			t.Fatal(err)
		}
		got, thumbprint, err := jws.PublicKey(map[string]any{"kty": short.KeyType, "crv": short.Curve, "x": short.X, "y": short.Y})
		if err != nil || thumbprint != wantThumbprint || !want.(*ecdsa.PublicKey).Equal(got) {
			t.Errorf("%+v: %v", short, err)
		}
	}
	for _, coordinate := range []string{"", "AQ=", "AQ"} {
		if _, _, err := jws.PublicKey(map[string]any{"kty": "EC", "crv": "P-256", "x": coordinate, "y": coordinate}); !errors.Is(err, jws.ErrKey) {
			t.Errorf("a coordinate %q: %v", coordinate, err)
		}
	}
}
