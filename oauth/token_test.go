package oauth_test

import (
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/internal/oauthtest"
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/sessions"
)

func TestCodesAndTokens(t *testing.T) {
	w := newWorld(t)
	for name, a := range map[string]*app{"public": w.public(), "confidential": w.confidential()} {
		t.Run(name, func(t *testing.T) {
			tokens := a.tokens(nil)
			if tokens.TokenType != "DPoP" || tokens.Subject != w.alice.String() || tokens.ExpiresIn != 1800 || tokens.RefreshToken == "" || tokens.Scope != appScope {
				t.Errorf("the tokens are %+v", tokens)
			}
			auth, err := a.use(tokens.AccessToken, sessions.Repo("app.bsky.feed.post", "create"), sessions.ReadEmail)
			if err != nil || auth.Account.DID != w.alice || auth.Session.Client.ID != a.id {
				t.Fatalf("%+v, %v", auth, err)
			}
			if _, err := a.use(tokens.AccessToken, sessions.Repo("app.bsky.feed.like")); !errors.Is(err, sessions.ErrScopeMissing) {
				t.Errorf("another collection: %v", err)
			}
			again, err := a.refresh(tokens.RefreshToken, nil)
			if err != nil || again.RefreshToken == tokens.RefreshToken || again.Scope != appScope {
				t.Fatalf("%+v, %v", again, err)
			}
			if a.alive(tokens.AccessToken) {
				t.Error("the access token works after a refresh")
			}
			if !a.alive(again.AccessToken) {
				t.Error("the new access token doesn't work")
			}
		})
	}
}

// TestTokenRefuses provokes each error of the token endpoint.
func TestTokenRefuses(t *testing.T) {
	w := newWorld(t)
	b := w.browser("alice.test")
	a := w.public()
	confidential := w.confidential()
	for _, test := range []struct {
		name   string
		change map[string]string
		code   string
		spent  bool
	}{
		{"no grant type", map[string]string{"grant_type": ""}, "invalid_request", false},
		{"another grant type", map[string]string{"grant_type": "password"}, "unsupported_grant_type", false},
		{"no client", map[string]string{"client_id": ""}, "invalid_request", false},
		{"no code", map[string]string{"code": ""}, "invalid_request", false},
		{"no redirect URI", map[string]string{"redirect_uri": ""}, "invalid_request", false},
		{"no verifier", map[string]string{"code_verifier": ""}, "invalid_request", false},
		{"an unknown code", map[string]string{"code": "x"}, "invalid_grant", false},
		{"another redirect URI", map[string]string{"redirect_uri": "https://app.test/other"}, "invalid_grant", true},
		{"another verifier", map[string]string{"code_verifier": strings.Repeat("v", 43)}, "invalid_grant", true},
		{"a short verifier", map[string]string{"code_verifier": "v"}, "invalid_grant", true},
		{"a long verifier", map[string]string{"code_verifier": strings.Repeat("v", 129)}, "invalid_grant", true},
		{"another client", map[string]string{"client_id": w.app("https://app.test/thief.json", nil).id}, "invalid_grant", true},
		{"a client that doesn't authenticate", map[string]string{"client_id": confidential.id}, "invalid_client", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			code := a.code(b, nil)
			_, err := a.exchange(code, test.change)
			wantCode(t, err, test.code)
			if _, err := a.exchange(code, nil); (err != nil) != test.spent {
				t.Errorf("the right exchange afterwards: %v", err)
			}
		})
	}
	t.Run("another key", func(t *testing.T) {
		code := a.code(b, nil)
		thief := *a
		thief.key = oauthtest.NewKey()
		_, err := thief.exchange(code, nil)
		wantCode(t, err, "invalid_grant")
		_, err = a.exchange(code, nil)
		wantCode(t, err, "invalid_grant")
	})
	t.Run("no proof", func(t *testing.T) {
		code := a.code(b, nil)
		_, err := w.OAuth.Token(t.Context(), oauth.Call{Method: "POST", URL: issuer + "/oauth/token"}, a.params(map[string]string{"grant_type": "authorization_code", "code": code}))
		wantCode(t, err, "invalid_dpop_proof")
		if _, err := a.exchange(code, nil); err != nil {
			t.Error(err)
		}
	})
	t.Run("a late exchange", func(t *testing.T) {
		code := a.code(b, nil)
		w.Advance(minute)
		_, err := a.exchange(code, nil)
		wantCode(t, err, "invalid_grant")
	})
	t.Run("an injected code", func(t *testing.T) { // of another request of the same client and key
		other := *a
		code := other.code(b, nil)
		a.code(b, nil)
		_, err := a.exchange(code, nil)
		wantCode(t, err, "invalid_grant")
	})
	t.Run("a challenge that was used before", func(t *testing.T) {
		p := a.request(nil)
		verifier := a.verifier
		again := map[string]string{"code_challenge": p.Get("code_challenge")}
		first, second := a.code(b, again), a.code(b, again)
		a.verifier = verifier
		if _, err := a.exchange(first, nil); err != nil {
			t.Fatal(err)
		}
		_, err := a.exchange(second, nil)
		wantCode(t, err, "invalid_grant")
	})
}

