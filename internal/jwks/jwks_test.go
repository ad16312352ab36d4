package jwks_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-at/gatehouse/internal/jwks"
)

func marshal(t *testing.T, key any, change func(map[string]any)) string {
	t.Helper()
	raw, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: "k"})
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(m)
	}
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func newEC(t *testing.T, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestParse(t *testing.T) {
	ec, r := newEC(t, elliptic.P256()), newRSA(t)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	with := func(name string, value any) func(map[string]any) {
		return func(m map[string]any) { m[name] = value }
	}
	good := marshal(t, &ec.PublicKey, nil)
	for name, c := range map[string]struct {
		keys string
		n    int
		want string
	}{
		"no keys":                           {``, 0, ""},
		"three types":                       {good + "," + marshal(t, &r.PublicKey, nil) + "," + marshal(t, public, nil), 3, ""},
		"other curves":                      {marshal(t, &newEC(t, elliptic.P384()).PublicKey, nil) + "," + marshal(t, &newEC(t, elliptic.P521()).PublicKey, nil), 2, ""},
		"for signatures":                    {marshal(t, &ec.PublicKey, with("use", "sig")), 1, ""},
		"to verify":                         {marshal(t, &ec.PublicKey, with("key_ops", []string{"verify"})), 1, ""},
		"for encryption":                    {marshal(t, &ec.PublicKey, with("use", "enc")) + "," + good, 1, ""},
		"to derive":                         {marshal(t, &ec.PublicKey, with("key_ops", []string{"deriveKey"})) + "," + good, 1, ""},
		"for an unknown algorithm":          {marshal(t, &ec.PublicKey, with("alg", "ES256K")) + "," + good, 1, ""},
		"of an unknown type":                {`{"kty":"AKP","alg":"ML-DSA-44","pub":"AAAA"},` + good, 1, ""},
		"on an unknown curve":               {`{"kty":"EC","crv":"secp256k1","x":"AAAA","y":"AAAA"},` + good, 1, ""},
		"a private EC key":                  {good + "," + marshal(t, ec, nil), 0, "keys[1]: it is a private key (it has a member d): publish the public key"},
		"a private RSA key":                 {marshal(t, r, nil), 0, "it is a private key"},
		"a private Ed25519 key":             {marshal(t, private, nil), 0, "it is a private key"},
		"a private key that is null":        {marshal(t, &ec.PublicKey, with("d", nil)), 0, "it is a private key"},
		"half a private RSA key":            {marshal(t, &r.PublicKey, with("p", "AAAA")), 0, "it is a private key"},
		"a private key for encryption":      {marshal(t, ec, with("use", "enc")), 0, "it is a private key"},
		"a private key of an unknown type":  {`{"kty":"AKP","priv":"AAAA"}`, 0, "it is a private key"},
		"a symmetric key":                   {`{"kty":"oct","k":"c2VjcmV0"}`, 0, "it is a symmetric key"},
		"a symmetric key without its value": {`{"kty":"oct"}`, 0, "it is a symmetric key"},
		"a symmetric key in disguise":       {marshal(t, &ec.PublicKey, with("k", "c2VjcmV0")), 0, "it is a symmetric key"},
		"a point off the curve":             {marshal(t, &ec.PublicKey, with("x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE")), 0, "keys[0]: it isn't a valid JWK"},
		"no coordinates":                    {`{"kty":"EC","crv":"P-256"}`, 0, "it isn't a valid JWK"},
		"a short RSA key":                   {`{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("zz", 80) + `"}`, 0, "an RSA key must have 2048 to 8192 bits"},
		"a huge RSA key":                    {`{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("zz", 750) + `"}`, 0, "keys[0]: it isn't a valid JWK"},
		"members of another type":           {`{"kty":7}`, 0, "kty must be a string"},
		"operations of another type":        {`{"kty":"EC","key_ops":"verify"}`, 0, "key_ops must be an array of strings"},
		"something that isn't a key":        {`"key"`, 0, "keys[0]: it isn't a JSON object"},
		"null":                              {`null`, 0, "keys[0]: it isn't a JSON object"},
		"a member twice":                    {`{"kty":"EC","kty":"oct"}`, 0, `the name "kty" comes twice`},
		"too many":                          {strings.Repeat(good+",", jwks.MaxKeys) + good, 0, "it has more than 50 keys"},
	} {
		keys, err := jwks.Parse([]byte(`{"keys":[` + c.keys + `]}`))
		if len(keys) != c.n || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d keys, %v; want %d, %q", name, len(keys), err, c.n, c.want)
		}
	}
	for document, want := range map[string]string{
		`{}`: "it has no member keys", `{"keys":null}`: "it has no member keys", `{"keys":{}}`: "keys must be an array", `[]`: "it isn't a JSON object",
		`{"Keys":[]}`: "it has no member keys", `{"keys":[],"keys":[]}`: "comes twice",
	} {
		if keys, err := jwks.Parse([]byte(document)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", document, keys, err)
		}
	}
}

// TestThumbprint has the example of RFC 7638, section 3.1, whose thumbprint doesn't depend on
// members that don't make up the key.
func TestThumbprint(t *testing.T) {
	const n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	keys, err := jwks.Parse(fmt.Appendf(nil, `{"keys":[{"kty":"RSA","n":"%s","e":"AQAB","alg":"RS256","kid":"2011-04-29"}]}`, n))
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	const want = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
	if k := keys[0]; k.Thumbprint != want || k.ID != "2011-04-29" || k.Algorithm != "RS256" || !jwks.Contains(keys, want) || jwks.Contains(keys, "other") {
		t.Errorf("got %+v", k)
	}
}

func TestSuits(t *testing.T) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key  jwks.Key
		want string
	}{
		"P-256":                 {jwks.Key{Public: &newEC(t, elliptic.P256()).PublicKey}, "ES256"},
		"P-384":                 {jwks.Key{Public: &newEC(t, elliptic.P384()).PublicKey}, "ES384"},
		"P-521":                 {jwks.Key{Public: &newEC(t, elliptic.P521()).PublicKey}, "ES512"},
		"RSA":                   {jwks.Key{Public: &newRSA(t).PublicKey}, "PS256 PS384 PS512 RS256 RS384 RS512"},
		"RSA for one algorithm": {jwks.Key{Public: &newRSA(t).PublicKey, Algorithm: "PS384"}, "PS384"},
		"Ed25519":               {jwks.Key{Public: public}, "EdDSA"},
		"of another algorithm":  {jwks.Key{Public: public, Algorithm: "ES256"}, ""},
		"bytes":                 {jwks.Key{Public: []byte("secret")}, ""},
	} {
		var got []string
		for _, alg := range append(jwks.Algorithms(), "none", "HS256", "", "ES256K") {
			if c.key.Suits(alg) {
				got = append(got, alg)
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s, want %s", name, s, c.want)
		}
	}
}

// TestCoordinatesWithoutZeros: the keys of a client that leaves out the zeros at the beginning of
// coordinates, as indigo's does, are the same as with them.
func TestCoordinatesWithoutZeros(t *testing.T) {
	const y = "u0yFo9jqKe-q-iRAaRLdhNWxTcMr9lbvbGvVil2UP5I"
	var thumbprints []string
	for _, x := range []string{"AFVDiUrz0A7X10Cr29dclrBod7eH219w7qeLkKjXwAo", "VUOJSvPQDtfXQKvb11yWsGh3t4fbX3Dup4uQqNfACg"} {
		keys, err := jwks.Parse(fmt.Appendf(nil, `{"keys":[{"kty":"EC","crv":"P-256","x":%q,"y":%q,"kid":"k"}]}`, x, y))
		if err != nil || len(keys) != 1 || !keys[0].Suits("ES256") {
			t.Fatal(x, keys, err)
		}
		thumbprints = append(thumbprints, keys[0].Thumbprint)
	}
	if thumbprints[0] != thumbprints[1] {
		t.Errorf("two keys: %v", thumbprints)
	}
}
