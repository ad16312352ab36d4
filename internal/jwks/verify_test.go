package jwks_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-at/gatehouse/internal/jwks"
)

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func sign(t *testing.T, alg, kid string, key any, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.GetSigningMethod(alg), jwt.MapClaims(claims))
	if kid != "" {
		token.Header["kid"] = kid
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestVerifyWithEachAlgorithm: a signature is verified with the key that made it, and with no
// other.
func TestVerifyWithEachAlgorithm(t *testing.T) {
	r := newRSA(t)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, p384, p521 := newEC(t, elliptic.P256()), newEC(t, elliptic.P384()), newEC(t, elliptic.P521())
	var list []string
	for _, k := range []any{&p256.PublicKey, &p384.PublicKey, &p521.PublicKey, &r.PublicKey, public} {
		list = append(list, marshal(t, k, func(m map[string]any) { delete(m, "kid") }))
	}
	keys, err := jwks.Parse([]byte(`{"keys":[` + strings.Join(list, ",") + `]}`))
	if err != nil || len(keys) != 5 {
		t.Fatal(keys, err)
	}
	signers := map[string]any{"ES256": p256, "ES384": p384, "ES512": p521, "EdDSA": private}
	for _, alg := range jwks.Algorithms() {
		signer := signers[alg]
		if signer == nil {
			signer = r
		}
		token, err := jwks.Decode(sign(t, alg, "", signer, map[string]any{"a": 1}), 4096)
		if err != nil {
			t.Errorf("%s: %v", alg, err)
			continue
		}
		k, err := token.Verify(keys)
		if err != nil || !k.Suits(alg) {
			t.Errorf("%s: %v, %v", alg, k, err)
		}
		if len(keys) != 5 {
			t.Fatal("the keys were modified")
		}
		others := newEC(t, elliptic.P256())
		if alg == "ES256" {
			if _, err := token.Verify([]jwks.Key{{Public: &others.PublicKey}}); err == nil {
				t.Error("another key verified the token")
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	key := newEC(t, elliptic.P256())
	good := sign(t, "ES256", "k", key, map[string]any{"sub": "a"})
	parts := strings.Split(good, ".")
	header := func(h string) string { return encode(h) + "." + parts[1] + "." + parts[2] }
	for name, c := range map[string]struct{ token, want string }{
		"nothing":                       {"", "it isn't a signed JWT"},
		"two parts":                     {parts[0] + "." + parts[1], "it isn't a signed JWT"},
		"five parts":                    {good + ".a.b", "it isn't a signed JWT"},
		"too large":                     {good + strings.Repeat("A", 4096), "it has more than 4096 bytes"},
		"none":                          {header(`{"alg":"none"}`), `its alg is "none"`},
		"no signature, none":            {encode(`{"alg":"none"}`) + "." + parts[1] + ".", `its alg is "none"`},
		"None":                          {header(`{"alg":"None"}`), `its alg is "None"`},
		"a symmetric one":               {header(`{"alg":"HS256"}`), `its alg is "HS256"`},
		"K-256":                         {header(`{"alg":"ES256K"}`), `its alg is "ES256K"`},
		"no alg":                        {header(`{}`), `its alg is ""`},
		"two algs":                      {header(`{"alg":"ES256","alg":"none"}`), `"alg" comes twice`},
		"alg of another type":           {header(`{"alg":["ES256"]}`), "alg must be a string"},
		"kid of another type":           {header(`{"alg":"ES256","kid":7}`), "kid must be a string"},
		"an extension":                  {header(`{"alg":"ES256","crit":["b64"],"b64":false}`), "crit"},
		"no signature":                  {parts[0] + "." + parts[1] + ".", "its signature isn't base64url"},
		"a line break in its signature": {good[:len(good)-4] + "\n" + good[len(good)-4:], "it has line breaks"},
		"a padded signature":            {good + "==", "its signature isn't base64url"},
		"a header in base64":            {"e30+" + "." + parts[1] + "." + parts[2], "it isn't base64url"},
		"claims that aren't an object":  {parts[0] + "." + encode(`[]`) + "." + parts[2], "its claims: it isn't a JSON object"},
		"claims that come twice":        {parts[0] + "." + encode(`{"sub":"a","sub":"b"}`) + "." + parts[2], `its claims: the name "sub" comes twice`},
	} {
		if _, err := jwks.Decode(c.token, 4096); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	key, other := newEC(t, elliptic.P256()), newEC(t, elliptic.P256())
	list := func(id string, n int) (keys []jwks.Key) {
		for range n {
			keys = append(keys, jwks.Key{ID: id, Public: &other.PublicKey})
		}
		return keys
	}
	for name, c := range map[string]struct {
		kid  string
		keys []jwks.Key
		want string
	}{
		"no keys":                    {"", nil, "there is no key for ES256"},
		"no key with the kid":        {"a", list("b", 1), `there is no key for ES256 with the kid "a"`},
		"a key without a kid":        {"a", list("", 1), `there is no key for ES256 with the kid "a"`},
		"another key with the kid":   {"a", list("a", 1), "its signature isn't right"},
		"other keys":                 {"", list("a", 5), "its signature isn't right"},
		"too many keys":              {"", list("a", 6), "set a kid"},
		"a key of another algorithm": {"", []jwks.Key{{Public: &key.PublicKey, Algorithm: "ES384"}}, "there is no key for ES256"},
	} {
		token, err := jwks.Decode(sign(t, "ES256", c.kid, key, map[string]any{}), 4096)
		if err != nil {
			t.Fatal(err)
		}
		if k, err := token.Verify(c.keys); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %q", name, k, err, c.want)
		}
	}
	// The second of two keys with one kid is found, as after a rotation.
	token, err := jwks.Decode(sign(t, "ES256", "a", key, map[string]any{}), 4096)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := token.Verify(append(list("a", 1), jwks.Key{ID: "a", Public: &key.PublicKey, Thumbprint: "it"})); err != nil || k.Thumbprint != "it" {
		t.Errorf("%v, %v", k, err)
	}
}

func TestClaims(t *testing.T) {
	key := newEC(t, elliptic.P256())
	decode := func(claims string) *jwks.Token {
		t.Helper()
		var m map[string]any
		d := json.NewDecoder(strings.NewReader(claims))
		d.UseNumber()
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		token, err := jwks.Decode(sign(t, "ES256", "", key, m), 4096)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for value, want := range map[string]string{
		`1700000000`: "2023-11-14T22:13:20Z", `1700000000.5`: "2023-11-14T22:13:20.5Z", `null`: "0001-01-01T00:00:00Z", `0`: "1970-01-01T00:00:00Z",
		`"1700000000"`: "", `-1`: "", `1e300`: "", `true`: "",
	} {
		at, err := decode(`{"exp":` + value + `}`).Time("exp")
		if want == "" && err == nil || want != "" && at.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%s: %v, %v", value, at.UTC(), err)
		}
	}
	for value, want := range map[string]bool{
		`"a"`: true, `["a"]`: true, `["b","a"]`: true, `"b"`: false, `[]`: false, `null`: false, `["b",null]`: false, `["a",7]`: false, `{"a":1}`: false, `"A"`: false,
	} {
		if got := decode(`{"aud":` + value + `}`).For("a"); got != want {
			t.Errorf("aud %s: %v", value, got)
		}
	}
	if decode(`{}`).For("") {
		t.Error("a token without an audience is for everybody")
	}
}

// FuzzDecode: decoding and verifying what strangers send doesn't panic, and verifies nothing that
// the key hasn't signed.
func FuzzDecode(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": "a", "exp": 1}).SignedString(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add(encode(`{"alg":"ES256","kid":"k"}`) + "." + encode(`{"exp":1e9,"aud":["a"]}`) + ".AAAA")
	f.Add(encode(`{"alg":"none"}`) + "." + encode(`{}`) + ".")
	keys := []jwks.Key{{Public: &key.PublicKey}}
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := jwks.Decode(raw, 8192)
		if err != nil {
			return
		}
		_, _ = token.Time("exp")
		token.For("a")
		if _, err := token.Verify(keys); err == nil && !strings.HasPrefix(raw, signed[:strings.LastIndexByte(signed, '.')]) {
			t.Fatalf("%q was verified", raw)
		}
	})
}

// FuzzParse: parsing sets of keys doesn't panic, and no key comes out that couldn't be used.
func FuzzParse(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	raw, err := key.PublicKey.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	x, y := encode(string(raw[1:33])), encode(string(raw[33:]))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"` + x + `","y":"` + y + `","kid":"k","use":"sig","key_ops":["verify"]}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AAAA","e":"AQAB"},{"kty":"OKP","crv":"Ed25519","x":"` + x + `"},{"kty":"oct","k":"AAAA"}]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		keys, err := jwks.Parse(document)
		if err != nil {
			return
		}
		for _, k := range keys {
			if len(k.Thumbprint) != 43 {
				t.Fatalf("%q: a thumbprint %q", document, k.Thumbprint)
			}
			usable := false
			for _, alg := range jwks.Algorithms() {
				usable = usable || k.Suits(alg) || k.Algorithm != ""
			}
			if !usable {
				t.Fatalf("%q: a key for no algorithm", document)
			}
		}
	})
}