// TestAReplayedCodeEndsItsSession, also after a refresh, and whoever replays it.
func TestAReplayedCodeEndsItsSession(t *testing.T) {
	w := newWorld(t)
	b := w.browser("alice.test")
	for name, replay := range map[string]func(a *app, code string) error{
		"the client": func(a *app, code string) error { _, err := a.exchange(code, nil); return err },
		"another client": func(_ *app, code string) error {
			_, err := w.app("https://app.test/thief.json", nil).exchange(code, map[string]string{"code_verifier": strings.Repeat("v", 43)})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.public()
			code := a.code(b, nil)
			tokens, err := a.exchange(code, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tokens, err = a.refresh(tokens.RefreshToken, nil); err != nil {
				t.Fatal(err)
			}
			wantCode(t, replay(a, code), "invalid_grant")
			if a.alive(tokens.AccessToken) {
				t.Error("the access token works")
			}
			_, err = a.refresh(tokens.RefreshToken, nil)
			wantCode(t, err, "invalid_grant")
		})
	}
}

func TestRefreshRefuses(t *testing.T) {
	w := newWorld(t)
	a, confidential := w.public(), w.confidential()
	thief := w.app("https://app.test/thief.json", nil)
	for name, test := range map[string]struct {
		refresh func(token string) error
		code    string
	}{
		"no token":       {func(string) error { _, err := a.refresh("", nil); return err }, "invalid_request"},
		"junk":           {func(string) error { _, err := a.refresh("junk", nil); return err }, "invalid_grant"},
		"another client": {func(token string) error { _, err := thief.refresh(token, nil); return err }, "invalid_grant"},
		"another key": {func(token string) error {
			other := *a
			other.key = oauthtest.NewKey()
			_, err := other.refresh(token, nil)
			return err
		}, "invalid_grant"},
		"a wider scope": {func(token string) error {
			_, err := a.refresh(token, map[string]string{"scope": "atproto transition:generic"})
			return err
		}, "invalid_scope"},
		"a scope without atproto": {func(token string) error {
			_, err := a.refresh(token, map[string]string{"scope": "transition:email"})
			return err
		}, "invalid_scope"},
	} {
		t.Run(name, func(t *testing.T) {
			tokens := a.tokens(nil)
			wantCode(t, test.refresh(tokens.RefreshToken), test.code)
			if _, err := a.refresh(tokens.RefreshToken, nil); err != nil {
				t.Errorf("the session has ended: %v", err)
			}
		})
	}
	t.Run("a legacy refresh token", func(t *testing.T) {
		login, err := w.Sessions.Start(t.Context(), w.alice, sessions.Grant{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.refresh(login.RefreshJWT, nil)
		wantCode(t, err, "invalid_grant")
		tokens := a.tokens(nil)
		if _, err := w.Sessions.Refresh(t.Context(), tokens.RefreshToken); err == nil {
			t.Error("a refresh token of OAuth was refreshed as a legacy one")
		}
	})
	t.Run("a confidential client", func(t *testing.T) {
		tokens := confidential.tokens(nil)
		_, err := confidential.refresh(tokens.RefreshToken, map[string]string{"client_assertion": "", "client_assertion_type": ""})
		wantCode(t, err, "invalid_client")
		if _, err := confidential.refresh(tokens.RefreshToken, nil); err != nil {
			t.Error(err)
		}
	})
}

// TestAnybodyWhoReusesARefreshToken ends its session, since the token is in more than one hand. In
// its grace period, somebody else only gets nothing.
func TestAnybodyWhoReusesARefreshToken(t *testing.T) {
	w := newWorld(t)
	for name, thief := range map[string]func(a app) *app{
		"another client": func(app) *app { return w.app("https://thief.test/client.json", nil) },
		"another key":    func(a app) *app { a.key = oauthtest.NewKey(); return &a },
	} {
		a := w.public()
		first := a.tokens(nil)
		second, err := a.refresh(first.RefreshToken, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{first.RefreshToken, second.RefreshToken} {
			_, err = thief(*a).refresh(token, nil)
			wantCode(t, err, "invalid_grant")
		}
		if !a.alive(second.AccessToken) {
			t.Errorf("%s ends the session in the grace period", name)
		}
		w.Advance(3 * minute)
		_, err = thief(*a).refresh(first.RefreshToken, nil)
		wantCode(t, err, "invalid_grant")
		if a.alive(second.AccessToken) {
			t.Errorf("%s doesn't end the session", name)
		}
	}
}

// TestAClientThatHasStoppedToRefresh, by its metadata, can't go on.
func TestAClientThatHasStoppedToRefresh(t *testing.T) {
	w := newWorld(t)
	a := w.public()
	tokens := a.tokens(nil)
	m := metadata(a.id, nil)
	m["grant_types"] = []string{"authorization_code"}
	w.publish(a.id, m)
	w.Advance(time.Hour)
	_, err := a.refresh(tokens.RefreshToken, nil)
	wantCode(t, err, "unauthorized_client")
}

func TestANarrowerScope(t *testing.T) {
	w := newWorld(t)
	a := w.public()
	tokens := a.tokens(nil)
	narrow, err := a.refresh(tokens.RefreshToken, map[string]string{"scope": "atproto repo:app.bsky.feed.post?action=create"})
	if err != nil || narrow.Scope != "atproto repo:app.bsky.feed.post?action=create" {
		t.Fatalf("%+v, %v", narrow, err)
	}
	if _, err := a.use(narrow.AccessToken, sessions.Repo("app.bsky.feed.post", "delete")); !errors.Is(err, sessions.ErrScopeMissing) {
		t.Errorf("more than the narrow scope: %v", err)
	}
	if _, err := a.use(narrow.AccessToken, sessions.Repo("app.bsky.feed.post", "create")); err != nil {
		t.Error(err)
	}
	// The session keeps what was granted (source: RFC 6749, section 6).
	wide, err := a.refresh(narrow.RefreshToken, nil)
	if err != nil || wide.Scope != appScope {
		t.Errorf("%+v, %v", wide, err)
	}
}

// TestReusedRefreshTokens: within the grace period the same token gives the same successor, and
// after it the session ends.
func TestReusedRefreshTokens(t *testing.T) {
	w := newWorld(t)
	a := w.public()
	first := a.tokens(nil)
	second, err := a.refresh(first.RefreshToken, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.refresh(first.RefreshToken, nil)
	if err != nil || again.RefreshToken != second.RefreshToken {
		t.Fatalf("%+v, want the successor %s, %v", again, second.RefreshToken, err)
	}
	if !a.alive(second.AccessToken) || !a.alive(again.AccessToken) {
		t.Error("one of two access tokens of the same refresh doesn't work")
	}
	thief := *a
	thief.key = oauthtest.NewKey()
	_, err = thief.refresh(first.RefreshToken, nil)
	wantCode(t, err, "invalid_grant")
	w.Advance(3 * minute)
	_, err = a.refresh(first.RefreshToken, nil)
	wantCode(t, err, "invalid_grant")
	if a.alive(second.AccessToken) {
		t.Error("the session lives on after its refresh token was used again")
	}
	_, err = a.refresh(second.RefreshToken, nil)
	wantCode(t, err, "invalid_grant")
}

func TestManyUseOneCodeAtOnce(t *testing.T) {
	w := newWorld(t)
	a := w.public()
	code := a.code(w.browser("alice.test"), nil)
	ok := race(t, 50, func() error { _, err := a.exchange(code, nil); return err })
	if ok > 1 {
		t.Errorf("one code was exchanged %d times", ok)
	}
	all, err := w.Sessions.List(t.Context(), w.alice)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all { // the replays have ended what the first one opened
		if s.Client != nil {
			t.Errorf("the session %s is alive", s.ID)
		}
	}
}

func TestManyRefreshAtOnce(t *testing.T) {
	w := newWorld(t)
	a := w.public()
	tokens := a.tokens(nil)
	var mu sync.Mutex
	got := map[string]bool{}
	ok := race(t, 50, func() error {
		next, err := a.refresh(tokens.RefreshToken, nil)
		if err == nil {
			mu.Lock()
			got[next.RefreshToken] = true
			mu.Unlock()
		}
		return err
	})
	if ok != 50 || len(got) != 1 {
		t.Errorf("%d of 50 succeeded, with %d successors", ok, len(got))
	}
}

// race runs fn so many times at once, and returns how many of them succeeded. Other errors than
// refusals fail the test.
func race(t *testing.T, n int, fn func() error) int {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	ok := 0
	for range n {
		wg.Go(func() {
			err := fn()
			if err != nil && !errors.Is(err, oauth.ErrRefused) {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				ok++
			}
		})
	}
	wg.Wait()
	return ok
}

// TestLifetimes: what public and confidential clients get, with an end that no refresh moves.
func TestLifetimes(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name         string
		confidential bool
		idle, end    time.Duration
	}{
		{"public", false, 14 * day, 14 * day},
		{"confidential", true, 90 * day, 730 * day},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			a := w.public()
			if test.confidential {
				a = w.confidential()
			}
			idle := a.tokens(nil)
			w.Advance(test.idle)
			_, err := a.refresh(idle.RefreshToken, nil)
			wantCode(t, err, "invalid_grant")

			tokens := a.tokens(nil)
			for left := test.end; left > 0; left -= 7 * day {
				step := min(7*day, left)
				w.Advance(step - minute)
				if tokens, err = a.refresh(tokens.RefreshToken, nil); err != nil {
					t.Fatalf("%v before the end: %v", left-step, err)
				}
				w.Advance(minute)
			}
			if a.alive(tokens.AccessToken) {
				t.Error("an access token outlives its session")
			}
			_, err = a.refresh(tokens.RefreshToken, nil)
			wantCode(t, err, "invalid_grant")
		})
	}
}

func TestAClientThatDoesntRefresh(t *testing.T) {
	w := newWorld(t)
	m := metadata("https://app.test/short.json", nil)
	m["grant_types"] = []string{"authorization_code"}
	a := w.app("https://app.test/short.json", nil)
	w.publish(a.id, m)
	tokens := a.tokens(nil)
	if tokens.RefreshToken != "" || !a.alive(tokens.AccessToken) {
		t.Errorf("%+v", tokens)
	}
	w.Advance(31 * minute)
	if a.alive(tokens.AccessToken) {
		t.Error("the session goes on")
	}
}

// TestWhatHappensBetweenTwoSteps: an account that is taken down, deleted, signed out or given a
// new password between code and token gets no session, and one that has a session loses it.
func TestWhatHappensBetweenTwoSteps(t *testing.T) {
	for name, end := range map[string]func(w *world, a *app) error{
		"sign-out everywhere": func(w *world, _ *app) error { return w.Sessions.EndAll(background(), w.alice) },
		"a new password": func(w *world, _ *app) error {
			return w.Accounts.SetPassword(background(), w.alice, "another password")
		},
		"a takedown":                func(w *world, _ *app) error { return w.Accounts.TakeDown(background(), w.alice, "") },
		"a deletion":                func(w *world, _ *app) error { return w.Accounts.DeleteNow(background(), w.alice) },
		"the end of an application": func(w *world, a *app) error { return w.OAuth.EndApplication(background(), w.alice, a.id) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.public()
			code := a.code(w.browser("alice.test"), nil)
			before := *a
			tokens := before.tokens(nil)
			if err := end(w, a); err != nil {
				t.Fatal(err)
			}
			_, err := a.exchange(code, nil)
			wantCode(t, err, "invalid_grant")
			_, err = before.refresh(tokens.RefreshToken, nil)
			wantCode(t, err, "invalid_grant")
			if before.alive(tokens.AccessToken) {
				t.Error("the access token works")
			}
		})
	}
}

