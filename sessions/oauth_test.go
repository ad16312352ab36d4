package sessions_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/internal/jws"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/sessions/dpop"
	"github.com/gatehouse-at/gatehouse/storage"
)

const (
	app       = "https://app.test/client.json"
	resource  = "http://pds.test/xrpc/com.example.method"
	everybody = "atproto transition:generic"
)

// oauthTest is services with OAuth sessions, and a client of them.
type oauthTest struct {
	*domaintest.Services
	t      testing.TB
	client *domaintest.Prover
}

func newOAuth(t testing.TB, change ...func(*domaintest.Config)) *oauthTest {
	t.Helper()
	s := domaintest.New(t, append([]func(*domaintest.Config){domaintest.WithOAuth(t)}, change...)...)
	return &oauthTest{s, t, domaintest.NewProver(t)}
}

func (o *oauthTest) grant(change ...func(*sessions.OAuthGrant)) sessions.OAuthGrant {
	g := sessions.OAuthGrant{
		Client: sessions.Client{ID: app, Key: o.client.Key, Scope: "atproto"}, Method: "password", Scope: everybody,
		RefreshLifetime: 7 * 24 * time.Hour, Lifetime: 14 * 24 * time.Hour,
	}
	for _, c := range change {
		c(&g)
	}
	return g
}

func (o *oauthTest) tryOpen(did syntax.DID, g sessions.OAuthGrant) (*sessions.OAuthTokens, error) {
	var i *sessions.Issue
	err := o.Store.Update(ctx, func(tx storage.Tx) error {
		a, err := accounts.GetTx(tx, did)
		if err != nil {
			return err
		}
		i, err = o.Sessions.OpenOAuthTx(tx, a, g)
		return err
	})
	if err != nil {
		return nil, err
	}
	return o.Sessions.SignOAuth(i)
}

func (o *oauthTest) open(did syntax.DID, change ...func(*sessions.OAuthGrant)) *sessions.OAuthTokens {
	o.t.Helper()
	k, err := o.tryOpen(did, o.grant(change...))
	if err != nil {
		o.t.Fatal(err)
	}
	return k
}

func (o *oauthTest) verify(k *sessions.OAuthTokens, permissions ...sessions.Permission) (*sessions.Auth, error) {
	o.t.Helper()
	return o.Sessions.Verify(ctx, o.client.Request(o.Sessions, "GET", resource, k.AccessToken, o.Now()), permissions...)
}

func (o *oauthTest) refreshAs(token, key, narrow, expanded string) (*sessions.OAuthTokens, error) {
	var i *sessions.Issue
	err := storage.Decide(ctx, o.Store, func(tx storage.Tx) (refused, err error) {
		i, refused, err = o.Sessions.RefreshOAuthTx(tx, token, key, narrow, expanded)
		return refused, err
	})
	if err != nil {
		return nil, err
	}
	return o.Sessions.SignOAuth(i)
}

func (o *oauthTest) refresh(token string) (*sessions.OAuthTokens, error) {
	return o.refreshAs(token, o.client.Key, "", "")
}

func (o *oauthTest) find(token string) (*sessions.Session, error) {
	var found *sessions.Session
	err := o.Store.View(ctx, func(tx storage.Tx) (err error) {
		found, err = o.Sessions.FindOAuthTx(tx, o.Sessions.ParseOAuth(token))
		return err
	})
	return found, err
}

