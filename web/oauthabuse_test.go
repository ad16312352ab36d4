package web_test

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/web"
)

// TestFormsOfOtherWebsites can't be sent with a person's browser: browsers say where a form comes
// from, and those that don't send a token that only a page of the server has.
func TestFormsOfOtherWebsites(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	b.get(a.push(nil))
	b.signIn("alice")
	path, good := b.page.form("accept")
	none := http.Header{"Sec-Fetch-Mode": nil, "Sec-Fetch-Dest": nil, "Sec-Fetch-Site": nil, "Origin": nil}
	for name, c := range map[string]struct {
		change url.Values
		header http.Header
		status int
	}{
		"another site":                       {nil, http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.test"}}, 403},
		"a sibling":                          {nil, http.Header{"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://alice.pds.test"}}, 403},
		"nobody, without a token":            {url.Values{"csrf": nil}, http.Header{"Sec-Fetch-Site": {"none"}, "Origin": nil}, 403},
		"an old browser at another site":     {nil, with(none, http.Header{"Origin": {"https://evil.test"}}), 403},
		"an old browser that hides the site": {nil, with(none, http.Header{"Origin": {"null"}}), 403},
		"a script":                           {nil, http.Header{"Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}}, 400},
		"a frame":                            {nil, http.Header{"Sec-Fetch-Dest": {"iframe"}}, 400},
		"no token":                           {url.Values{"csrf": nil}, nil, 403},
		"an empty token":                     {url.Values{"csrf": {""}}, nil, 403},
		"a made-up token":                    {url.Values{"csrf": {strings.Repeat("A", 86)}}, nil, 403},
		"no token and no headers":            {url.Values{"csrf": nil}, none, 403},
		"the token twice":                    {url.Values{"csrf": {good.Get("csrf"), good.Get("csrf")}}, nil, 400},
		"an action that isn't one":           {url.Values{"action": {"erase"}}, nil, 400},
		"no action":                          {url.Values{"action": nil}, nil, 400},
		"two actions":                        {url.Values{"action": {"accept", "deny"}}, nil, 400},
		"two accounts":                       {url.Values{"account": {"did:plc:a", "did:plc:b"}}, nil, 400},
	} {
		form := url.Values{}
		for field, values := range good {
			form[field] = values
		}
		for field, values := range c.change {
			form[field] = values
		}
		b.post(path, form, c.header)
		if b.page.StatusCode != c.status || b.page.Header.Get("Location") != "" {
			t.Errorf("%s: %d %s %s", name, b.page.StatusCode, b.page.Header.Get("Location"), b.page.text())
		}
	}
	// Forms have a type and a size.
	for name, c := range map[string]struct {
		contentType, body string
		status            int
	}{
		"JSON":      {"application/json", "{}", 415},
		"no type":   {"", good.Encode(), 415},
		"multipart": {"multipart/form-data; boundary=x", "--x--", 415},
		"too large": {"application/x-www-form-urlencoded", "x=" + strings.Repeat("a", 70<<10), 413},
		"malformed": {"application/x-www-form-urlencoded", "x=%zz", 400},
	} {
		if b.do("POST", path, c.body, http.Header{"Content-Type": {c.contentType}}); b.page.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", name, b.page.StatusCode, c.status)
		}
	}
	// Another browser's token is no use either.
	other := w.browser()
	other.get(a.push(nil))
	_, foreign := other.page.form("sign-in")
	form := url.Values{}
	for field, values := range good {
		form[field] = values
	}
	form["csrf"] = foreign["csrf"]
	b.post(path, form).want(403, "This form can’t be used any more", "Try again")
	// After all that the request is still there, also for a browser that sends no such headers.
	b.old = true
	b.post(path, good).wantAnswer(a.redirect)
}

// TestPagesOfOtherWebsites: pages can only be seen as the document of a window.
func TestPagesOfOtherWebsites(t *testing.T) {
	w := newWorld(t)
	a, b := w.app("app.test", nil), w.browser()
	path := a.push(nil)
	for name, h := range map[string]http.Header{
		"a frame":           {"Sec-Fetch-Dest": {"iframe"}},
		"an old frame":      {"Sec-Fetch-Dest": {"frame"}},
		"an object":         {"Sec-Fetch-Dest": {"object"}},
		"a script":          {"Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}},
		"an image":          {"Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"image"}},
		"a service":         {"Sec-Fetch-Mode": {"same-origin"}, "Sec-Fetch-Dest": {"document"}},
		"a page in advance": {"Sec-Purpose": {"prefetch;prerender"}},
		"a half-old one":    {"Sec-Fetch-Mode": nil, "Sec-Fetch-Dest": {"fencedframe"}},
	} {
		if b.get(path, h).want(400, "Open this page in its own window"); len(b.cookies()) != 0 {
			t.Errorf("%s: cookies %v", name, b.cookies())
		}
	}
	b.old = true
	b.get(path).want(200, "Sign in")
}

// TestWaysToAPage: links in mails, in other applications and on other websites lead to the page,
// and forms can be sent again when a page is reloaded or a tab restored.
func TestWaysToAPage(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	path := a.push(nil)
	for _, site := range []string{"none", "cross-site", "same-site", "same-origin"} {
		b.get(path, http.Header{"Sec-Fetch-Site": {site}}).want(200, "Sign in")
	}
	back, form := b.page.form("sign-in")
	form.Set("identifier", "alice.test")
	form.Set("password", "wrong")
	for _, h := range []http.Header{
		{"Sec-Fetch-Site": {"none"}}, {"Sec-Fetch-Site": {"none"}, "Origin": {"null"}}, {"Sec-Fetch-Site": nil}, {"Sec-Fetch-Site": nil, "Origin": nil},
	} {
		b.post(back, form, h).want(400, "is wrong")
	}
}

func TestHeadersOfPages(t *testing.T) {
	w := newWorld(t)
	a, b := w.app("app.test", nil), w.browser()
	for path, status := range map[string]int{a.push(nil): 200, "/oauth/authorize": 400, "/account/sign-in": 200, "/nowhere": 404} {
		h := b.get(path).want(status).Header
		csp := "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
		if strings.Contains(path, "request_uri") {
			csp += " https:"
		}
		scripts := b.page.all("script")
		for _, script := range scripts {
			csp += "; script-src " + domaintest.Issuer + script["src"]
			if got := w.do(w.client(nil), "GET", script["src"], "", nil); got.StatusCode != 200 || got.Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
				t.Errorf("%v: %d %v", script, got.StatusCode, got.Header)
			}
		}
		if (len(scripts) == 1) != (len(b.page.all("form")) > 0) {
			t.Errorf("%s: scripts %v", path, scripts)
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": csp, "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
			"Content-Type": "text/html; charset=utf-8", "Access-Control-Allow-Origin": "",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if !strings.Contains(h.Get("Permissions-Policy"), "camera=()") {
			t.Errorf("%s: no Permissions-Policy", path)
		}
		for _, link := range b.page.all("link") {
			got := w.do(w.client(nil), "GET", link["href"], "", nil)
			if got.StatusCode != 200 || got.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || got.Header.Get("Content-Security-Policy") == "" {
				t.Errorf("%s: %d %v", link["href"], got.StatusCode, got.Header)
			}
		}
	}
	for method, want := range map[string]int{"PUT": 405, "HEAD": 405, "DELETE": 405, "OPTIONS": 405} {
		if b.do(method, "/oauth/authorize", ""); b.page.StatusCode != want || b.page.Header.Get("Allow") != "GET, POST" {
			t.Errorf("%s: %d", method, b.page.StatusCode)
		}
	}
}

// TestRequestsOfOthers: a request belongs to the client that pushed it and to the browser that
// opened it first.
func TestRequestsOfOthers(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	a, evil := w.app("app.test", nil), w.app("evil.test", nil)
	b, thief := w.browser(), w.browser()
	path := a.push(nil)
	b.get(path)
	b.signIn("alice").want(200, "Allow app.test")
	back, form := b.page.form("accept")

	// The second browser's person isn't asked, nor sent anywhere, and the first one's can go on.
	thief.get(path).want(400, "This sign-in can’t go on here", "Go to app.test", "access_denied")
	links := thief.page.all("a")
	if u, err := url.Parse(links[len(links)-1]["href"]); err != nil || !strings.HasPrefix(u.String(), a.redirect+"?") ||
		u.Query().Get("error") != "access_denied" || u.Query().Get("state") != "the state" || u.Query().Has("code") {
		t.Errorf("a second browser: %v, %v", u, err)
	}
	// Another client can't use the URI, nor get an answer to its own redirect URI.
	u, err := url.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("client_id", evil.id)
	b.get("/oauth/authorize?"+q.Encode()).want(400, "This sign-in request can’t be used", evil.id)
	changed := url.Values{}
	for field, values := range form {
		changed[field] = values
	}
	changed.Set("client_id", evil.id)
	b.post(back, changed).want(403)
	// Nobody who isn't signed in on this browser can be chosen.
	changed.Set("client_id", a.id)
	changed.Set("account", w.SignUp("bob").Account.DID.String())
	if b.post(back, changed); b.page.StatusCode == http.StatusSeeOther {
		t.Errorf("another's account: %s", b.page.Header.Get("Location"))
	}
	// A browser that has lost its cookies gets nowhere.
	blind := w.browser()
	blind.post(back, form).want(400, "Cookies are needed")
	b.post(back, form).wantAnswer(a.redirect)
	b.post(back, form).want(400, "This sign-in is over", "it was answered already", "Go to app.test")
	b.get(path).want(400, "This sign-in request can’t be used")
}

// TestPagesThatWereOpenTooLong lead back to the client, whose host is proven by the token of the
// form, and to nobody else.
func TestPagesThatWereOpenTooLong(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	b.get(a.push(nil))
	path, form := b.page.form("sign-in")
	w.Advance(11 * time.Minute)
	form.Set("identifier", "alice.test")
	form.Set("password", "password")
	b.post(path, form).want(400, "This sign-in is over", "expired while this page was open", "Go to app.test")
	if links := b.page.all("a"); links[len(links)-1]["href"] != "https://app.test/" || b.page.title() != "This sign-in is over · Meadow" {
		t.Errorf("%s: %v", b.page.title(), links)
	}
	form.Set("client_id", "https://evil.test/client.json")
	b.post(path, form).want(403)
	if strings.Contains(b.page.body, "https://evil.test/\"") {
		t.Errorf("a link to anybody: %s", b.page.body)
	}
	form.Set("client_id", a.id)
	w.Advance(time.Hour) // the server has forgotten the browser, which has kept its cookie
	b.post(path, form).want(403, "This form can’t be used any more", "Try again")
}

// foreign matches locations that aren't paths of the server.
var foreign = regexp.MustCompile(`^(//|/?\\\\|[a-z]+:)`)

// TestNoOpenRedirects: the only URLs that the server leads to are its own and the redirect URIs of
// requests.
func TestNoOpenRedirects(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	for _, query := range []string{
		"", "client_id=" + url.QueryEscape(a.id), "request_uri=x", "client_id=x&request_uri=y",
		a.request(nil).Encode() + "&request_uri=" + url.QueryEscape(a.redirect), // not pushed
		a.request(map[string]string{"redirect_uri": "https://evil.test/"}).Encode(),
		"client_id=" + url.QueryEscape(a.id) + "&request_uri=urn:ietf:params:oauth:request_uri:nothing",
		"client_id=" + url.QueryEscape(a.id) + "&client_id=x&request_uri=urn:ietf:params:oauth:request_uri:nothing",
		"client_id=%zz", "client_id=" + strings.Repeat("a", 10000),
	} {
		if b.get("/oauth/authorize?" + query).want(400); b.page.Header.Get("Location") != "" {
			t.Errorf("%.80s: %s", query, b.page.Header.Get("Location"))
		}
		if len(b.page.body) > 8000 {
			t.Errorf("%.80s: a page of %d bytes", query, len(b.page.body))
		}
	}
	path := a.push(nil)
	for _, extra := range []string{"&redirect_uri=https://evil.test/", "&next=//evil.test", "&state=x"} {
		b.get(path + extra)
	}
	b.signIn("alice")
	path, form := b.page.form("accept")
	form.Set("redirect_uri", "https://evil.test/")
	form.Set("state", "another")
	if p := b.post(path, form).wantAnswer(a.redirect); p.Get("state") != "the state" {
		t.Errorf("the answer: %v", p)
	}
	// The sign-in page of the account's pages leads to those only.
	c := w.browser()
	c.get("/account/sign-in?next=https://evil.test/&return_to=//evil.test")
	back, signIn := c.page.form("sign-in")
	signIn.Set("identifier", "alice.test")
	signIn.Set("password", "password")
	signIn.Set("next", "https://evil.test/")
	if location := c.post(back, signIn).Header.Get("Location"); !strings.HasPrefix(location, "/account/applications?account=did") {
		t.Errorf("led to %q", location)
	}
	for _, odd := range []string{"//evil.test/oauth/authorize", "/oauth/../../evil", "/oauth/assets/..%2f..%2fweb.go", "/oauth/assets/", "/oauth/authorize/", "/account"} {
		if got := w.do(w.client(nil), "GET", odd, "", nil); foreign.MatchString(got.Header.Get("Location")) || got.StatusCode == 200 {
			t.Errorf("%s: %d %s", odd, got.StatusCode, got.Header.Get("Location"))
		}
	}
}

// TestMarkupOfClients is text on all pages, and doesn't turn them around.
func TestMarkupOfClients(t *testing.T) {
	evil := "<img src=x onerror=alert(1)>\u202eppA\u0000\n" + strings.Repeat("x", 500)
	w := newWorld(t)
	w.SignUp("alice")
	a := w.app("app.test", map[string]any{"client_name": evil})
	b := w.browser()
	check := func(p *page) {
		t.Helper()
		if strings.Contains(p.body, "<img src=x") || strings.Contains(p.body, "\u202e") || strings.Contains(p.body, strings.Repeat("x", 200)) {
			t.Errorf("the name is more than text: %s", p.body)
		}
		for _, e := range p.all("script") {
			if !strings.HasPrefix(e["src"], "/oauth/assets/once-") {
				t.Errorf("a script: %v", e)
			}
		}
	}
	check(b.get(a.push(map[string]string{"login_hint": `"><script>alert(1)</script>`, "state": "<script>"})))
	if _, form := b.page.form("sign-in"); strings.ContainsAny(form.Get("request_uri"), `<>"`) {
		t.Errorf("the form: %v", form)
	}
	check(b.signIn("alice").want(200, "Allow app.test", "app.test", "img src=x"))
	b.submit("accept", nil)
	code := b.page.wantAnswer(a.redirect).Get("code")
	a.exchange(code)
	check(b.get("/account/applications").want(200, "app.test"))
	check(b.get("/oauth/authorize?client_id=" + url.QueryEscape(`"><script>alert(1)</script>`) + "&request_uri=" + url.QueryEscape("<script>")).want(400))
}

// TestClientsThatCantBeUsed are named to whoever has to repair them.
func TestClientsThatCantBeUsed(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	path := a.push(nil)
	b.get(path).want(200, "Sign in")
	w.Documents.Put(a.id, []byte(`{"client_id":"https://evil.test/client.json"}`))
	for range 2 { // until the document is fetched again
		w.Advance(6 * time.Minute)
		b.get(path)
	}
	b.page.want(400, "This app can’t be used here", "couldn’t read how the app describes itself, or something is wrong with it", "tell the people who make the app", "Try again", "invalid_client_metadata", a.id)
	refusing := newWorld(t, func(c *domaintest.Config) { c.RefusedClients = []string{"https://bad.test/client.json"} })
	bad := refusing.app("bad.test", nil)
	resp := refusing.do(refusing.client(nil), "POST", "/oauth/par", bad.request(nil).Encode(), with(formType, bad.proof("/oauth/par")))
	if resp.StatusCode != 400 || resp.oauthError(t) != "unauthorized_client" {
		t.Errorf("a refused client: %d %s", resp.StatusCode, resp.body)
	}
}

func TestMistakesInTheConfiguration(t *testing.T) {
	s := domaintest.New(t, func(c *domaintest.Config) { c.OAuth = true })
	base := web.Config{Accounts: s.Accounts, Errors: func(error) (int, string, string) { return 500, "", "" }}
	good := web.OAuthConfig{Service: s.OAuth, Devices: s.Devices, Secret: make([]byte, 32)}
	for name, change := range map[string]func(*web.OAuthConfig){
		"no devices":               func(c *web.OAuthConfig) { c.Devices = nil },
		"a short secret":           func(c *web.OAuthConfig) { c.Secret = make([]byte, 31) },
		"a path without a slash":   func(c *web.OAuthConfig) { c.Pages.AccountPath = "account" },
		"a path with one too many": func(c *web.OAuthConfig) { c.Pages.AssetPath = "/assets/" },
		"a path with a wildcard":   func(c *web.OAuthConfig) { c.Pages.AccountPath = "/{x}" },
		"a path of other things":   func(c *web.OAuthConfig) { c.Pages.AccountPath = "/xrpc/account" },
		"a path upwards":           func(c *web.OAuthConfig) { c.Pages.AssetPath = "/a/../b" },
		"a path that is taken":     func(c *web.OAuthConfig) { c.Pages.AssetPath = "/oauth/token" },
		"two paths in one":         func(c *web.OAuthConfig) { c.Pages.AccountPath, c.Pages.AssetPath = "/me", "/me" },
	} {
		cfg := base
		cfg.OAuth = good
		change(&cfg.OAuth)
		if _, err := web.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	base.OAuth = good
	base.OAuth.Pages.AccountPath = "/me"
	if _, err := web.New(base); err != nil {
		t.Error(err)
	}
}

// TestGuessingAtIntrospectors: an address may fail a few times, and is then refused even with the
// right password, so that it learns nothing from going on.
func TestGuessingAtIntrospectors(t *testing.T) {
	w := newWorldWith(t, func(c *web.Config) { c.Limiter = nil })
	introspect := func(password string) *answer {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", domaintest.Issuer+"/oauth/introspect", strings.NewReader("token=x"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = formType.Clone()
		req.SetBasicAuth(domaintest.Introspector, password)
		return w.doRequest(w.client(nil), req)
	}
	for range 20 { // what succeeds isn't a guess
		if resp := introspect(domaintest.IntrospectorPassword); resp.StatusCode != 200 {
			t.Fatalf("introspecting: %d %s", resp.StatusCode, resp.body)
		}
	}
	for i := range 10 {
		if resp := introspect("wrong"); resp.StatusCode != 401 {
			t.Fatalf("guess %d: %d %s", i, resp.StatusCode, resp.body)
		}
	}
	for _, password := range []string{"wrong", domaintest.IntrospectorPassword} {
		resp := introspect(password)
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" || resp.Header.Get("WWW-Authenticate") != "" || strings.Contains(resp.body, "active") {
			t.Errorf("after ten guesses, %q: %d %v %s", password, resp.StatusCode, resp.Header, resp.body)
		}
	}
	w.Advance(5 * time.Minute)
	if resp := introspect(domaintest.IntrospectorPassword); resp.StatusCode != 200 {
		t.Errorf("five minutes later: %d %s", resp.StatusCode, resp.body)
	}
}

// unavailable is a way of signing in whose store is gone.
type unavailable struct{}

func (unavailable) Name() string { return "unavailable" }

func (unavailable) Prove(context.Context, signin.Attempt) (*signin.Proof, error) {
	return nil, storage.ErrUnavailable
}

// TestPagesWithoutAStore say that it is the server's fault, and claim nothing else.
func TestPagesWithoutAStore(t *testing.T) {
	w := newWorld(t, func(c *domaintest.Config) { c.Ways = []signin.Way{unavailable{}} })
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	path := a.push(nil)
	b.get(path)
	page := b.submit("sign-in", url.Values{"identifier": {"alice.test"}, "password": {"a secret password"}})
	page.want(503, "The server has a problem", "Your request couldn’t be answered. Please try again", "Try again", "Reference")
	if strings.Contains(page.body, "secret") || page.Header.Get("X-Request-Id") == "" || page.Header.Get("Retry-After") == "" {
		t.Errorf("%v: %s", page.Header, page.text())
	}
	if links := page.all("a"); links[len(links)-1]["href"] != path {
		t.Errorf("trying again leads to %v, want %s", links, path)
	}
	b.get(path).want(200, "Sign in")
}