// TestARestoredAccountHasNoSessions of the time before its takedown.
func TestARestoredAccountHasNoSessions(t *testing.T) {
	w := newWorld(t)
	a := w.public()
	tokens := a.tokens(nil)
	if err := errors.Join(w.Accounts.TakeDown(background(), w.alice, ""), w.Accounts.Restore(background(), w.alice)); err != nil {
		t.Fatal(err)
	}
	if a.alive(tokens.AccessToken) {
		t.Error("the access token works")
	}
	_, err := a.refresh(tokens.RefreshToken, nil)
	wantCode(t, err, "invalid_grant")
}

// TestAKeyThatIsRemoved from the client's metadata ends the sessions that began with it.
func TestAKeyThatIsRemoved(t *testing.T) {
	w := newWorld(t)
	a := w.confidential()
	tokens := a.tokens(nil)
	a.auth = oauthtest.NewKey()
	w.publish(a.id, metadata(a.id, a.auth))
	w.Advance(time.Hour) // until the old document isn't cached any longer
	_, err := a.refresh(tokens.RefreshToken, nil)
	wantCode(t, err, "invalid_grant")
	if all, err := w.OAuth.Applications(t.Context(), w.alice); err != nil || len(all) != 1 || len(all[0].Sessions) != 0 {
		t.Errorf("the session has not ended: %v, %v", all, err)
	}
}