func TestOAuthSession(t *testing.T) {
	o := newOAuth(t)
	alice := o.SignUp("alice").Account
	k := o.open(alice.DID)
	if k.ExpiresIn != 30*time.Minute || k.Scope != everybody || k.Account.DID != alice.DID {
		t.Errorf("%+v", k)
	}
	parsed, err := jws.Parse(k.AccessToken, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	exp := float64(o.Now().Add(30 * time.Minute).Unix())
	for claim, want := range map[string]any{
		"iss": "http://pds.test", "aud": "did:web:pds.test", "sub": alice.DID.String(), "client_id": app, "scope": everybody,
		"iat": float64(o.Now().Unix()), "exp": exp, "sid": k.Session.ID,
	} {
		if got := parsed.Claims[claim]; got != want {
			t.Errorf("%s is %v, not %v", claim, got, want)
		}
	}
	if !parsed.IsType("at+jwt") || parsed.Alg() != "ES256" || parsed.Kid() != "one" || len(parsed.Text("jti")) != 26 ||
		parsed.Claims["cnf"].(map[string]any)["jkt"] != o.client.Key {
		t.Errorf("%v %v", parsed.Header, parsed.Claims)
	}
	auth, err := o.verify(k, sessions.UseAccount, "repo:app.bsky.feed.post")
	if err != nil || auth.Account.DID != alice.DID || auth.Session.ID != k.Session.ID || auth.Client.ID != app || auth.Scope != everybody {
		t.Errorf("%+v, %v", auth, err)
	}
	list, err := o.Sessions.List(ctx, alice.DID)
	if err != nil || len(list) != 2 || list[0].Client == nil && list[1].Client == nil {
		t.Errorf("it isn't among the sessions: %+v, %v", list, err)
	}
}

func TestOpenOAuthRefuses(t *testing.T) {
	o := newOAuth(t)
	did := o.SignUp("alice").Account.DID
	for name, change := range map[string]func(*sessions.OAuthGrant){
		"a scope without atproto": func(g *sessions.OAuthGrant) { g.Scope = "transition:generic" },
		"no scope":                func(g *sessions.OAuthGrant) { g.Scope = "" },
		"no client":               func(g *sessions.OAuthGrant) { g.Client.ID = "" },
		"no key":                  func(g *sessions.OAuthGrant) { g.Client.Key = "" },
		"no lifetime":             func(g *sessions.OAuthGrant) { g.Lifetime = 0 },
		"no lifetime of tokens":   func(g *sessions.OAuthGrant) { g.RefreshLifetime = 0 },
	} {
		if _, err := o.tryOpen(did, o.grant(change)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := o.Accounts.TakeDown(ctx, did, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := o.tryOpen(did, o.grant()); !errors.Is(err, sessions.ErrAccountTakedown) {
		t.Errorf("an account that is taken down: %v", err)
	}
	off := &oauthTest{domaintest.New(t), t, o.client}
	did = off.SignUp("alice").Account.DID
	if _, err := off.tryOpen(did, off.grant()); err == nil {
		t.Error("without OAuth: no error")
	}
	if off.Sessions.Nonce() != "" || off.Sessions.Nonces() != nil {
		t.Error("nonces without OAuth")
	}
}

// TestOAuthVerifyRefuses: every way in which a request with a bound token isn't good.
func TestOAuthVerifyRefuses(t *testing.T) {
	o := newOAuth(t)
	tokens := o.SignUp("alice")
	did := tokens.Account.DID
	k := o.open(did)
	other, mallory := newOAuth(t), domaintest.NewProver(t)
	foreign := other.open(other.SignUp("alice").Account.DID)
	good := func() sessions.Request { return o.client.Request(o.Sessions, "GET", resource, k.AccessToken, o.Now()) }
	with := func(change func(*sessions.Request)) sessions.Request {
		r := good()
		change(&r)
		return r
	}
	of := func(token string) sessions.Request {
		return o.client.Request(o.Sessions, "GET", resource, token, o.Now())
	}
	proof := func(changes map[string]any) sessions.Request {
		return with(func(r *sessions.Request) {
			r.Proofs = []string{o.client.Proof("GET", resource, k.AccessToken, o.Sessions.Nonce(), o.Now(), changes)}
		})
	}
	// forge signs the claims of the token again, changed.
	forge := func(method jwt.SigningMethod, key any, header map[string]any, claims map[string]any) sessions.Request {
		parsed, err := jws.Parse(k.AccessToken, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		token := jwt.NewWithClaims(method, jwt.MapClaims(parsed.Claims))
		token.Header["typ"], token.Header["kid"] = "at+jwt", "one"
		for name, v := range header {
			token.Header[name] = v
		}
		for name, v := range claims {
			token.Claims.(jwt.MapClaims)[name] = v
		}
		raw, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return of(raw)
	}
	ours := o.keys(t)
	for name, c := range map[string]struct {
		r    sessions.Request
		want error
	}{
		"a bound token as a bearer token":     {sessions.Bearer(k.AccessToken), sessions.ErrInvalidToken},
		"a bearer token as a bound one":       {of(tokens.AccessJWT), sessions.ErrBoundToken},
		"a refresh token":                     {of(k.RefreshToken), sessions.ErrBoundToken},
		"a bearer refresh token":              {of(tokens.RefreshJWT), sessions.ErrBoundToken},
		"junk":                                {of("junk"), sessions.ErrBoundToken},
		"no token":                            {of(""), sessions.ErrBoundToken},
		"no proof":                            {with(func(r *sessions.Request) { r.Proofs = nil }), dpop.ErrProof},
		"two proofs":                          {with(func(r *sessions.Request) { r.Proofs = append(r.Proofs, r.Proofs[0]) }), dpop.ErrProof},
		"another method":                      {with(func(r *sessions.Request) { r.Method = "POST" }), dpop.ErrProof},
		"another URL":                         {with(func(r *sessions.Request) { r.URL += "x" }), dpop.ErrProof},
		"a proof without ath":                 {proof(map[string]any{"ath": nil}), dpop.ErrProof},
		"a proof for another token":           {with(func(r *sessions.Request) { r.Token = foreign.AccessToken }), dpop.ErrProof},
		"a proof without a nonce":             {proof(map[string]any{"nonce": nil}), dpop.ErrNonce},
		"a proof with another server's nonce": {proof(map[string]any{"nonce": other.Sessions.Nonce()}), dpop.ErrNonce},
		"another key":                         {mallory.Request(o.Sessions, "GET", resource, k.AccessToken, o.Now()), sessions.ErrBoundToken},
		"another server's token":              {of(foreign.AccessToken), sessions.ErrBoundToken},
		"another key under its kid":           {forge(jwt.SigningMethodES256, domaintest.NewP256(t), nil, nil), sessions.ErrBoundToken},
		"an unknown kid":                      {forge(jwt.SigningMethodES256, ours, map[string]any{"kid": "two"}, nil), sessions.ErrBoundToken},
		"no kid":                              {forge(jwt.SigningMethodES256, ours, map[string]any{"kid": 1}, nil), sessions.ErrBoundToken},
		"another typ":                         {forge(jwt.SigningMethodES256, ours, map[string]any{"typ": "JWT"}, nil), sessions.ErrBoundToken},
		"the public key as a secret":          {forge(jwt.SigningMethodHS256, []byte("secret"), nil, nil), sessions.ErrBoundToken},
		"no signature":                        {forge(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, nil), sessions.ErrBoundToken},
		"another issuer":                      {forge(jwt.SigningMethodES256, ours, nil, map[string]any{"iss": "https://evil.test"}), sessions.ErrBoundToken},
		"another audience":                    {forge(jwt.SigningMethodES256, ours, nil, map[string]any{"aud": "did:web:other.test"}), sessions.ErrBoundToken},
		"no audience":                         {forge(jwt.SigningMethodES256, ours, nil, map[string]any{"aud": 7}), sessions.ErrBoundToken},
		"another ID":                          {forge(jwt.SigningMethodES256, ours, nil, map[string]any{"jti": "two"}), sessions.ErrBoundToken},
		"another account":                     {forge(jwt.SigningMethodES256, ours, nil, map[string]any{"sub": o.SignUp("bob").Account.DID.String()}), sessions.ErrBoundToken},
		"no account":                          {forge(jwt.SigningMethodES256, ours, nil, map[string]any{"sub": "alice"}), sessions.ErrBoundToken},
		"the session of a bearer token":       {forge(jwt.SigningMethodES256, ours, nil, map[string]any{"sid": tokens.Session.ID}), sessions.ErrBoundToken},
		"a session of nobody":                 {forge(jwt.SigningMethodES256, ours, nil, map[string]any{"sid": "x"}), sessions.ErrBoundToken},
		"a scope without atproto":             {forge(jwt.SigningMethodES256, ours, nil, map[string]any{"scope": "com.atproto.access"}), sessions.ErrBoundToken},
		"no expiry":                           {forge(jwt.SigningMethodES256, ours, nil, map[string]any{"exp": nil}), sessions.ErrBoundToken},
		"issued in the future":                {forge(jwt.SigningMethodES256, ours, nil, map[string]any{"iat": o.Now().Unix() + 60}), sessions.ErrBoundToken},
		"no key":                              {forge(jwt.SigningMethodES256, ours, nil, map[string]any{"cnf": nil}), sessions.ErrBoundToken},
		"a token that is too long":            {of(k.AccessToken + strings.Repeat("x", 16<<10)), sessions.ErrBoundToken},
	} {
		auth, err := o.Sessions.Verify(ctx, c.r)
		var text interface{ PublicMessage() string }
		if auth != nil || !errors.Is(err, c.want) || !errors.As(err, &text) {
			t.Errorf("%s: %+v, %v, want %v", name, auth, err, c.want)
		}
	}
	if _, err := o.Sessions.Verify(ctx, sessions.Bearer(k.AccessToken)); err == nil || err.Error() != "Malformed token" {
		t.Errorf("as a bearer token: %v", err)
	}
	if _, err := o.verify(k); err != nil {
		t.Errorf("after all that: %v", err)
	}
	o.Advance(30 * time.Minute)
	if _, err := o.verify(k); !errors.Is(err, sessions.ErrBoundToken) {
		t.Errorf("an expired token: %v", err)
	}
	off := domaintest.New(t)
	if _, err := off.Sessions.Verify(ctx, good()); !errors.Is(err, sessions.ErrInvalidToken) {
		t.Errorf("where there are no OAuth sessions: %v", err)
	}
}

// keys returns the key that signs access tokens.
func (o *oauthTest) keys(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	var key *ecdsa.PrivateKey
	o.Another(func(c *domaintest.Config) { key = c.Sessions.OAuth.Keys[0].Private })
	return key
}

// TestAProofIsUsedOnce, also in another process, if the request changes something.
func TestAProofIsUsedOnce(t *testing.T) {
	o := newOAuth(t)
	k := o.open(o.SignUp("alice").Account.DID)
	elsewhere := o.Another()
	for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "get"} {
		r := o.client.Request(o.Sessions, method, resource, k.AccessToken, o.Now())
		if _, err := o.Sessions.Verify(ctx, r); err != nil {
			t.Errorf("%s: %v", method, err)
		}
		if _, err := o.Sessions.Verify(ctx, r); !errors.Is(err, dpop.ErrProof) {
			t.Errorf("%s again: %v", method, err)
		}
		_, err := elsewhere.Sessions.Verify(ctx, r)
		if safe := method == "GET" || method == "HEAD"; (err == nil) != safe || err != nil && !errors.Is(err, dpop.ErrProof) {
			t.Errorf("%s in another process: %v", method, err)
		}
	}
	// The last moment at which a proof is taken, and its replay.
	ahead := o.client.Proof("POST", resource, k.AccessToken, o.Sessions.Nonce(), o.Now().Add(time.Minute))
	r := sessions.Request{Scheme: sessions.SchemeDPoP, Token: k.AccessToken, Method: "POST", URL: resource, Proofs: []string{ahead}}
	if _, err := o.Sessions.Verify(ctx, r); err != nil {
		t.Error(err)
	}
	o.Advance(2*time.Minute - time.Second)
	if err := o.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.Sessions.Verify(ctx, r); !errors.Is(err, dpop.ErrProof) {
		t.Errorf("a replay after two minutes: %v", err)
	}
	if _, err := o.Sessions.Verify(ctx, r); !errors.Is(err, dpop.ErrProof) {
		t.Errorf("a replay after two minutes, in memory: %v", err)
	}
}

func TestAProofIsUsedOnceByMany(t *testing.T) {
	o := newOAuth(t)
	k := o.open(o.SignUp("alice").Account.DID)
	processes := []*sessions.Service{o.Sessions, o.Another().Sessions, o.Another().Sessions}
	r := o.client.Request(o.Sessions, "POST", resource, k.AccessToken, o.Now())
	var mu sync.Mutex
	good := 0
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			_, err := processes[i%len(processes)].Verify(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				good++
			} else if !errors.Is(err, dpop.ErrProof) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if good != 1 {
		t.Errorf("%d requests with one proof are taken", good)
	}
}

func TestOAuthRefresh(t *testing.T) {
	o := newOAuth(t)
	alice := o.SignUp("alice").Account
	first := o.open(alice.DID)
	o.Advance(time.Minute)
	second, err := o.refresh(first.RefreshToken)
	if err != nil || second.Session.ID != first.Session.ID || second.RefreshToken == first.RefreshToken || !second.Session.LastUsedAt.Equal(o.Now()) {
		t.Fatalf("%+v, %v", second, err)
	}
	if _, err := o.verify(first); !errors.Is(err, sessions.ErrBoundToken) {
		t.Errorf("the old access token: %v", err)
	}
	if _, err := o.verify(second); err != nil {
		t.Errorf("the new access token: %v", err)
	}
	// A lost answer: the same successor, and a good access token.
	o.Advance(119 * time.Second)
	again, err := o.refresh(first.RefreshToken)
	if err != nil || again.RefreshToken != second.RefreshToken {
		t.Fatalf("%+v, %v", again, err)
	}
	for _, k := range []*sessions.OAuthTokens{second, again} {
		if _, err := o.verify(k); err != nil {
			t.Errorf("within the grace period: %v", err)
		}
	}
	// Whoever comes late within the grace period gets what is now the session's.
	third, err := o.refresh(second.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	late, err := o.refresh(first.RefreshToken)
	if err != nil || late.RefreshToken != third.RefreshToken {
		t.Fatalf("%+v, %v", late, err)
	}
	if _, err := o.verify(late); err != nil {
		t.Errorf("late: %v", err)
	}
	o.Advance(time.Second)
	if _, err := o.refresh(first.RefreshToken); !errors.Is(err, sessions.ErrExpiredToken) {
		t.Errorf("after the grace period: %v", err)
	}
	for _, token := range []string{first.RefreshToken, second.RefreshToken, third.RefreshToken} {
		if _, err := o.refresh(token); !errors.Is(err, sessions.ErrExpiredToken) {
			t.Errorf("after a replay: %v", err)
		}
	}
	if _, err := o.verify(third); !errors.Is(err, sessions.ErrBoundToken) {
		t.Errorf("after a replay: %v", err)
	}
	if list, _ := o.Sessions.List(ctx, alice.DID); len(list) != 1 {
		t.Errorf("after a replay there are the sessions %v", list)
	}
}

func TestOAuthRefreshRefuses(t *testing.T) {
	o := newOAuth(t)
	tokens := o.SignUp("alice")
	k := o.open(tokens.Account.DID)
	other := newOAuth(t)
	foreign := other.open(other.SignUp("alice").Account.DID)
	mallory := domaintest.NewProver(t)
	parts := strings.Split(k.RefreshToken, ".")
	for name, c := range map[string]struct{ token, key string }{
		"another key":              {k.RefreshToken, mallory.Key},
		"no key":                   {k.RefreshToken, ""},
		"the access token":         {k.AccessToken, o.client.Key},
		"a bearer refresh token":   {tokens.RefreshJWT, o.client.Key},
		"another server's token":   {foreign.RefreshToken, o.client.Key},
		"nothing":                  {"", o.client.Key},
		"junk":                     {"ref-a.b.c", o.client.Key},
		"a made-up ID":             {parts[0] + "." + strings.Repeat("a", 52) + "." + parts[2], o.client.Key},
		"a made-up ID without tag": {parts[0] + "." + strings.Repeat("a", 52) + ".", o.client.Key},
		"another session's":        {"ref-" + tokens.Session.ID + "." + parts[1] + "." + parts[2], o.client.Key},
		"a very long one":          {k.RefreshToken + strings.Repeat("x", 1<<20), o.client.Key},
	} {
		if _, err := o.refreshAs(c.token, c.key, "", ""); !errors.Is(err, sessions.ErrInvalidToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := o.refreshAs(k.RefreshToken, o.client.Key, "transition:generic", ""); !errors.Is(err, sessions.ErrPermission) {
		t.Errorf("a scope without atproto: %v", err)
	}
	if _, err := o.verify(k); err != nil {
		t.Errorf("what others make up ends the session: %v", err)
	}
	if _, err := o.Sessions.Refresh(ctx, k.RefreshToken); !errors.Is(err, sessions.ErrInvalidToken) {
		t.Errorf("as a bearer refresh token: %v", err)
	}
	next, err := o.refresh(k.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.refreshAs(k.RefreshToken, mallory.Key, "", ""); !errors.Is(err, sessions.ErrInvalidToken) {
		t.Errorf("another key within the grace period: %v", err)
	}
	if _, err := o.verify(next); err != nil {
		t.Errorf("another key within the grace period ends the session: %v", err)
	}
	o.Advance(2 * time.Minute)
	if _, err := o.refreshAs(k.RefreshToken, mallory.Key, "", ""); !errors.Is(err, sessions.ErrExpiredToken) {
		t.Errorf("a replay with another key: %v", err)
	}
	if _, err := o.verify(next); !errors.Is(err, sessions.ErrBoundToken) {
		t.Errorf("a replay with another key: %v", err)
	}
}

func TestOAuthLifetimes(t *testing.T) {
	o := newOAuth(t)
	did := o.SignUp("alice").Account.DID
	k := o.open(did)
	o.Advance(7 * 24 * time.Hour)
	if _, err := o.refresh(k.RefreshToken); !errors.Is(err, sessions.ErrExpiredToken) {
		t.Errorf("a refresh token of a week: %v", err)
	}
	k = o.open(did)
	ends := o.Now().Add(14 * 24 * time.Hour)
	for o.Now().Add(6 * 24 * time.Hour).Before(ends) {
		o.Advance(6 * 24 * time.Hour)
		var err error
		if k, err = o.refresh(k.RefreshToken); err != nil {
			t.Fatal(err)
		}
	}
	if !k.Session.ExpiresAt.Equal(ends) || !k.Session.EndsAt.Equal(ends) {
		t.Errorf("it ends at %v, not %v", k.Session.ExpiresAt, ends)
	}
	o.Advance(ends.Sub(o.Now()) - 10*time.Minute)
	k, err := o.refresh(k.RefreshToken)
	if err != nil || k.ExpiresIn != 10*time.Minute {
		t.Errorf("at the end: %+v, %v", k, err)
	}
	o.Advance(10 * time.Minute)
	if _, err := o.refresh(k.RefreshToken); !errors.Is(err, sessions.ErrExpiredToken) {
		t.Errorf("after the end: %v", err)
	}
	o.Advance(time.Millisecond)
	if err := o.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if list, _ := o.Sessions.List(ctx, did); len(list) != 1 {
		t.Errorf("what has ended stays: %v", list)
	}
}

// TestOAuthRefreshRace: of 50 at once, all get the same tokens, and there is one session.
func TestOAuthRefreshRace(t *testing.T) {
	o := newOAuth(t)
	did := o.SignUp("alice").Account.DID
	k := o.open(did)
	elsewhere := &oauthTest{o.Another(), t, o.client}
	got := make([]*sessions.OAuthTokens, 50)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			by := o
			if i%2 == 1 {
				by = elsewhere
			}
			var err error
			if got[i], err = by.refresh(k.RefreshToken); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, k := range got {
		if k.RefreshToken != got[0].RefreshToken {
			t.Error("another successor")
		}
		if _, err := o.verify(k); err != nil {
			t.Error(err)
		}
	}
	if list, _ := o.Sessions.List(ctx, did); len(list) != 2 {
		t.Errorf("%d sessions", len(list))
	}
}

func TestOAuthScopes(t *testing.T) {
	o := newOAuth(t)
	did := o.SignUp("alice").Account.DID
	k := o.open(did, func(g *sessions.OAuthGrant) {
		g.Client.Scope = "atproto include:com.example.basics"
		g.Scope = "atproto repo:com.example.note identity:handle"
	})
	narrow, err := o.refreshAs(k.RefreshToken, o.client.Key, "atproto identity:handle", "")
	if err != nil || narrow.Scope != "atproto identity:handle" {
		t.Fatalf("%+v, %v", narrow, err)
	}
	if _, err := o.verify(narrow, sessions.ChangeHandle); err != nil {
		t.Error(err)
	}
	if _, err := o.verify(narrow, "repo:com.example.note"); !errors.Is(err, sessions.ErrScopeMissing) {
		t.Errorf("what the token was narrowed to: %v", err)
	}
	k, err = o.refresh(narrow.RefreshToken)
	if err != nil || k.Scope != "atproto repo:com.example.note identity:handle" {
		t.Fatalf("%+v, %v", k, err)
	}
	if _, err := o.verify(k, "repo:com.example.note"); err != nil {
		t.Errorf("the narrower scope has stayed: %v", err)
	}
	k, err = o.refreshAs(k.RefreshToken, o.client.Key, "", "atproto repo:com.example.note repo:com.example.list")
	if err != nil || k.Session.Client.Scope != "atproto include:com.example.basics" {
		t.Fatalf("%+v, %v", k, err)
	}
	k, err = o.refresh(k.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.verify(k, "repo:com.example.list"); err != nil {
		t.Errorf("what was added to the permission set: %v", err)
	}
}

func TestWhatIsMissing(t *testing.T) {
	o := newOAuth(t)
	k := o.open(o.SignUp("alice").Account.DID, func(g *sessions.OAuthGrant) { g.Scope = "atproto" })
	const owner = "OAuth credentials are not supported for this endpoint"
	for p, c := range map[sessions.Permission]struct {
		kind error
		text string
	}{
		sessions.ConfirmEmail:                                {sessions.ErrScopeMissing, `Missing required scope "account:email?action=manage"`},
		sessions.ReadEmail:                                   {sessions.ErrScopeMissing, `Missing required scope "account:email"`},
		sessions.ChangeHandle:                                {sessions.ErrScopeMissing, `Missing required scope "identity:handle"`},
		sessions.SignIdentity:                                {sessions.ErrScopeMissing, `Missing required scope "identity:*"`},
		sessions.SubmitIdentity:                              {sessions.ErrScopeMissing, `Missing required scope "identity:*"`},
		sessions.ManageAccount:                               {sessions.ErrNotForOAuth, owner},
		sessions.DeactivateAccount:                           {sessions.ErrNotForOAuth, owner},
		sessions.ChangeEmail:                                 {sessions.ErrNotForOAuth, "Use the account manager interface to update email address associated with an account"},
		sessions.Repo("app.bsky.feed.post", "create"):        {sessions.ErrScopeMissing, `Missing required scope "repo:app.bsky.feed.post?action=create"`},
		sessions.Blob("image/png"):                           {sessions.ErrScopeMissing, `Missing required scope "blob:image/png"`},
		sessions.RPC("app.bsky.feed.getFeed", "did:web:x#y"): {sessions.ErrScopeMissing, `Missing required scope "rpc:app.bsky.feed.getFeed?aud=did:web:x%23y"`},
		"no-permission":                                      {sessions.ErrScopeMissing, `Missing required scope "no-permission"`},
	} {
		if _, err := o.verify(k, p); !errors.Is(err, c.kind) || err.Error() != c.text {
			t.Errorf("%s: %v", p, err)
		}
		auth, err := o.verify(k)
		if err != nil || auth.Allows(p) || !errors.Is(auth.Require(sessions.UseAccount, p), c.kind) {
			t.Errorf("%s: %+v, %v", p, auth, err)
		}
	}
	if _, err := o.verify(k, sessions.SeeSession, sessions.UseAccount); err != nil {
		t.Error(err)
	}
}

func TestOAuthServiceTokens(t *testing.T) {
	o := newOAuth(t)
	did := o.SignUp("alice").Account.DID
	const aud = "did:web:api.test#api"
	for _, c := range []struct {
		scope, aud, method string
		want               error
		text               string
	}{
		{"", aud, "com.example.get", sessions.ErrScopeMissing, `Missing required scope "rpc:com.example.get?aud=did:web:api.test%23api"`},
		{"", aud, "", sessions.ErrScopeMissing, `Missing required scope "rpc:*?aud=did:web:api.test%23api"`},
		{"rpc:com.example.get?aud=did:web:api.test%23api", aud, "com.example.get", nil, ""},
		{"rpc:com.example.get?aud=did:web:api.test%23api", aud, "com.example.put", sessions.ErrScopeMissing, `Missing required scope "rpc:com.example.put?aud=did:web:api.test%23api"`},
		{"rpc:com.example.get?aud=did:web:api.test%23api", aud, "", sessions.ErrScopeMissing, ""},
		{"rpc:com.example.get?aud=did:web:api.test%23api", "did:web:api.test", "com.example.get", sessions.ErrScopeMissing, ""},
		{"rpc:com.example.get?aud=did:web:api.test%23api", "did:web:api.test#other", "com.example.get", sessions.ErrScopeMissing, ""},
		{"rpc:*?aud=did:web:api.test%23api", aud, "", nil, ""},
		{"rpc:*?aud=did:web:api.test%23api", aud, "com.example.get", nil, ""},
		{"transition:generic", "did:web:api.test", "com.example.get", nil, ""},
		{"transition:generic", aud, "chat.bsky.convo.getLog", sessions.ErrScopeMissing, ""},
		{"transition:generic", aud, "CHAT.bsky.convo.getLog", sessions.ErrScopeMissing, ""},
		{"transition:chat.bsky", aud, "chat.bsky.convo.getLog", nil, ""},
		{"transition:chat.bsky", aud, "com.example.get", sessions.ErrScopeMissing, ""},
		{"transition:generic", aud, "com.atproto.server.createAppPassword", sessions.ErrInvalidRequest, ""},
		{"", aud, "com.atproto.server.createAppPassword", sessions.ErrInvalidRequest, ""},
		{"transition:generic", "did:web:pds.test", "com.atproto.server.createAccount", sessions.ErrInvalidRequest, ""},
		{"transition:generic", "junk", "com.example.get", sessions.ErrInvalidRequest, ""},
		{"", aud, "x\"\n?aud=y", sessions.ErrScopeMissing, ""},
		{"rpc:com.example.get?aud=did:web:api.test%23api", "did:web:api.test|api", "com.example.get", nil, ""},
		{"rpc:com.example.get?aud=did:web:api.test%23api", "did:web:api.test|other", "com.example.get", sessions.ErrScopeMissing, `Missing required scope "rpc:com.example.get?aud=did:web:api.test%23other"`},
		{"rpc:com.example.get?aud=did:web:api.test%23api", "did:web:api.test#other|api", "com.example.get", sessions.ErrScopeMissing, ""},
	} {
		k := o.open(did, func(g *sessions.OAuthGrant) { g.Scope = "atproto " + c.scope })
		auth, err := o.verify(k, sessions.SeeSession)
		if err != nil {
			t.Fatal(err)
		}
		audience, service, _ := strings.Cut(c.aud, "|")
		token, err := o.Sessions.ServiceToken(ctx, auth, sessions.ServiceTokenParams{Audience: audience, Service: service, Method: c.method})
		if parsed, bad := jws.Parse(token, 1<<20); err == nil && (bad != nil || parsed.Text("aud") != audience) {
			t.Errorf("%q: the token %s", c.scope, token)
		}
		if !errors.Is(err, c.want) || (err == nil) != (token != "") || c.text != "" && err.Error() != c.text {
			t.Errorf("%q: %q of %s: %v", c.scope, c.method, c.aud, err)
		}
	}
}

// TestOAuthSessionsEndWithWhatTheyDependOn: what ends sessions ends those of OAuth and of browsers.
func TestOAuthSessionsEndWithWhatTheyDependOn(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*oauthTest, *sessions.OAuthTokens) error
		want error
	}{
		"the password changes": {func(o *oauthTest, k *sessions.OAuthTokens) error {
			return o.Accounts.SetPassword(ctx, k.Account.DID, "another password")
		}, sessions.ErrBoundToken},
		"the credentials are revoked": {func(o *oauthTest, k *sessions.OAuthTokens) error {
			return o.Accounts.RevokeCredentials(ctx, k.Account.DID)
		}, sessions.ErrBoundToken},
		"the account is taken down": {func(o *oauthTest, k *sessions.OAuthTokens) error {
			return o.Accounts.TakeDown(ctx, k.Account.DID, "")
		}, sessions.ErrAccountTakedown},
		"the account is taken down and restored": {func(o *oauthTest, k *sessions.OAuthTokens) error {
			return errors.Join(o.Accounts.TakeDown(ctx, k.Account.DID, ""), o.Accounts.Restore(ctx, k.Account.DID))
		}, sessions.ErrBoundToken},
		"the account is deleted": {func(o *oauthTest, k *sessions.OAuthTokens) error {
			return o.Accounts.DeleteNow(ctx, k.Account.DID)
		}, sessions.ErrBoundToken},
		"all sessions end": {func(o *oauthTest, k *sessions.OAuthTokens) error {
			return o.Sessions.EndAll(ctx, k.Account.DID)
		}, sessions.ErrBoundToken},
		"it is revoked": {func(o *oauthTest, k *sessions.OAuthTokens) error {
			return o.Sessions.Revoke(ctx, k.Account.DID, k.Session.ID)
		}, sessions.ErrBoundToken},
		"the application's access ends": {func(o *oauthTest, k *sessions.OAuthTokens) error {
			return o.Sessions.EndOfClient(ctx, k.Account.DID, app)
		}, sessions.ErrBoundToken},
		"the client is refused": {func(o *oauthTest, _ *sessions.OAuthTokens) error {
			return o.Sessions.EndClient(ctx, app)
		}, sessions.ErrBoundToken},
		"its code is used again": {func(o *oauthTest, _ *sessions.OAuthTokens) error {
			return o.Store.Update(ctx, func(tx storage.Tx) error {
				ended, err := sessions.EndByCodeTx(tx, "hash")
				if err == nil && !ended {
					err = errors.New("no session of the code")
				}
				return err
			})
		}, sessions.ErrBoundToken},
	} {
		o := newOAuth(t)
		did := o.SignUp("alice").Account.DID
		k := o.open(did, func(g *sessions.OAuthGrant) { g.Code = "hash" })
		auth, err := o.verify(k)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.end(o, k); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := o.verify(k); !errors.Is(err, c.want) {
			t.Errorf("when %s the access token: %v", name, err)
		}
		if _, err := o.refresh(k.RefreshToken); err == nil {
			t.Errorf("when %s the refresh token lives on", name)
		}
		for _, token := range []string{k.AccessToken, k.RefreshToken} {
			if _, err := o.find(token); !errors.Is(err, sessions.ErrNotFound) {
				t.Errorf("when %s a token is found: %v", name, err)
			}
		}
		// A request that was verified before may write no longer.
		err = o.Store.Update(ctx, func(tx storage.Tx) error { return o.Sessions.AliveTx(tx, auth) })
		if !errors.Is(err, c.want) {
			t.Errorf("when %s a request writes: %v", name, err)
		}
	}
}

func TestOAuthSessionsOfOthersStay(t *testing.T) {
	o := newOAuth(t)
	alice, bob := o.SignUp("alice").Account.DID, o.SignUp("bob").Account.DID
	another := func(g *sessions.OAuthGrant) { g.Client.ID, g.Code = "https://another.test/client.json", "other" }
	open := func() []*sessions.OAuthTokens {
		return []*sessions.OAuthTokens{o.open(alice), o.open(alice, another), o.open(bob)}
	}
	for name, c := range map[string]struct {
		end  func() error
		live []bool
	}{
		"of alice's client": {func() error { return o.Sessions.EndOfClient(ctx, alice, app) }, []bool{false, true, true}},
		"of the client":     {func() error { return o.Sessions.EndClient(ctx, app) }, []bool{false, true, false}},
		"of another client": {func() error { return o.Sessions.EndClient(ctx, app+"x") }, []bool{true, true, true}},
		"of a code": {func() error {
			return o.Store.Update(ctx, func(tx storage.Tx) error {
				for _, code := range []string{"", "unknown"} {
					if ended, err := sessions.EndByCodeTx(tx, code); ended || err != nil {
						t.Errorf("the code %q: %t, %v", code, ended, err)
					}
				}
				_, err := sessions.EndByCodeTx(tx, "other")
				return err
			})
		}, []bool{true, false, true}},
	} {
		all := open()
		if err := c.end(); err != nil {
			t.Fatal(err)
		}
		for i, k := range all {
			if _, err := o.verify(k); (err == nil) != c.live[i] {
				t.Errorf("%s: session %d: %v", name, i, err)
			}
		}
	}
	// A deactivated account keeps them.
	k := o.open(alice)
	if err := o.Accounts.Deactivate(ctx, alice, nil); err != nil {
		t.Fatal(err)
	}
	if auth, err := o.verify(k); err != nil || auth.Account.DeactivatedAt == nil {
		t.Errorf("a deactivated account: %+v, %v", auth, err)
	}
	if _, err := o.Sessions.VerifyActive(ctx, o.client.Request(o.Sessions, "GET", resource, k.AccessToken, o.Now())); !errors.Is(err, sessions.ErrAccountDeactivated) {
		t.Errorf("a deactivated account where an active one is needed: %v", err)
	}
}

func TestFindAndInspectOAuth(t *testing.T) {
	o := newOAuth(t)
	tokens := o.SignUp("alice")
	k := o.open(tokens.Account.DID)
	inspect := func(token string) (info *sessions.OAuthTokenInfo, err error) {
		err = o.Store.View(ctx, func(tx storage.Tx) error {
			info, err = o.Sessions.InspectOAuthTx(tx, o.Sessions.ParseOAuth(token))
			return err
		})
		return info, err
	}
	info, err := inspect(k.AccessToken)
	if err != nil || info.Refresh || info.Scope != everybody || info.Audiences[0] != "did:web:pds.test" || !info.ExpiresAt.Equal(o.Now().Add(30*time.Minute)) || len(info.ID) != 26 {
		t.Errorf("%+v, %v", info, err)
	}
	if info, err = inspect(k.RefreshToken); err != nil || !info.Refresh || !info.ExpiresAt.Equal(k.Session.ExpiresAt) {
		t.Errorf("%+v, %v", info, err)
	}
	next, err := o.refresh(k.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	o.Advance(time.Hour)
	for name, c := range map[string]struct {
		token        string
		found, alive bool
	}{
		"an access token that was replaced": {k.AccessToken, true, false}, "a refresh token that was used": {k.RefreshToken, true, false},
		"an access token that has expired": {next.AccessToken, true, false}, "the refresh token": {next.RefreshToken, true, true},
		"a bearer token": {tokens.AccessJWT, false, false}, "a bearer refresh token": {tokens.RefreshJWT, false, false},
		"junk": {"ref-junk", false, false}, "nothing": {"", false, false},
	} {
		found, err := o.find(c.token)
		if (err == nil) != c.found || err == nil && found.ID != k.Session.ID || err != nil && !errors.Is(err, sessions.ErrNotFound) {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
		if _, err := inspect(c.token); (err == nil) != c.alive || err != nil && !errors.Is(err, sessions.ErrNotFound) {
			t.Errorf("%s: alive: %v", name, err)
		}
	}
}

// TestRooms: sessions of one kind end the oldest of their kind, and no others.
func TestRooms(t *testing.T) {
	o := newOAuth(t)
	tokens := o.SignUp("alice")
	did := tokens.Account.DID
	oldest := o.open(did)
	for range 49 {
		o.Advance(time.Millisecond)
		o.open(did)
	}
	if _, err := o.verify(oldest); err != nil {
		t.Errorf("with 50 sessions of a client: %v", err)
	}
	o.Advance(time.Millisecond)
	o.open(did)
	if _, err := o.verify(oldest); !errors.Is(err, sessions.ErrBoundToken) {
		t.Errorf("with 51 sessions of a client: %v", err)
	}
	for i := range 200 {
		o.Advance(time.Millisecond)
		o.open(did, func(g *sessions.OAuthGrant) { g.Client.ID += fmt.Sprint(i % 10) })
	}
	kinds := func() (bearer, oauth, browser int) {
		list, err := o.Sessions.List(ctx, did)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			switch {
			case s.Client != nil:
				oauth++
			case s.Device != "":
				browser++
			default:
				bearer++
			}
		}
		return bearer, oauth, browser
	}
	for range 101 {
		o.Advance(time.Millisecond)
		if _, err := o.browser(did, "device", time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if bearer, oauth, browser := kinds(); bearer != 1 || oauth != 200 || browser != 100 {
		t.Errorf("%d, %d, %d", bearer, oauth, browser)
	}
	for range 200 {
		if _, err := o.Sessions.Start(ctx, did, sessions.Grant{Method: "password"}); err != nil {
			t.Fatal(err)
		}
	}
	if bearer, oauth, browser := kinds(); bearer != 200 || oauth != 200 || browser != 100 {
		t.Errorf("%d, %d, %d", bearer, oauth, browser)
	}
}

func (o *oauthTest) browser(did syntax.DID, device string, lifetime time.Duration) (*sessions.Session, error) {
	var opened *sessions.Session
	err := o.Store.Update(ctx, func(tx storage.Tx) error {
		a, err := accounts.GetTx(tx, did)
		if err == nil {
			opened, err = o.Sessions.OpenBrowserTx(tx, a, sessions.Grant{Method: "password", Device: device}, lifetime)
		}
		return err
	})
	return opened, err
}

func TestBrowserSessions(t *testing.T) {
	o := newOAuth(t)
	tokens := o.SignUp("alice")
	did := tokens.Account.DID
	alive := func(id string) error {
		return o.Store.View(ctx, func(tx storage.Tx) error {
			s, a, err := o.Sessions.BrowserTx(tx, id)
			if err == nil && (s.ID != id || a.DID != did || s.Device != "device") {
				t.Errorf("%+v, %+v", s, a)
			}
			return err
		})
	}
	for name, end := range map[string]func(id string) error{
		"its time is over":     func(string) error { o.Advance(time.Hour); return nil },
		"it is revoked":        func(id string) error { return o.Sessions.Revoke(ctx, did, id) },
		"the password changes": func(string) error { return o.Accounts.SetPassword(ctx, did, "password") },
	} {
		s, err := o.browser(did, "device", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := alive(s.ID); err != nil {
			t.Errorf("before %s: %v", name, err)
		}
		if err := end(s.ID); err != nil {
			t.Fatal(err)
		}
		if err := alive(s.ID); !errors.Is(err, sessions.ErrExpiredToken) {
			t.Errorf("when %s: %v", name, err)
		}
	}
	k := o.open(did)
	for name, id := range map[string]string{"an OAuth session": k.Session.ID, "nothing": "", "another": "x"} {
		if err := alive(id); !errors.Is(err, sessions.ErrExpiredToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := o.browser(did, "device", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Accounts.TakeDown(ctx, did, ""); err != nil {
		t.Fatal(err)
	}
	if err := alive(s.ID); err == nil {
		t.Error("it lives on when the account is taken down")
	}
	if _, err := o.browser(did, "device", time.Hour); !errors.Is(err, sessions.ErrAccountTakedown) {
		t.Errorf("an account that is taken down: %v", err)
	}
	bob := o.SignUp("bob").Account.DID
	for name, open := range map[string]func() error{
		"no device":   func() error { _, err := o.browser(bob, "", time.Hour); return err },
		"no lifetime": func() error { _, err := o.browser(bob, "device", 0); return err },
	} {
		if err := open(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestNoOAuthSecretIsStored: neither the tokens nor their parts.
func TestNoOAuthSecretIsStored(t *testing.T) {
	o := newOAuth(t)
	k := o.open(o.SignUp("alice").Account.DID)
	next, err := o.refresh(k.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{k.AccessToken, strings.Split(k.RefreshToken, ".")[1], strings.Split(next.RefreshToken, ".")[1], strings.Split(next.RefreshToken, ".")[2]}
	err = o.Store.View(ctx, func(tx storage.Tx) error {
		for rec, err := range tx.Scan("sessions", storage.Range{Entries: true}) {
			if err != nil {
				return err
			}
			for _, secret := range secrets {
				if strings.Contains(fmt.Sprint(string(rec.Value), rec.Entries), secret) {
					t.Errorf("a session shows %s", secret)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOldDocuments: sessions that were stored before there were others work on, in the same room.
func TestOldDocuments(t *testing.T) {
	o := newOAuth(t)
	k := o.SignUp("alice")
	err := o.Store.Update(ctx, func(tx storage.Tx) error {
		doc, err := tx.Get("sessions", k.Session.ID)
		if err != nil {
			return err
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(doc, &fields); err != nil {
			return err
		}
		for name := range fields {
			if slices.Contains([]string{"client", "device", "endsAt", "access", "code", "refreshLifetime"}, name) {
				t.Errorf("a session with bearer tokens has %s", name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Sessions.Refresh(ctx, k.RefreshJWT); err != nil {
		t.Error(err)
	}
}

func TestOAuthKeysRotate(t *testing.T) {
	o := newOAuth(t)
	did := o.SignUp("alice").Account.DID
	old := o.open(did)
	fresh := sessions.OAuthKey{ID: "two", Private: domaintest.NewP256(t)}
	both := &oauthTest{o.Another(func(c *domaintest.Config) {
		c.Sessions.OAuth.Keys = append([]sessions.OAuthKey{fresh}, c.Sessions.OAuth.Keys...)
	}), t, o.client}
	if _, err := both.verify(old); err != nil {
		t.Errorf("the old key's token while both are in use: %v", err)
	}
	k, err := both.refresh(old.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	after := &oauthTest{o.Another(func(c *domaintest.Config) { c.Sessions.OAuth.Keys = []sessions.OAuthKey{fresh} }), t, o.client}
	if _, err := after.verify(k); err != nil {
		t.Errorf("the new key's token: %v", err)
	}
	if _, err := after.verify(old); !errors.Is(err, sessions.ErrBoundToken) {
		t.Errorf("the old key's token after it is gone: %v", err)
	}
}

// keySource is the keys of another server.
type keySource struct {
	key *ecdsa.PublicKey
	err error
}

func (k *keySource) Key(_ context.Context, kid, alg string) (crypto.PublicKey, error) {
	if k.err == nil && (kid != "one" || alg != "ES256") {
		return nil, sessions.ErrUnknownKey
	}
	return k.key, k.err
}

// TestAnotherAuthorizationServer: an entryway opens the sessions, and this server takes its tokens.
func TestAnotherAuthorizationServer(t *testing.T) {
	entryway := newOAuth(t, func(c *domaintest.Config) {
		c.Sessions.ServiceDID = "did:web:entryway.test"
		c.Sessions.OAuth.Audiences = []string{"did:web:pds.test", "did:web:pds2.test"}
	})
	source := &keySource{key: &entryway.keys(t).PublicKey}
	pds := &oauthTest{domaintest.New(t, func(c *domaintest.Config) {
		c.Sessions.OAuth = sessions.OAuthConfig{Issuer: "http://pds.test", Remote: source}
	}), t, entryway.client}
	// The account is on both. Its DID is that of the entryway's, which has no directory in common
	// here.
	did := pds.SignUp("alice").Account.DID
	theirs := entryway.SignUp("alice").Account.DID
	k := entryway.open(theirs)
	if _, err := entryway.verify(k); !errors.Is(err, sessions.ErrBoundToken) {
		t.Errorf("the entryway isn't an audience: %v", err)
	}
	if _, err := pds.verify(k); !errors.Is(err, sessions.ErrBoundToken) {
		t.Errorf("an account that isn't here: %v", err)
	}
	sign := func(changes map[string]any) *sessions.OAuthTokens {
		parsed, err := jws.Parse(k.AccessToken, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		parsed.Claims["sub"] = did.String()
		for name, v := range changes {
			parsed.Claims[name] = v
		}
		token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims(parsed.Claims))
		token.Header["typ"], token.Header["kid"] = "at+jwt", "one"
		if kid, ok := changes["kid"]; ok {
			token.Header["kid"] = kid
		}
		raw, err := token.SignedString(entryway.keys(t))
		if err != nil {
			t.Fatal(err)
		}
		return &sessions.OAuthTokens{AccessToken: raw}
	}
	good := sign(nil)
	auth, err := pds.verify(good, sessions.UseAccount)
	if err != nil || auth.Session != nil || auth.Client.ID != app || auth.Client.Key != pds.client.Key || auth.Account.DID != did {
		t.Fatalf("%+v, %v", auth, err)
	}
	alive := func() error {
		return pds.Store.Update(ctx, func(tx storage.Tx) error { return pds.Sessions.AliveTx(tx, auth) })
	}
	if err := alive(); err != nil {
		t.Error(err)
	}
	if _, err := pds.verify(good, sessions.ManageAccount); !errors.Is(err, sessions.ErrNotForOAuth) {
		t.Errorf("what no client may: %v", err)
	}
	if token, err := pds.Sessions.ServiceToken(ctx, auth, sessions.ServiceTokenParams{Audience: "did:web:api.test", Method: "com.example.get"}); err != nil || token == "" {
		t.Errorf("a service token: %v", err)
	}
	for name, changes := range map[string]map[string]any{
		"another issuer": {"iss": "https://evil.test"}, "another audience": {"aud": []string{"did:web:pds2.test"}},
		"an unknown key": {"kid": "two"}, "an expired token": {"exp": pds.Now().Unix() - 5}, "a bearer scope": {"scope": "com.atproto.access"},
	} {
		if _, err := pds.verify(sign(changes)); !errors.Is(err, sessions.ErrBoundToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	source.err = errors.New("unreachable")
	if _, err := pds.verify(good); !errors.Is(err, sessions.ErrIssuer) || errors.Is(err, sessions.ErrBoundToken) {
		t.Errorf("an issuer that is unreachable: %v", err)
	}
	source.err = nil
	if _, err := pds.tryOpen(did, pds.grant()); err == nil {
		t.Error("it issues tokens of its own")
	}
	if _, err := pds.find(good.AccessToken); !errors.Is(err, sessions.ErrNotFound) {
		t.Errorf("it finds the session of another server: %v", err)
	}
	if err := pds.Accounts.TakeDown(ctx, did, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := pds.verify(good); !errors.Is(err, sessions.ErrAccountTakedown) {
		t.Errorf("an account that is taken down here: %v", err)
	}
	if err := alive(); !errors.Is(err, sessions.ErrAccountTakedown) {
		t.Errorf("a request of before: %v", err)
	}
}

func TestOAuthConfigurationsThatCannotWork(t *testing.T) {
	key := sessions.OAuthKey{ID: "one", Private: domaintest.NewP256(t)}
	keys := []sessions.OAuthKey{key}
	p384 := *key.Private
	p384.PublicKey.Curve = nil
	for name, c := range map[string]sessions.OAuthConfig{
		"keys without an issuer":  {Keys: keys},
		"an issuer with a slash":  {Issuer: "https://pds.test/", Keys: keys},
		"an issuer with a path":   {Issuer: "https://pds.test/oauth", Keys: keys},
		"an issuer with a user":   {Issuer: "https://a@pds.test", Keys: keys},
		"an issuer that is a DID": {Issuer: "did:web:pds.test", Keys: keys},
		"no keys":                 {Issuer: "https://pds.test"},
		"keys and a remote":       {Issuer: "https://pds.test", Keys: keys, Remote: &keySource{}},
		"a key without an ID":     {Issuer: "https://pds.test", Keys: []sessions.OAuthKey{{Private: key.Private}}},
		"an ID twice":             {Issuer: "https://pds.test", Keys: append(keys, key)},
		"an empty key":            {Issuer: "https://pds.test", Keys: []sessions.OAuthKey{{ID: "one"}}},
		"a key of another curve":  {Issuer: "https://pds.test", Keys: []sessions.OAuthKey{{ID: "one", Private: &p384}}},
		"tokens of an hour":       {Issuer: "https://pds.test", Keys: keys, AccessLifetime: time.Hour},
		"a negative lifetime":     {Issuer: "https://pds.test", Keys: keys, AccessLifetime: -1},
		"a negative grace":        {Issuer: "https://pds.test", Keys: keys, Grace: -1},
	} {
		if err := c.Check(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, c := range map[string]sessions.OAuthConfig{"none": {}, "one key": {Issuer: "http://127.0.0.1:2583", Keys: keys}} {
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
