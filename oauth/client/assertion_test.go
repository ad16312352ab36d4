package client_test

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-at/gatehouse/internal/jwks"
	"github.com/gatehouse-at/gatehouse/oauth/client"
)

// token is a JWT of a signer, with changes to claims and header; nil removes.
func token(t *testing.T, by signer, claims, changes, header with) string {
	t.Helper()
	all := jwt.MapClaims{}
	maps.Copy(all, jwt.MapClaims(claims))
	maps.Copy(all, jwt.MapClaims(changes))
	j := jwt.NewWithClaims(jwt.SigningMethodES256, all)
	if by.id != "" {
		j.Header["kid"] = by.id
	}
	maps.Copy(j.Header, header)
	for name, value := range all {
		if value == nil {
			delete(all, name)
		}
	}
	for name, value := range j.Header {
		if value == nil {
			delete(j.Header, name)
		}
	}
	s, err := j.SignedString(by.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func assertionClaims(now time.Time) with {
	return with{"iss": appID, "sub": appID, "aud": issuer, "jti": "id1", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
}

func thumbprint(t *testing.T, k signer) string {
	t.Helper()
	keys, err := jwks.Parse(set(t, k))
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	return keys[0].Thumbprint
}

func credentials(assertion string) client.Credentials {
	return client.Credentials{ClientID: appID, AssertionType: client.AssertionType, Assertion: assertion}
}

func TestAPublicClient(t *testing.T) {
	r, n, at := newRegistry(t, nil)
	n.docs[appID] = document(t, nil)
	a, err := r.Authenticate(ctx, client.Credentials{ClientID: appID})
	if err != nil || a.Client.ID != appID || a.Key != "" || a.AssertionID != "" || !a.Expires.IsZero() {
		t.Errorf("got %+v, %v", a, err)
	}
	_, err = r.Authenticate(ctx, credentials(token(t, newSigner(t, "k"), assertionClaims(at.now), nil, nil)))
	expectError(t, err, client.ErrInvalidClient, "its token_endpoint_auth_method is none")
	_, err = r.Authenticate(ctx, client.Credentials{})
	expectError(t, err, client.ErrInvalidClient, "client_id is missing")
	_, err = r.Authenticate(ctx, client.Credentials{ClientID: "https://app.example.com/none.json"})
	expectError(t, err, client.ErrInvalidMetadata, "404")
	if a, err := r.Authenticate(ctx, client.Credentials{ClientID: "http://localhost"}); err != nil || !a.Client.Local {
		t.Errorf("a development client: %+v, %v", a, err)
	}
}

func TestAConfidentialClient(t *testing.T) {
	key, other := newSigner(t, "k"), newSigner(t, "other")
	const elsewhere = "https://keys.example.net/jwks"
	for name, doc := range map[string]string{"jwks": confidential(t, with{"jwks": set(t, other, key)}), "jwks_uri": confidential(t, with{"jwks_uri": elsewhere})} {
		r, n, at := newRegistry(t, nil)
		n.docs[appID], n.docs[elsewhere] = doc, string(set(t, other, key))
		for header, h := range map[string]with{
			"usual": nil, "without a kid": {"kid": nil}, "without a typ": {"typ": nil}, "with its own typ": {"typ": "client-authentication+jwt"}, "with a long typ": {"typ": "application/JWT"},
		} {
			for claims, c := range map[string]with{
				"usual": nil, "several audiences": {"aud": []string{"https://other.example.com", issuer}}, "issued 1 minute ago": {"iat": at.now.Add(-time.Minute).Unix()},
				"a clock that is slow":   {"iat": at.now.Add(-119 * time.Second).Unix(), "exp": at.now.Add(-59 * time.Second).Unix()},
				"a clock that is fast":   {"iat": at.now.Add(time.Minute).Unix(), "nbf": at.now.Add(time.Minute).Unix(), "exp": at.now.Add(2 * time.Minute).Unix()},
				"a fraction of a second": {"iat": float64(at.now.Unix()) - 0.5}, "a long life": {"exp": at.now.Add(24 * time.Hour).Unix()},
			} {
				a, err := r.Authenticate(ctx, credentials(token(t, key, assertionClaims(at.now), c, h)))
				if err != nil || a.Client.ID != appID || !a.Client.Confidential() || a.Key != thumbprint(t, key) || a.AssertionID != "id1" {
					t.Errorf("%s, %s, %s: %+v, %v", name, header, claims, a, err)
					continue
				}
				// What remembers the jti until then has to hold out as long as the assertion is good.
				if a.Expires.Before(at.now) || a.Expires.After(at.now.Add(3*time.Minute)) {
					t.Errorf("%s, %s, %s: expires %v", name, header, claims, a.Expires.Sub(at.now))
				}
				later := *at
				at.now = a.Expires
				if _, err := r.Authenticate(ctx, credentials(token(t, key, assertionClaims(later.now), c, h))); !errors.Is(err, client.ErrInvalidClient) {
					t.Errorf("%s, %s, %s: good after it has expired: %v", name, header, claims, err)
				}
				*at = later
			}
		}
	}
}

// TestAssertionsThatAreRefused has each way in which an assertion isn't one.
func TestAssertionsThatAreRefused(t *testing.T) {
	key, foreign := newSigner(t, "k"), newSigner(t, "k")
	r, n, at := newRegistry(t, nil)
	n.docs[appID] = confidential(t, with{"jwks": set(t, key)})
	good := token(t, key, assertionClaims(at.now), nil, nil)
	parts := strings.Split(good, ".")
	hs, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(assertionClaims(at.now))).SignedString([]byte(set(t, key)))
	if err != nil {
		t.Fatal(err)
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims(assertionClaims(at.now))).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		credentials client.Credentials
		want        string
	}{
		"none":                         {client.Credentials{ClientID: appID}, "client_assertion is missing"},
		"a type alone":                 {client.Credentials{ClientID: appID, AssertionType: client.AssertionType}, "client_assertion is missing"},
		"no type":                      {client.Credentials{ClientID: appID, Assertion: good}, "client_assertion_type must be"},
		"a SAML type":                  {client.Credentials{ClientID: appID, AssertionType: "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", Assertion: good}, "client_assertion_type must be"},
		"a word":                       {credentials("secret"), "it isn't a signed JWT"},
		"no signature":                 {credentials(none), `its alg is "none"`},
		"a signature with public data": {credentials(hs), `its alg is "HS256"`},
		"another signature":            {credentials(parts[0] + "." + parts[1] + "." + strings.Repeat("A", 86)), "its signature isn't right"},
		"another's key":                {credentials(token(t, foreign, assertionClaims(at.now), nil, nil)), "its signature isn't right"},
		"an unknown kid":               {credentials(token(t, key, assertionClaims(at.now), nil, with{"kid": "x"})), `there is no key for ES256 with the kid "x"`},
		"a key of its own":             {credentials(token(t, foreign, assertionClaims(at.now), nil, with{"kid": nil, "jwk": json.RawMessage(`{}`)})), "its signature isn't right"},
		"an extension":                 {credentials(token(t, key, assertionClaims(at.now), nil, with{"crit": []string{"exp"}})), "crit"},
		"a DPoP proof":                 {credentials(token(t, key, assertionClaims(at.now), nil, with{"typ": "dpop+jwt"})), `its typ is "dpop+jwt"`},
		"a request object":             {credentials(token(t, key, assertionClaims(at.now), nil, with{"typ": "oauth-authz-req+jwt"})), "its typ is"},
		"another issuer":               {credentials(token(t, key, assertionClaims(at.now), with{"iss": "https://bank.example.com/client.json"}, nil)), "its iss must be the client_id"},
		"no issuer":                    {credentials(token(t, key, assertionClaims(at.now), with{"iss": nil}, nil)), "its iss must be the client_id"},
		"another subject":              {credentials(token(t, key, assertionClaims(at.now), with{"sub": "did:plc:x"}, nil)), "its sub must be the client_id"},
		"no subject":                   {credentials(token(t, key, assertionClaims(at.now), with{"sub": nil}, nil)), "its sub must be the client_id"},
		"for another server":           {credentials(token(t, key, assertionClaims(at.now), with{"aud": "https://other.example.com"}, nil)), "its aud must be the issuer of this server, https://pds.example.com"},
		"for the token endpoint":       {credentials(token(t, key, assertionClaims(at.now), with{"aud": issuer + "/oauth/token"}, nil)), "its aud must be"},
		"for nobody":                   {credentials(token(t, key, assertionClaims(at.now), with{"aud": nil}, nil)), "its aud must be"},
		"no jti":                       {credentials(token(t, key, assertionClaims(at.now), with{"jti": nil}, nil)), "its jti must be"},
		"an empty jti":                 {credentials(token(t, key, assertionClaims(at.now), with{"jti": ""}, nil)), "its jti must be"},
		"a long jti":                   {credentials(token(t, key, assertionClaims(at.now), with{"jti": strings.Repeat("a", 257)}, nil)), "its jti must be"},
		"a jti of another type":        {credentials(token(t, key, assertionClaims(at.now), with{"jti": 7}, nil)), "its jti must be"},
		"no exp":                       {credentials(token(t, key, assertionClaims(at.now), with{"exp": nil}, nil)), "exp is required"},
		"no iat":                       {credentials(token(t, key, assertionClaims(at.now), with{"iat": nil}, nil)), "iat is required"},
		"expired":                      {credentials(token(t, key, assertionClaims(at.now), with{"exp": at.now.Add(-time.Minute).Unix()}, nil)), "it has expired"},
		"not in force yet":             {credentials(token(t, key, assertionClaims(at.now), with{"nbf": at.now.Add(61 * time.Second).Unix()}, nil)), "it isn't in force yet"},
		"issued long ago":              {credentials(token(t, key, assertionClaims(at.now), with{"iat": at.now.Add(-2 * time.Minute).Unix()}, nil)), "it was issued more than 1m0s ago"},
		"issued in the future":         {credentials(token(t, key, assertionClaims(at.now), with{"iat": at.now.Add(61 * time.Second).Unix()}, nil)), "it was issued in the future"},
		"times in words":               {credentials(token(t, key, assertionClaims(at.now), with{"exp": "tomorrow"}, nil)), "exp must be a time in seconds"},
		"huge":                         {credentials(token(t, key, assertionClaims(at.now), with{"x": strings.Repeat("a", 8192)}, nil)), "it has more than 8192 bytes"},
	} {
		a, err := r.Authenticate(ctx, c.credentials)
		if !errors.Is(err, client.ErrInvalidClient) || !strings.Contains(message(err), c.want) {
			t.Errorf("%s: %+v, %v; want %q", name, a, err, c.want)
		}
	}
	if n.asked[appID] > 2 {
		t.Errorf("the document was fetched %d times, because of assertions that anybody can make", n.asked[appID])
	}
}

func TestTheAlgorithmIsTheDeclaredOne(t *testing.T) {
	key := newSigner(t, "k")
	r, n, at := newRegistry(t, nil)
	n.docs[appID] = confidential(t, with{"jwks": set(t, key), "token_endpoint_auth_signing_alg": "ES384"})
	_, err := r.Authenticate(ctx, credentials(token(t, key, assertionClaims(at.now), nil, nil)))
	expectError(t, err, client.ErrInvalidClient, "its alg is ES256, and the token_endpoint_auth_signing_alg of the client is ES384")
}

// TestKeysAreRotated: a new key is found at its first use, also while the old set is cached, and an
// old one is refused when the set has been fetched anew.
func TestKeysAreRotated(t *testing.T) {
	before, after := newSigner(t, "before"), newSigner(t, "after")
	const elsewhere = "https://app.example.com/jwks"
	for name, publish := range map[string]func(n *network, keys ...signer){
		"jwks": func(n *network, keys ...signer) { n.docs[appID] = confidential(t, with{"jwks": set(t, keys...)}) },
		"jwks_uri": func(n *network, keys ...signer) {
			n.docs[appID], n.docs[elsewhere] = confidential(t, with{"jwks_uri": elsewhere}), string(set(t, keys...))
		},
	} {
		r, n, at := newRegistry(t, nil)
		use := func(k signer) error {
			a, err := r.Authenticate(ctx, credentials(token(t, k, assertionClaims(at.now), nil, nil)))
			if err == nil && a.Key != thumbprint(t, k) {
				t.Errorf("%s: the key is %s", name, a.Key)
			}
			return err
		}
		publish(n, before)
		if err := use(before); err != nil {
			t.Fatal(err)
		}
		publish(n, before, after)
		at.add(30 * time.Second)
		if err := use(after); err != nil {
			t.Errorf("%s: a new key: %v", name, err)
		}
		publish(n, after)
		at.add(10 * time.Minute)
		expectError(t, use(before), client.ErrInvalidClient, `there is no key for ES256 with the kid "before"`)
		if err := use(after); err != nil {
			t.Errorf("%s: the remaining key: %v", name, err)
		}
		// While the set can't be fetched, the known keys are good, and nothing is said about others.
		n.errs[appID], n.errs[elsewhere] = errOutage, errOutage
		at.add(time.Hour)
		if err := use(after); err != nil {
			t.Errorf("%s: during an outage: %v", name, err)
		}
		if err := use(before); !errors.Is(err, client.ErrUnreachable) || errors.Is(err, client.ErrInvalidClient) {
			t.Errorf("%s: an unknown key during an outage: %v", name, err)
		}
	}
}

// TestAClientThatHasBecomePublic: what its former key signs is no authentication.
func TestAClientThatHasBecomePublic(t *testing.T) {
	key := newSigner(t, "k")
	r, n, at := newRegistry(t, nil)
	n.docs[appID] = confidential(t, with{"jwks": set(t)})
	n.docs[appID] = confidential(t, with{"jwks": set(t, newSigner(t, "other"))})
	if _, err := r.Get(ctx, appID); err != nil {
		t.Fatal(err)
	}
	n.docs[appID] = document(t, with{"jwks": set(t, key)})
	at.add(time.Minute)
	_, err := r.Authenticate(ctx, credentials(token(t, key, assertionClaims(at.now), nil, nil)))
	expectError(t, err, client.ErrInvalidClient, "its token_endpoint_auth_method is none")
}

// TestHasKey: a key is gone when the document says so, and not when the cache does.
func TestHasKey(t *testing.T) {
	before, after := newSigner(t, "before"), newSigner(t, "after")
	const elsewhere = "https://app.example.com/jwks"
	for name, publish := range map[string]func(n *network, keys ...signer){
		"jwks": func(n *network, keys ...signer) { n.docs[appID] = confidential(t, with{"jwks": set(t, keys...)}) },
		"jwks_uri": func(n *network, keys ...signer) {
			n.docs[appID], n.docs[elsewhere] = confidential(t, with{"jwks_uri": elsewhere}), string(set(t, keys...))
		},
	} {
		r, n, at := newRegistry(t, nil)
		publish(n, before)
		has := func(k signer, want bool, wantErr error) {
			t.Helper()
			c, err := r.Get(ctx, appID)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := r.HasKey(ctx, c, thumbprint(t, k)); got != want || !errors.Is(err, wantErr) {
				t.Errorf("%s: %v, %v; want %v, %v", name, got, err, want, wantErr)
			}
		}
		has(before, true, nil)
		has(after, false, nil)
		publish(n, before, after) // another process has seen it already
		has(after, true, nil)
		n.errs[appID], n.errs[elsewhere] = errOutage, errOutage
		has(after, true, nil)
		has(newSigner(t, "x"), false, client.ErrUnreachable)
		delete(n.errs, appID)
		delete(n.errs, elsewhere)
		publish(n, after)
		at.add(10 * time.Minute)
		has(before, false, nil)
		n.docs[appID] = document(t, with{"jwks": set(t, after)}) // no longer confidential
		at.add(10 * time.Minute)
		has(before, false, nil)
	}
}