// TestAnotherKeyOfTheClient can't refresh a session, which doesn't end by that.
func TestAnotherKeyOfTheClient(t *testing.T) {
	w := newWorld(t)
	a := w.confidential()
	first := a.auth
	tokens := a.tokens(nil)
	second := oauthtest.NewKey()
	m := metadata(a.id, first)
	m["jwks"] = map[string]any{"keys": []any{first.JWK(), second.JWK()}}
	w.publish(a.id, m)
	w.Advance(time.Hour)
	a.auth = second
	_, err := a.refresh(tokens.RefreshToken, nil)
	wantCode(t, err, "invalid_grant")
	a.auth = first
	if _, err := a.refresh(tokens.RefreshToken, nil); err != nil {
		t.Error(err)
	}
}

func TestRevoke(t *testing.T) {
	w := newWorld(t)
	a, confidential := w.public(), w.confidential()
	thief := w.app("https://app.test/thief.json", nil)
	revoke := func(a *app, token string) error {
		return w.OAuth.Revoke(background(), a.call("/oauth/revoke"), a.params(map[string]string{"token": token}))
	}
	stolen := func(a *app) *app {
		other := *a
		other.key = oauthtest.NewKey()
		return &other
	}
	for name, test := range map[string]struct {
		by    func() *app
		token func(*oauth.TokenResponse) string
		ends  bool
	}{
		"an access token":                {func() *app { return a }, func(t *oauth.TokenResponse) string { return t.AccessToken }, true},
		"a refresh token":                {func() *app { return a }, func(t *oauth.TokenResponse) string { return t.RefreshToken }, true},
		"junk":                           {func() *app { return a }, func(*oauth.TokenResponse) string { return "junk" }, false},
		"half a token":                   {func() *app { return a }, func(t *oauth.TokenResponse) string { return t.RefreshToken[:20] }, false},
		"by another client":              {func() *app { return thief }, func(t *oauth.TokenResponse) string { return t.RefreshToken }, false},
		"with another key":               {func() *app { return stolen(a) }, func(t *oauth.TokenResponse) string { return t.RefreshToken }, false},
		"an access token by another key": {func() *app { return stolen(a) }, func(t *oauth.TokenResponse) string { return t.AccessToken }, false},
	} {
		t.Run(name, func(t *testing.T) {
			tokens := a.tokens(nil)
			if err := revoke(test.by(), test.token(tokens)); err != nil {
				t.Fatal(err)
			}
			if a.alive(tokens.AccessToken) == test.ends {
				t.Errorf("whether the session has ended is not %t", test.ends)
			}
		})
	}
	t.Run("errors", func(t *testing.T) {
		wantCode(t, revoke(a, ""), "invalid_request")
		p := confidential.params(map[string]string{"token": "x", "client_assertion": ""})
		wantCode(t, w.OAuth.Revoke(t.Context(), confidential.call("/oauth/revoke"), p), "invalid_client")
		p = a.params(map[string]string{"token": "x"})
		p["token"] = append(p["token"], "y")
		wantCode(t, w.OAuth.Revoke(t.Context(), a.call("/oauth/revoke"), p), "invalid_request")
		wantCode(t, w.OAuth.Revoke(t.Context(), oauth.Call{Method: "POST", URL: issuer + "/oauth/revoke", Proofs: []string{"junk"}},
			a.params(map[string]string{"token": "x"})), "invalid_dpop_proof")
	})
	t.Run("without a proof", func(t *testing.T) {
		tokens := a.tokens(nil)
		err := w.OAuth.Revoke(t.Context(), oauth.Call{Method: "POST", URL: issuer + "/oauth/revoke"}, a.params(map[string]string{"token": tokens.RefreshToken}))
		if err != nil || a.alive(tokens.AccessToken) {
			t.Errorf("the session is alive, %v", err)
		}
	})
}

