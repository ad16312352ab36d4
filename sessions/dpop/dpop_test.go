package dpop_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-at/gatehouse/sessions/dpop"
)

var (
	now    = time.Date(2026, 1, 1, 12, 0, 30, 0, time.UTC)
	nonces = dpop.NewNonces([]byte("0123456789abcdef0123456789abcdef"))
)

const (
	target = "https://pds.test/xrpc/com.atproto.server.getSession"
	access = "header.claims.signature"
)

type object = map[string]any

// client makes proofs with a key.
type client struct {
	t      testing.TB
	method jwt.SigningMethod
	key    crypto.Signer
}

func newClient(t testing.TB, method jwt.SigningMethod, key crypto.Signer, err error) *client {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, method, key}
}

func p256(t testing.TB) *client {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return newClient(t, jwt.SigningMethodES256, key, err)
}

func (c *client) jwk() object {
	c.t.Helper()
	k := jose.JSONWebKey{Key: c.key.Public()}
	b, err := k.MarshalJSON()
	if err != nil {
		c.t.Fatal(err)
	}
	var o object
	if err := json.Unmarshal(b, &o); err != nil {
		c.t.Fatal(err)
	}
	return o
}

func (c *client) thumbprint() string {
	c.t.Helper()
	k := jose.JSONWebKey{Key: c.key.Public()}
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		c.t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// proof returns a proof for a GET of target with a token. Changes replace claims, and those whose
// names begin with "h:" members of the header; nil removes one.
func (c *client) proof(changes ...object) string {
	c.t.Helper()
	t := jwt.NewWithClaims(c.method, jwt.MapClaims{
		"jti": "one", "htm": "GET", "htu": target, "iat": now.Unix(), "ath": dpop.Hash(access), "nonce": nonces.Current(now),
	})
	t.Header["typ"], t.Header["jwk"] = "dpop+jwt", c.jwk()
	claims := t.Claims.(jwt.MapClaims)
	for _, change := range changes {
		for name, v := range change {
			in, name := map[string]any(claims), name
			if h, ok := strings.CutPrefix(name, "h:"); ok {
				in, name = t.Header, h
			}
			if in[name] = v; v == nil {
				delete(in, name)
			}
		}
	}
	signed, err := t.SignedString(c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return signed
}

func check() dpop.Check {
	return dpop.Check{Method: "GET", URL: target, AccessToken: access, Now: now, Nonces: nonces}
}

func TestAlgorithms(t *testing.T) {
	if all := dpop.Algorithms(); all[0] != "ES256" || strings.Contains(strings.Join(all, " "), "HS") || strings.Contains(strings.Join(all, " "), "none") {
		t.Errorf("%v", all)
	}
	p384, err384 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p521, err521 := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	rsaKey, errRSA := rsa.GenerateKey(rand.Reader, 2048)
	_, ed, errEd := ed25519.GenerateKey(rand.Reader)
	clients := map[string]*client{
		"ES256": p256(t), "ES384": newClient(t, jwt.SigningMethodES384, p384, err384), "ES512": newClient(t, jwt.SigningMethodES512, p521, err521),
		"EdDSA": newClient(t, jwt.SigningMethodEdDSA, ed, errEd),
	}
	for alg, m := range map[string]jwt.SigningMethod{
		"RS256": jwt.SigningMethodRS256, "RS384": jwt.SigningMethodRS384, "RS512": jwt.SigningMethodRS512,
		"PS256": jwt.SigningMethodPS256, "PS384": jwt.SigningMethodPS384, "PS512": jwt.SigningMethodPS512,
	} {
		clients[alg] = newClient(t, m, rsaKey, errRSA)
	}
	for _, alg := range dpop.Algorithms() {
		c := clients[alg]
		if c == nil {
			t.Errorf("%s isn't tried", alg)
			continue
		}
		p, err := dpop.Verify([]string{c.proof()}, check())
		if err != nil || p.Key != c.thumbprint() || p.ID != "one" || !p.IssuedAt.Equal(now) {
			t.Errorf("%s: %+v, %v", alg, p, err)
		}
		// Another algorithm's name over the same signature.
		for _, other := range append(dpop.Algorithms(), "none", "HS256", "ES256K", "", "es256") {
			if other == alg {
				continue
			}
			forged := strings.Split(c.proof(), ".")
			header := object{"alg": other, "typ": "dpop+jwt", "jwk": c.jwk()}
			b, _ := json.Marshal(header)
			forged[0] = base64.RawURLEncoding.EncodeToString(b)
			if _, err := dpop.Verify([]string{strings.Join(forged, ".")}, check()); !errors.Is(err, dpop.ErrProof) {
				t.Errorf("%s as %s: %v", alg, other, err)
			}
		}
	}
}

func TestOnlyTheKeyCountsOfAJWK(t *testing.T) {
	c := p256(t)
	jwk := c.jwk()
	for name, v := range map[string]any{
		"kid": "one", "use": "enc", "alg": "HS256", "x5c": []string{"junk"}, "x5u": "https://evil.test", "key_ops": []string{"verify"}, "ext": true,
	} {
		jwk[name] = v
	}
	p, err := dpop.Verify([]string{c.proof(object{"h:jwk": jwk})}, check())
	if err != nil || p.Key != c.thumbprint() {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestAProofIsForOneRequest(t *testing.T) {
	c := p256(t)
	with := func(change object) []string { return []string{c.proof(change)} }
	private := c.jwk()
	private["d"] = base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	weak := newClient(t, jwt.SigningMethodRS256, small, err)
	other := p256(t)
	offCurve := c.jwk()
	offCurve["y"] = offCurve["x"]
	good := c.proof()
	parts := strings.Split(good, ".")
	for name, headers := range map[string][]string{
		"none":                              nil,
		"an empty one":                      {""},
		"two":                               {good, c.proof(object{"jti": "two"})},
		"the same one twice":                {good, good},
		"two in one header":                 {good + ", " + good},
		"junk":                              {"junk"},
		"a proof with a space":              {good + " "},
		"a proof with a line break":         {parts[0] + ".\r\n" + parts[1] + "." + parts[2]},
		"a proof with padding":              {good + "=="},
		"a fourth part":                     {good + "."},
		"no signature":                      {parts[0] + "." + parts[1] + "."},
		"another's signature":               {parts[0] + "." + parts[1] + "." + strings.Split(other.proof(), ".")[2]},
		"claims that are a list":            {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte("[]")) + "." + parts[2]},
		"claims that are null":              {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte("null")) + "." + parts[2]},
		"no typ":                            with(object{"h:typ": nil}),
		"the typ of an access token":        with(object{"h:typ": "at+jwt"}),
		"a typ that isn't text":             with(object{"h:typ": 7}),
		"critical extensions":               with(object{"h:crit": []string{"b64"}}),
		"no jwk":                            with(object{"h:jwk": nil}),
		"a jwk that is text":                with(object{"h:jwk": "{}"}),
		"an empty jwk":                      with(object{"h:jwk": object{}}),
		"another's jwk":                     with(object{"h:jwk": other.jwk()}),
		"a private jwk":                     with(object{"h:jwk": private}),
		"a symmetric jwk":                   with(object{"h:jwk": object{"kty": "oct", "k": "c2VjcmV0"}}),
		"a jwk of an unknown type":          with(object{"h:jwk": object{"kty": "XYZ"}}),
		"a point that isn't on the curve":   with(object{"h:jwk": offCurve}),
		"an RSA key of 1024 bits":           {weak.proof()},
		"a key by reference":                with(object{"h:jwk": nil, "h:jku": "https://evil.test/jwks", "h:kid": "one"}),
		"no jti":                            with(object{"jti": nil}),
		"an empty jti":                      with(object{"jti": ""}),
		"a jti of 257 bytes":                with(object{"jti": strings.Repeat("x", 257)}),
		"a jti that is a number":            with(object{"jti": 7}),
		"another method":                    with(object{"htm": "POST"}),
		"a method in another case":          with(object{"htm": "get"}),
		"no method":                         with(object{"htm": nil}),
		"another path":                      with(object{"htu": target + "x"}),
		"a path with a slash more":          with(object{"htu": target + "/"}),
		"a path in another case":            with(object{"htu": strings.Replace(target, "/xrpc", "/XRPC", 1)}),
		"another host":                      with(object{"htu": "https://evil.test/xrpc/com.atproto.server.getSession"}),
		"another scheme":                    with(object{"htu": strings.Replace(target, "https", "http", 1)}),
		"another port":                      with(object{"htu": strings.Replace(target, "pds.test", "pds.test:444", 1)}),
		"a user in the URL":                 with(object{"htu": strings.Replace(target, "pds.test", "pds.test@evil.test", 1)}),
		"a query":                           with(object{"htu": target + "?a=b"}),
		"an empty query":                    with(object{"htu": target + "?"}),
		"a fragment":                        with(object{"htu": target + "#a"}),
		"a relative URL":                    with(object{"htu": "/xrpc/com.atproto.server.getSession"}),
		"no URL":                            with(object{"htu": nil}),
		"no ath":                            with(object{"ath": nil}),
		"the ath of another token":          with(object{"ath": dpop.Hash("another")}),
		"the token itself as ath":           with(object{"ath": access}),
		"no iat":                            with(object{"iat": nil}),
		"an iat that is text":               with(object{"iat": "1767268830"}),
		"an iat of more than a minute ago":  with(object{"iat": now.Unix() - 61}),
		"an iat in more than a minute":      with(object{"iat": now.Unix() + 61}),
		"an iat that overflows":             with(object{"iat": 1e300}),
		"an iat that overflows backwards":   with(object{"iat": -1e300}),
		"an exp that has passed":            with(object{"exp": now.Unix() - 61}),
		"an nbf that is to come":            with(object{"nbf": now.Unix() + 61}),
		"an exp that is text":               with(object{"exp": "never"}),
		"a header that is too long":         with(object{"h:x": strings.Repeat("x", 8<<10)}),
		"claims that are too long":          with(object{"x": strings.Repeat("x", 8<<10)}),
		"claims nested deeply":              {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat(`{"a":`, 1000))) + "." + parts[2]},
		"nothing good, with a stale nonce":  with(object{"ath": "x", "nonce": "x"}),
		"another method, without any nonce": with(object{"htm": "POST", "nonce": nil}),
	} {
		p, err := dpop.Verify(headers, check())
		var text interface{ PublicMessage() string }
		if !errors.Is(err, dpop.ErrProof) || errors.Is(err, dpop.ErrNonce) || p != nil || !errors.As(err, &text) || text.PublicMessage() == "" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

func TestGoodProofs(t *testing.T) {
	c := p256(t)
	for name, change := range map[string]object{
		"as it should be":                   {},
		"a type in capitals":                {"h:typ": "DPoP+JWT"},
		"a jti of 256 bytes":                {"jti": strings.Repeat("x", 256)},
		"a jti of any text":                 {"jti": "\u0000 \u2028é"},
		"a minute old":                      {"iat": now.Unix() - 60},
		"a minute ahead":                    {"iat": now.Unix() + 60},
		"fractions of a second":             {"iat": float64(now.Unix()) + 0.5},
		"an exp and an nbf":                 {"exp": now.Unix() + 10, "nbf": now.Unix() - 10},
		"a default port":                    {"htu": strings.Replace(target, "pds.test", "pds.test:443", 1)},
		"an empty port":                     {"htu": strings.Replace(target, "pds.test", "pds.test:", 1)},
		"a host and scheme in capitals":     {"htu": strings.Replace(target, "https://pds.test", "HTTPS://PDS.Test", 1)},
		"needless percent-encoding":         {"htu": strings.Replace(target, "com.atproto", "%63om%2Eatproto", 1)},
		"dots in the path":                  {"htu": strings.Replace(target, "/xrpc/", "/a/../xrpc/./", 1)},
		"claims that aren't known":          {"x": object{"y": []int{1}}},
		"members of the header not known":   {"h:x": "y"},
		"the nonce of a minute ago":         {"nonce": nonces.Current(now.Add(-time.Minute))},
		"the nonce of two minutes ago":      {"nonce": nonces.Current(now.Add(-2 * time.Minute))},
		"the nonce of a clock that's ahead": {"nonce": nonces.Current(now.Add(time.Minute))},
	} {
		if p, err := dpop.Verify([]string{c.proof(change)}, check()); err != nil || p.Key != c.thumbprint() {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	for name, url := range map[string]string{"a query": target + "?a=b#c", "a fragment": target + "#c"} {
		wanted := check()
		wanted.URL = url
		if _, err := dpop.Verify([]string{c.proof()}, wanted); err != nil {
			t.Errorf("a request with %s: %v", name, err)
		}
	}
	root := check()
	root.URL = "https://pds.test"
	if _, err := dpop.Verify([]string{c.proof(object{"htu": "https://pds.test/"})}, root); err != nil {
		t.Errorf("the root: %v", err)
	}
	plain := check()
	plain.Nonces = nil
	if _, err := dpop.Verify([]string{c.proof(object{"nonce": nil})}, plain); err != nil {
		t.Errorf("where no nonces are asked for: %v", err)
	}
}

func TestNonces(t *testing.T) {
	c := p256(t)
	for name, nonce := range map[string]any{
		"none": nil, "an empty one": "", "a made-up one": "x", "a number": 7,
		"one of three minutes ago": nonces.Current(now.Add(-3 * time.Minute)), "one of two minutes ahead": nonces.Current(now.Add(2 * time.Minute)),
		"one of another secret": dpop.NewNonces(make([]byte, 32)).Current(now),
	} {
		for token, who := range map[string]string{access: "Resource", "": "Authorization"} {
			wanted := check()
			wanted.AccessToken = token
			_, err := dpop.Verify([]string{c.proof(object{"nonce": nonce})}, wanted)
			if !errors.Is(err, dpop.ErrNonce) || errors.Is(err, dpop.ErrProof) || !strings.HasPrefix(err.Error(), who) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	// A process that was restarted, or another one.
	again := dpop.NewNonces([]byte("0123456789abcdef0123456789abcdef"))
	if !again.Good(nonces.Current(now), now.Add(2*time.Minute)) || again.Good("", now) {
		t.Error("another process with the secret doesn't take the nonce")
	}
	if first := nonces.Current(now); first == nonces.Current(now.Add(time.Minute)) || len(first) != 43 {
		t.Errorf("the nonce %q stays", first)
	}
}

func TestProofsAreToldApart(t *testing.T) {
	one, err := dpop.Verify([]string{p256(t).proof()}, check())
	if err != nil {
		t.Fatal(err)
	}
	two, err := dpop.Verify([]string{p256(t).proof()}, check())
	if err != nil {
		t.Fatal(err)
	}
	if one.Once() == two.Once() {
		t.Error("the proofs of two keys with one jti are the same")
	}
	late := check()
	late.Now, late.Nonces = one.Expires(), nil
	c := p256(t)
	if _, err := dpop.Verify([]string{c.proof()}, late); !errors.Is(err, dpop.ErrProof) {
		t.Errorf("a proof is taken after it was forgotten: %v", err)
	}
}
