package client_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-at/gatehouse/oauth/client"
)

func requestClaims(now time.Time) with {
	return with{
		"iss": appID, "aud": issuer, "jti": "id1", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "client_id": appID, "response_type": "code", "state": "x", "max_age": 5,
	}
}

func TestRequestObjects(t *testing.T) {
	key := newSigner(t, "k")
	for name, doc := range map[string]string{
		"confidential": confidential(t, with{"jwks": set(t, key)}), "public": document(t, with{"jwks": set(t, key)}),
		"of its algorithm":  document(t, with{"jwks": set(t, key), "request_object_signing_alg": "ES256"}),
		"declared unsigned": document(t, with{"jwks": set(t, key), "request_object_signing_alg": "none"}),
	} {
		r, n, at := newRegistry(t, nil)
		n.docs[appID] = doc
		c, err := r.Get(ctx, appID)
		if err != nil {
			t.Fatal(err)
		}
		for kind, changes := range map[string]with{"usual": nil, "without iat": {"iat": nil}, "with a subject": {"sub": "did:plc:x"}} {
			for _, header := range []with{nil, {"typ": "oauth-authz-req+jwt"}, {"typ": nil, "kid": nil}} {
				claims, id, expires, err := r.VerifyRequestObject(ctx, c, token(t, key, requestClaims(at.now), changes, header))
				if err != nil || id != "id1" || expires.Before(at.now) || expires.After(at.now.Add(10*time.Minute)) ||
					claims["state"] != "x" || claims["client_id"] != appID || claims["max_age"] != 5.0 {
					t.Errorf("%s, %s: %v, %s, %v, %v", name, kind, claims, id, expires.Sub(at.now), err)
				}
			}
		}
	}
}

func TestRequestObjectsThatAreRefused(t *testing.T) {
	key := newSigner(t, "k")
	r, n, at := newRegistry(t, nil)
	n.docs[appID] = document(t, with{"jwks": set(t, key), "request_object_signing_alg": "ES256"})
	c, err := r.Get(ctx, appID)
	if err != nil {
		t.Fatal(err)
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims(requestClaims(at.now))).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(changes, header with) string { return token(t, key, requestClaims(at.now), changes, header) }
	for name, o := range map[string]struct{ object, want string }{
		"unsigned":                  {none, `its alg is "none"`},
		"a word":                    {"x", "it isn't a signed JWT"},
		"encrypted":                 {"a.b.c.d.e", "it isn't a signed JWT"},
		"another's key":             {token(t, newSigner(t, "k"), requestClaims(at.now), nil, nil), "its signature isn't right"},
		"an assertion":              {token(t, key, assertionClaims(at.now), nil, nil), "its sub must not be the client_id"},
		"a subject of another type": {changed(with{"sub": 7}, nil), "its sub"},
		"a DPoP proof":              {changed(nil, with{"typ": "dpop+jwt"}), "its typ"},
		"an assertion by typ":       {changed(nil, with{"typ": "client-authentication+jwt"}), "its typ"},
		"another issuer":            {changed(with{"iss": "https://bank.example.com/client.json"}, nil), "its iss must be the client_id"},
		"for another server":        {changed(with{"aud": "https://other.example.com"}, nil), "its aud must be the issuer"},
		"no jti":                    {changed(with{"jti": nil}, nil), "its jti must be"},
		"no exp":                    {changed(with{"exp": nil}, nil), "exp is required"},
		"expired":                   {changed(with{"exp": at.now.Add(-time.Minute).Unix()}, nil), "it has expired"},
		"issued long ago":           {changed(with{"iat": at.now.Add(-6 * time.Minute).Unix()}, nil), "it was issued more than 5m0s ago"},
		"good for long":             {changed(with{"iat": nil, "exp": at.now.Add(time.Hour).Unix()}, nil), "its exp is more than 5m0s ahead"},
		"not in force yet":          {changed(with{"nbf": at.now.Add(time.Hour).Unix()}, nil), "it isn't in force yet"},
		"huge":                      {changed(with{"x": strings.Repeat("a", client.MaxDocument)}, nil), "it has more than"},
	} {
		if claims, _, _, err := r.VerifyRequestObject(ctx, c, o.object); !errors.Is(err, client.ErrRequestObject) || !strings.Contains(message(err), o.want) {
			t.Errorf("%s: %v, %v; want %q", name, claims, err, o.want)
		}
	}
	// A client without keys has none.
	at.add(time.Hour)
	n.docs[appID] = document(t, nil)
	for _, id := range []string{appID, "http://localhost"} {
		if c, err = r.Get(ctx, id); err != nil {
			t.Fatal(err)
		}
		_, _, _, err = r.VerifyRequestObject(ctx, c, changed(with{"iss": id, "iat": at.now.Unix(), "exp": at.now.Unix()}, nil))
		expectError(t, err, client.ErrRequestObject, "there is no key for ES256")
	}
}

func TestRequestObjectsOfTheDeclaredAlgorithm(t *testing.T) {
	key := newSigner(t, "k")
	r, n, at := newRegistry(t, nil)
	n.docs[appID] = document(t, with{"jwks": set(t, key), "request_object_signing_alg": "RS256"})
	c, err := r.Get(ctx, appID)
	if err != nil {
		t.Fatal(err)
	}
	_, _, _, err = r.VerifyRequestObject(ctx, c, token(t, key, requestClaims(at.now), nil, nil))
	expectError(t, err, client.ErrRequestObject, "its alg is ES256, and the request_object_signing_alg of the client is RS256")
}
