package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
)

// appScope is what the applications of these tests ask for.
const appScope = "atproto transition:email repo:app.bsky.feed.post rpc:app.bsky.feed.getFeed?aud=did:web:x.test%23y"

// TestOAuth goes the whole way of an application: from the discovery of the authorization server to
// the end of its access.
func TestOAuth(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		for name, a := range map[string]*oauthApp{"public": s.public(appScope), "confidential": s.confidential(appScope)} {
			t.Run(name, func(t *testing.T) { theWholeWay(t, s, a) })
		}
	})
}

func theWholeWay(t *testing.T, s *api, a *oauthApp) {
	a.t = t
	alice := s.someone()
	id := syntax.DID(alice.DID)

	// The application finds the server, and learns a nonce.
	resource := s.document("/.well-known/oauth-protected-resource")
	if servers := resource["authorization_servers"].([]any); len(servers) != 1 || servers[0] != a.issuer {
		t.Fatalf("the resource's authorization servers: %v", servers)
	}
	server := s.document("/.well-known/oauth-authorization-server")
	for name, path := range map[string]string{
		"pushed_authorization_request_endpoint": "/oauth/par", "authorization_endpoint": "/oauth/authorize",
		"token_endpoint": "/oauth/token", "revocation_endpoint": "/oauth/revoke", "jwks_uri": "/oauth/jwks",
	} {
		if server[name] != a.issuer+path {
			t.Errorf("%s: %v", name, server[name])
		}
	}
	first := a.once(a.form("/oauth/par", url.Values{"response_type": {"code"}}))
	first.refused(http.StatusBadRequest, "use_dpop_nonce")
	if first.header.Get("DPoP-Nonce") == "" {
		t.Fatal("no nonce was offered")
	}

	// The owner signs in and agrees.
	p := a.push()
	b := a.browser()
	back := b.authorize(a.page(p), alice.Handle, alice.Password)
	if back.Get("state") != "state of "+appScope || len(back) != 3 {
		t.Errorf("the client is told %v, want iss, state and code", back)
	}
	b.open(a.page(p)).notFound(t)
	out := a.exchange(back.Get("code"), p)
	k := out.tokens()
	if k.did != alice.DID || out.object["token_type"] != "DPoP" || out.object["scope"] != appScope || out.object["expires_in"] != 1800.0 ||
		out.header.Get("Cache-Control") != "no-store" || out.header.Get("DPoP-Nonce") == "" {
		t.Errorf("the tokens: %s %v", out.body, out.header)
	}

	// What the session is good for.
	if got := a.session(k.access).ok(); got["did"] != alice.DID || got["email"] != alice.Email || got["active"] != true {
		t.Errorf("getSession: %v", got)
	}
	get := func(query string) *answer {
		return a.xrpc(a.issuer, k.access, http.MethodGet, "server.getServiceAuth", query)
	}
	get("aud=did:web:x.test%23y&lxm=app.bsky.feed.getFeed").ok()
	get("aud=did:web:x.test%23y&lxm=app.bsky.feed.getTimeline").
		refused(403, "ScopeMissingError", `Missing required scope "rpc:app.bsky.feed.getTimeline?aud=did:web:x.test%23y"`)
	a.xrpc(a.issuer, k.access, http.MethodPost, "identity.updateHandle", "", jsonOf(t, object{"handle": "other.test"})...).
		refused(403, "ScopeMissingError", `Missing required scope "identity:handle"`)
	// The owner sees it among the sessions and the applications.
	all, err := s.Gatehouse.Sessions.List(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var mine int
	for _, session := range all {
		if session.Client != nil && session.Client.ID == a.id && session.Method == "password" {
			mine++
		}
	}
	apps, err := s.Gatehouse.OAuth.Applications(t.Context(), id)
	if err != nil || len(apps) != 1 || apps[0].ClientID != a.id || len(apps[0].Sessions) != 1 || mine != 1 {
		t.Errorf("%d sessions, applications %v, %v; want one of each", mine, apps, err)
	}

	// A refresh ends the access token, and gets a narrower one if that is asked for.
	second := a.refresh(k.refresh).tokens()
	a.session(k.access).refused(401, "invalid_token", "Token has been revoked")
	a.session(second.access).ok()
	narrow := a.post("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {second.refresh}, "scope": {"atproto"}})
	third := narrow.tokens()
	if got := a.session(third.access).ok(); narrow.object["scope"] != "atproto" || got["email"] != nil {
		t.Errorf("a narrower token: %s, getSession %v", narrow.body, got)
	}
	a.post("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {third.refresh}, "scope": {"atproto identity:*"}}).
		refused(400, "invalid_scope")

	// A stranger's revocation does nothing, and the client's own ends the session.
	stranger := s.public(appScope)
	stranger.post("/oauth/revoke", url.Values{"token": {third.refresh}}).ok()
	a.post("/oauth/revoke", url.Values{"token": {"junk"}}).ok()
	a.session(third.access).ok()
	a.post("/oauth/revoke", url.Values{"token": {k.refresh}}).ok() // any of its tokens will do
	a.session(third.access).refused(401, "invalid_token", "Token has been revoked")
	a.refresh(third.refresh).refused(400, "invalid_grant")

	// The browser is remembered: the owner isn't asked for the password again, and may end the access
	// on the page of applications.
	p = a.push()
	again := b.open(a.page(p))
	// What a confidential client was granted before isn't asked for again.
	if asks := again.forms["accept"] != nil; asks != (a.auth == nil) || again.forms["sign-in"] != nil {
		t.Errorf("the page asks for consent: %v, %s", asks, again.body)
	}
	k = a.exchange(b.agree(again).Get("code"), p).tokens()
	a.session(k.access).ok()
	b.submit(b.open(a.issuer+"/account/applications"), "end", nil)
	a.session(k.access).refused(401, "invalid_token", "Token has been revoked")

	// What ends sessions ends that of the application.
	k = a.signIn(alice.Handle, alice.Password)
	a.session(k.access).ok()
	s.do(admin, "admin.updateAccountPassword", object{"did": alice.DID, "password": "another password"}).ok()
	a.session(k.access).refused(401, "invalid_token", "Token has been revoked")
	if p := b.open(a.page(a.push())); p.forms["sign-in"] == nil {
		t.Errorf("after a change of the password the browser is still signed in: %s", p.body)
	}
}

// notFound checks that a page says that there is no such request.
func (p *page) notFound(t *testing.T) {
	t.Helper()
	if p.status != http.StatusBadRequest || p.back != nil || len(p.forms) > 0 {
		t.Errorf("%s: %d %s, want an error page", p.method, p.status, p.body)
	}
}

// document returns a JSON document of the server.
func (s *api) document(path string) object {
	s.t.Helper()
	status, body := s.get(hostOf(s.URL), path)
	var o object
	if err := json.Unmarshal([]byte(body), &o); err != nil || status != http.StatusOK {
		s.t.Fatalf("%s: %d %s", path, status, body)
	}
	return o
}

func jsonOf(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// oauthSessions counts the sessions of an account that belong to clients.
func (s *api) oauthSessions(id string) (n int) {
	s.t.Helper()
	all, err := s.Gatehouse.Sessions.List(s.t.Context(), syntax.DID(id))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, session := range all {
		if session.Client != nil {
			n++
		}
	}
	return n
}

// TestRaceToExchange has a code exchanged by its client many times at once. One of the exchanges
// opens a session, which the others end, since only one of them can be the client's.
func TestRaceToExchange(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.someone()
		a := s.public("atproto")
		p := a.push()
		code := a.browser().authorize(a.page(p), alice.Handle, alice.Password).Get("code")
		answers := race(func(int) *answer { return a.exchange(code, p) })
		if counts := tally(answers); counts[""] != 1 || counts["invalid_grant"] != racers-1 {
			t.Errorf("exchanges of one code: %v, want one success", counts)
		}
		if n := s.oauthSessions(alice.DID); n != 0 {
			t.Errorf("%d sessions are left of a code that was used again", n)
		}
		for _, out := range answers {
			if out.status == http.StatusOK {
				a.session(out.tokens().access).refused(401, "invalid_token", "Token has been revoked")
				a.refresh(out.tokens().refresh).refused(400, "invalid_grant")
			}
		}
	})
}

// TestRaceToRefreshByOAuth refreshes many times at once. All get the same successor, and access
// tokens that are good.
func TestRaceToRefreshByOAuth(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.someone()
		a := s.public("atproto")
		k := a.signIn(alice.Handle, alice.Password)
		successors, ids := map[string]bool{}, map[string]bool{}
		var last tokens
		for _, out := range race(func(int) *answer { return a.refresh(k.refresh) }) {
			last = out.tokens()
			successors[last.refresh], ids[jti(t, last.access)] = true, true
		}
		if len(successors) != 1 || len(ids) != 1 {
			t.Errorf("one refresh token has %d successors with %d access tokens, want 1", len(successors), len(ids))
		}
		a.session(last.access).ok()
		a.session(k.access).refused(401, "invalid_token")
		if n := s.oauthSessions(alice.DID); n != 1 {
			t.Errorf("%d sessions, want 1", n)
		}
	})
}