func TestIntrospect(t *testing.T) {
	w := newWorld(t)
	a := w.public()
	ask := func(token string) *oauth.Introspection {
		t.Helper()
		i, err := w.OAuth.Introspect(t.Context(), "feeds", "the password of feeds", map[string][]string{"token": {token}})
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	tokens := a.tokens(nil)
	i := ask(tokens.AccessToken)
	if !i.Active || i.Subject != w.alice.String() || i.ClientID != a.id || i.Scope != appScope || i.Confirm["jkt"] != a.key.Thumbprint() ||
		i.Issuer != issuer || i.TokenType != "DPoP" || i.Expires != w.Now().Add(30*minute).Unix() {
		t.Errorf("%+v", i)
	}
	for name, token := range map[string]string{"a refresh token": tokens.RefreshToken, "junk": "junk", "half a token": tokens.AccessToken[:50]} {
		if i := ask(token); i.Active || i.Subject != "" {
			t.Errorf("%s: %+v", name, i)
		}
	}
	again, err := a.refresh(tokens.RefreshToken, nil)
	if err != nil || ask(tokens.AccessToken).Active || !ask(again.AccessToken).Active {
		t.Errorf("after a refresh: %v", err)
	}
	w.Advance(31 * minute)
	if ask(again.AccessToken).Active {
		t.Error("an expired token is active")
	}
	for name, who := range map[string][2]string{"another password": {"feeds", "x"}, "nobody": {"", ""}, "an unknown service": {"other", ""}} {
		_, err := w.OAuth.Introspect(t.Context(), who[0], who[1], map[string][]string{"token": {tokens.AccessToken}})
		if e := wantCode(t, err, "invalid_client"); e.Status() != 401 {
			t.Errorf("%s: status %d", name, e.Status())
		}
	}
}

func TestApplications(t *testing.T) {
	w := newWorld(t)
	a, b := w.public(), w.confidential()
	first := a.tokens(map[string]string{"scope": "atproto transition:email"})
	w.Advance(minute)
	second := b.tokens(nil)
	third := b.tokens(map[string]string{"scope": "atproto"})
	all, err := w.OAuth.Applications(t.Context(), w.alice)
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	if got := all[0]; got.ClientID != b.id || got.Name != "Example App" || got.Host != "app.test" || len(got.Sessions) != 2 || got.Scope.String() != appScope && len(got.Scope) != 4 {
		t.Errorf("%+v", got)
	}
	for range 5 {
		if _, err := w.Sessions.Start(t.Context(), w.alice, sessions.Grant{Method: "password"}); err != nil {
			t.Fatal(err)
		}
	}
	counted := domaintest.Count(w.Store)
	w.Store = counted
	another := w.Another()
	counted.Reset()
	if again, err := another.OAuth.Applications(t.Context(), w.alice); err != nil || len(again) != 2 || counted.Reads("sessions") != 3 {
		t.Errorf("%d applications, %v, of %d sessions; want those of 3", len(again), err, counted.Reads("sessions"))
	}
	if err := w.OAuth.EndApplication(t.Context(), w.alice, b.id); err != nil {
		t.Fatal(err)
	}
	if b.alive(second.AccessToken) || b.alive(third.AccessToken) || !a.alive(first.AccessToken) {
		t.Error("not exactly the sessions of the application have ended")
	}
	bob := w.account("bob.test")
	if err := w.OAuth.EndApplication(t.Context(), bob, a.id); err != nil || !a.alive(first.AccessToken) {
		t.Errorf("another account has ended the session, %v", err)
	}
	if err := w.OAuth.EndClient(t.Context(), a.id); err != nil || a.alive(first.AccessToken) {
		t.Errorf("the client's session is alive, %v", err)
	}
}

// TestApplicationsThatWouldNotAsk are listed without a session too, so that owners can end them.
func TestApplicationsThatWouldNotAsk(t *testing.T) {
	w := newWorld(t)
	for _, a := range []*app{w.public(), w.confidential()} {
		tokens := a.tokens(map[string]string{"scope": "atproto transition:email"})
		if err := w.OAuth.Revoke(t.Context(), a.call("/oauth/revoke"), a.params(map[string]string{"token": tokens.AccessToken})); err != nil {
			t.Fatal(err)
		}
	}
	id := w.confidential().id
	all, err := w.OAuth.Applications(t.Context(), w.alice)
	if err != nil || len(all) != 1 || all[0].ClientID != id || len(all[0].Sessions) != 0 || all[0].Scope.String() != "atproto transition:email" {
		t.Fatalf("%+v, %v", all, err)
	}
	if err := w.OAuth.EndApplication(t.Context(), w.alice, id); err != nil {
		t.Fatal(err)
	}
	if all, err = w.OAuth.Applications(t.Context(), w.alice); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestPermissionSetsAtARefresh: what a set contains may change, and what a session has it keeps
// while the set can't be resolved.
func TestPermissionSetsAtARefresh(t *testing.T) {
	w := newWorld(t)
	const set = "app.example.feed.authFull"
	w.PermissionSets.Put(set, "app.example.feed.post")
	m := metadata("https://app.test/sets.json", nil)
	m["scope"] = "atproto include:" + set
	a := w.app("https://app.test/sets.json", nil)
	w.publish(a.id, m)
	tokens := a.tokens(map[string]string{"scope": "atproto include:" + set})
	post, like := sessions.Repo("app.example.feed.post", "create"), sessions.Repo("app.example.feed.like", "create")
	if _, err := a.use(tokens.AccessToken, post); err != nil {
		t.Error(err)
	}
	refresh := func() {
		t.Helper()
		next, err := a.refresh(tokens.RefreshToken, nil)
		if err != nil {
			t.Fatal(err)
		}
		tokens = next
	}
	w.PermissionSets.Remove(set)
	w.Advance(25 * time.Hour)
	refresh()
	if _, err := a.use(tokens.AccessToken, post); err != nil {
		t.Error("the set can't be resolved:", err)
	}
	w.PermissionSets.Put(set, "app.example.feed.like")
	w.Advance(25 * time.Hour)
	refresh()
	if _, err := a.use(tokens.AccessToken, post); !errors.Is(err, sessions.ErrScopeMissing) {
		t.Error("what the set doesn't contain any more:", err)
	}
	if _, err := a.use(tokens.AccessToken, like); err != nil {
		t.Error("what the set contains now:", err)
	}
}

// FuzzToken checks that no parameters lead to anything but tokens or a refusal.
func FuzzToken(f *testing.F) {
	f.Add("authorization_code", "code", "https://app.test/callback", "verifier", "")
	f.Add("refresh_token", "", "", "", "r.x.y")
	w := newWorld(f)
	a := w.public()
	tokens := a.tokens(nil)
	f.Add("refresh_token", "", "", "", tokens.RefreshToken)
	f.Fuzz(func(t *testing.T, grant, code, redirect, verifier, refresh string) {
		p := map[string]string{"grant_type": grant, "code": code, "redirect_uri": redirect, "code_verifier": verifier, "refresh_token": refresh}
		all := a.params(nil)
		for k, v := range maps.All(p) {
			all.Set(k, v)
		}
		if _, err := w.OAuth.Token(background(), a.call("/oauth/token"), all); err != nil && !errors.Is(err, oauth.ErrRefused) {
			t.Errorf("%v: %v", p, err)
		}
		if err := w.OAuth.Revoke(background(), a.call("/oauth/revoke"), a.params(map[string]string{"token": code + refresh})); err != nil && !errors.Is(err, oauth.ErrRefused) {
			t.Errorf("%v: %v", p, err)
		}
	})
}