// TestRaceToAnswerOneRequest agrees to a request many times at once on one page, as impatient
// people click. One answer leads back to the client with a code.
func TestRaceToAnswerOneRequest(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.someone()
		a := s.public("atproto")
		p := a.push()
		b := a.browser()
		consent := b.submit(b.open(a.page(p)), "sign-in", url.Values{"identifier": {alice.Handle}, "password": {alice.Password}})
		var codes []string
		pages := make([]*page, racers)
		race(func(i int) *answer { pages[i] = b.submit(consent, "accept", nil); return pages[i].answer })
		for _, p := range pages {
			if code := p.back.Get("code"); code != "" {
				codes = append(codes, code)
			} else {
				p.notFound(t)
			}
		}
		if len(codes) != 1 {
			t.Fatalf("%d codes for one request", len(codes))
		}
		a.session(a.exchange(codes[0], p).tokens().access).ok()
	})
}

// TestServicesIntrospectTokens has a service of the operator ask about tokens, and strangers in its
// place.
func TestServicesIntrospectTokens(t *testing.T) {
	t.Parallel()
	const password = "a password of feeds"
	s := newAPI(t, config(func(c *gatehouse.Config) { c.OAuth.Introspectors = map[string]string{"feeds": password} }))
	alice, a := s.someone(), s.public(appScope)
	k := a.signIn(alice.Handle, alice.Password)
	ask := func(name, password, token string) *answer {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, s.URL+"/oauth/introspect", strings.NewReader(url.Values{"token": {token}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(name, password)
		return fetched(t, reach(s.URL, s.URL), req)
	}
	got := ask("feeds", password, k.access).ok()
	if got["active"] != true || got["sub"] != alice.DID || got["client_id"] != a.id || got["scope"] != appScope || got["token_type"] != "DPoP" ||
		got["iss"] != s.URL || got["cnf"].(object)["jkt"] != a.key.Thumbprint() {
		t.Errorf("a good token: %v", got)
	}
	next := a.refresh(k.refresh).tokens()
	for name, token := range map[string]string{
		"a replaced access token": k.access, "a refresh token": next.refresh, "a bearer token": alice.AccessJWT, "junk": "junk",
	} {
		if got := ask("feeds", password, token).ok(); len(got) != 1 || got["active"] != false {
			t.Errorf("%s: %v", name, got)
		}
	}
	s.takeDown(alice.DID, "case 1")
	if got := ask("feeds", password, next.access).ok(); len(got) != 1 || got["active"] != false {
		t.Errorf("a token of an account that is taken down: %v", got)
	}
	for _, c := range [][2]string{{"feeds", "a wrong password"}, {"others", password}, {"", ""}, {"admin", "admin-password"}} {
		out := ask(c[0], c[1], next.access)
		if out.refused(401, "invalid_client"); !strings.HasPrefix(out.header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: the challenge is %q", c[0], out.header.Get("WWW-Authenticate"))
		}
	}
	// A server without such services has no such endpoint.
	plain := newAPI(t)
	if status, _ := plain.get(hostOf(plain.URL), "/oauth/introspect"); status != http.StatusNotFound || plain.document("/.well-known/oauth-authorization-server")["introspection_endpoint"] != nil {
		t.Errorf("introspection without services: %d", status)
	}
}
