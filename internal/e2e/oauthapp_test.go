package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/gatehouse-at/gatehouse/internal/oauthtest"
)

// reach returns an HTTP client that sends the requests for an origin to a server that listens
// elsewhere, as a proxy would. It keeps no cookies, and follows no redirects.
func reach(origin, server string) *http.Client {
	from, to := hostOf(origin), hostOf(server)
	var d net.Dialer
	return &http.Client{
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == from {
				addr = to
			}
			return d.DialContext(ctx, network, addr)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func hostOf(origin string) string {
	_, host, _ := strings.Cut(origin, "://")
	return host
}

// oauthApp is an application that gets access to accounts by OAuth. It knows the protocol, and
// nothing of the server.
type oauthApp struct {
	t   testing.TB
	now func() time.Time
	// issuer is the authorization server, and client reaches it.
	issuer string
	client *http.Client

	id, redirect, scope string
	key                 *oauthtest.Key // of its proofs
	auth                *oauthtest.Key // with which it authenticates; nil for a public client

	mu     *sync.Mutex
	nonces map[string]string // by origin
	spy    *secrets          // is told of all that the application and its browsers know; may be nil
}

// secrets are texts that nobody but an application, a browser and the server may see.
type secrets struct {
	mu  sync.Mutex
	all map[string]string // what they are, by text
}

// add notes a secret. Texts that are too short to be one are ignored.
func (s *secrets) add(what, text string) {
	if s == nil || len(text) < 8 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]string{}
	}
	s.all[text] = what
}

// addForm notes the secrets among the parameters of a request, and their parts.
func (s *secrets) addForm(p url.Values) {
	for name, values := range p {
		for _, v := range values {
			switch name {
			case "code", "code_verifier", "client_assertion", "password", "csrf", "pending":
				s.add(name, v)
			case "request_uri":
				s.add(name, v[strings.LastIndex(v, ":")+1:])
			case "token", "refresh_token", "access_token":
				s.addToken(name, v)
			}
		}
	}
}

// addToken notes a token, and each part of it that isn't the name of a session.
func (s *secrets) addToken(what, token string) {
	s.add(what, token)
	if parts := strings.Split(token, "."); len(parts) == 3 {
		s.add("the second part of "+what, parts[1])
		s.add("the third part of "+what, parts[2])
	}
}

// in reports the secrets that are in a text.
func (s *secrets) in(t testing.TB, where, text string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for secret, what := range s.all {
		if strings.Contains(text, secret) {
			t.Errorf("%s shows %s: %.60s", where, what, secret)
		}
	}
}

// count returns how many secrets of a kind there are.
func (s *secrets) count(what string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.all {
		if w == what {
			n++
		}
	}
	return n
}

// callback is the redirect URI of a public client on the owner's own machine.
const callback = "http://127.0.0.1/callback"

// publicApp returns a client without a metadata document, as developers have it.
func publicApp(t testing.TB, issuer string, client *http.Client, now func() time.Time, scope string) *oauthApp {
	return &oauthApp{
		t: t, now: now, issuer: issuer, client: client, redirect: callback, scope: scope, key: oauthtest.NewKey(),
		id: "http://localhost?" + url.Values{"redirect_uri": {callback}, "scope": {scope}}.Encode(),
		mu: &sync.Mutex{}, nonces: map[string]string{},
	}
}

// confidentialApp returns a client that authenticates with a key, and that serves its metadata
// document itself.
func confidentialApp(t testing.TB, issuer string, client *http.Client, now func() time.Time, scope string) *oauthApp {
	t.Helper()
	a := publicApp(t, issuer, client, now, scope)
	a.auth, a.redirect = oauthtest.NewKey(), "https://app.test/callback"
	var document object
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(document)
	}))
	t.Cleanup(server.Close)
	a.id = server.URL + "/client.json"
	document = object{
		"client_id": a.id, "client_name": "Test App", "application_type": "web", "dpop_bound_access_tokens": true,
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
		"redirect_uris": []string{a.redirect}, "scope": scope,
		"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256", "jwks": a.auth.JWKS(),
	}
	return a
}

// public and confidential return clients of a test server.
func (s *api) public(scope string) *oauthApp {
	return publicApp(s.t, s.URL, reach(s.URL, s.URL), s.Clock.Now, scope)
}

func (s *api) confidential(scope string) *oauthApp {
	s.t.Helper()
	return confidentialApp(s.t, s.URL, reach(s.URL, s.URL), s.Clock.Now, scope)
}

// at returns the application with another way to the server: one that leads to another process, or
// to the same after a restart. Nonces are kept.
func (a *oauthApp) at(server string) *oauthApp {
	b := *a
	b.client = reach(a.issuer, server)
	a.mu.Lock()
	defer a.mu.Unlock()
	b.mu, b.nonces = &sync.Mutex{}, maps.Clone(a.nonces)
	return &b
}

// call is a request of an application.
type call struct {
	verb, url string
	query     string
	header    http.Header
	body      []byte
	token     string         // an access token; empty at the authorization server
	proof     string         // in place of a fresh one
	claims    map[string]any // of the proof
	scheme    string         // of the token; default: DPoP
}

// prove returns a proof for a call.
func (a *oauthApp) prove(c call) string {
	return a.key.Sign(oauthtest.Proof{
		Method: c.verb, URL: c.url, Nonce: a.nonceOf(c.url), AccessToken: c.token, Now: a.now(), Claims: c.claims,
	})
}

func (a *oauthApp) nonceOf(target string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.nonces[originOf(target)]
}

func (a *oauthApp) learn(target, nonce string) {
	if nonce == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nonces[originOf(target)] = nonce
}

func originOf(target string) string {
	scheme, rest, _ := strings.Cut(target, "://")
	host, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + host
}

// send sends a call with a proof, and once more if the server wants another nonce. The status is 0
// if there was no answer.
func (a *oauthApp) send(c call) *answer {
	a.t.Helper()
	for attempt := 0; ; attempt++ {
		out := a.once(c)
		if attempt > 0 || c.proof != "" || out.object["error"] != "use_dpop_nonce" {
			return out
		}
	}
}

// once sends a call, once.
func (a *oauthApp) once(c call) *answer {
	a.t.Helper()
	target := c.url
	if c.query != "" {
		target += "?" + c.query
	}
	req, err := http.NewRequest(c.verb, target, bytes.NewReader(c.body))
	if err != nil {
		a.t.Fatal(err)
	}
	maps.Copy(req.Header, c.header)
	if c.token != "" {
		scheme := c.scheme
		if scheme == "" {
			scheme = "DPoP"
		}
		req.Header.Set("Authorization", scheme+" "+c.token)
	}
	proof := c.proof
	if proof == "" {
		proof = a.prove(c)
	}
	req.Header.Set("DPoP", proof)
	out := fetched(a.t, a.client, req)
	a.learn(c.url, out.header.Get("DPoP-Nonce"))
	a.watch(c, proof, out)
	return out
}

// watch notes what is secret about a call and its answer.
func (a *oauthApp) watch(c call, proof string, out *answer) {
	if a.spy == nil {
		return
	}
	a.spy.addToken("proof", proof)
	a.spy.addToken("access_token", c.token)
	if form, err := url.ParseQuery(string(c.body)); err == nil {
		a.spy.addForm(form)
	}
	for name, v := range out.object {
		if text, ok := v.(string); ok {
			a.spy.addForm(url.Values{name: {text}})
		}
	}
}

// fetched sends a request. The status is 0 if there was no answer.
func fetched(t testing.TB, client *http.Client, req *http.Request) *answer {
	t.Helper()
	out := &answer{t: t, method: req.Method + " " + req.URL.Path, header: http.Header{}}
	resp, err := client.Do(req)
	if err != nil {
		return out
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return out
	}
	out.status, out.header, out.body = resp.StatusCode, resp.Header, body
	_ = json.Unmarshal(body, &out.object)
	return out
}

// post sends a form to an endpoint of the authorization server.
func (a *oauthApp) post(path string, p url.Values) *answer {
	a.t.Helper()
	return a.send(a.form(path, p))
}

// form returns the call of post, with the client's credentials.
func (a *oauthApp) form(path string, p url.Values) call {
	p = maps.Clone(p)
	p.Set("client_id", a.id)
	if a.auth != nil {
		p.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		if !p.Has("client_assertion") {
			p.Set("client_assertion", a.auth.Assertion(a.id, a.issuer, a.now(), nil))
		}
	}
	return call{
		verb: http.MethodPost, url: a.issuer + path, body: []byte(p.Encode()),
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	}
}

// pushed is an authorization request that waits for a browser.
type pushed struct{ uri, verifier string }

// push pushes an authorization request.
func (a *oauthApp) push() pushed {
	a.t.Helper()
	out, p := a.tryPush()
	p.uri = out.text201("request_uri")
	return p
}

func (a *oauthApp) tryPush() (*answer, pushed) {
	a.t.Helper()
	verifier, challenge := oauthtest.Verifier()
	out := a.post("/oauth/par", a.requestWith(challenge))
	uri, _ := out.object["request_uri"].(string)
	return out, pushed{uri, verifier}
}

// request returns the parameters of an authorization request.
func (a *oauthApp) request() url.Values {
	_, challenge := oauthtest.Verifier()
	return a.requestWith(challenge)
}

func (a *oauthApp) requestWith(challenge string) url.Values {
	return url.Values{
		"response_type": {"code"}, "redirect_uri": {a.redirect}, "scope": {a.scope}, "state": {"state of " + a.scope},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
}

// text201 is text of an answer to something that was created.
func (a *answer) text201(property string) string {
	a.t.Helper()
	text, ok := a.object[property].(string)
	if a.status != http.StatusCreated || !ok {
		a.t.Fatalf("%s: %d %s, want a %s", a.method, a.status, a.body, property)
	}
	return text
}

// page returns the URL that the application opens in the browser.
func (a *oauthApp) page(p pushed) string {
	return a.issuer + "/oauth/authorize?" + url.Values{"client_id": {a.id}, "request_uri": {p.uri}}.Encode()
}

// exchange exchanges a code for tokens.
func (a *oauthApp) exchange(code string, p pushed) *answer {
	a.t.Helper()
	return a.post("/oauth/token", a.exchangeParams(code, p))
}

func (a *oauthApp) exchangeParams(code string, p pushed) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {a.redirect}, "code_verifier": {p.verifier},
	}
}

// refresh exchanges a refresh token for tokens.
func (a *oauthApp) refresh(token string) *answer {
	a.t.Helper()
	return a.post("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// tokens are the tokens of an OAuth session.
type tokens struct{ access, refresh, did string }

// tokens returns the tokens of an answer.
func (a *answer) tokens() tokens {
	a.t.Helper()
	t := tokens{a.text("access_token"), "", a.text("sub")}
	t.refresh, _ = a.object["refresh_token"].(string)
	return t
}

// signIn goes the whole way with a new browser: the owner signs in, and agrees to all.
func (a *oauthApp) signIn(identifier, password string) tokens {
	a.t.Helper()
	p := a.push()
	code := a.browser().authorize(a.page(p), identifier, password).Get("code")
	return a.exchange(code, p).tokens()
}

// xrpc calls a method with an access token, at a server whose URL is given.
func (a *oauthApp) xrpc(server, token, verb, method, query string, body ...byte) *answer {
	a.t.Helper()
	c := call{verb: verb, url: server + "/xrpc/com.atproto." + method, query: query, token: token, body: body}
	if len(body) > 0 {
		c.header = http.Header{"Content-Type": {"application/json"}}
	}
	return a.send(c)
}

// session calls getSession.
func (a *oauthApp) session(token string) *answer {
	a.t.Helper()
	return a.xrpc(a.issuer, token, http.MethodGet, "server.getSession", "")
}

// browser is a browser without JavaScript.
type browser struct {
	t      testing.TB
	origin string
	client *http.Client
	spy    *secrets
}

// browser returns a new browser, which reaches the server as the application does.
func (a *oauthApp) browser() *browser {
	a.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		a.t.Fatal(err)
	}
	client := *a.client
	client.Jar = jar
	client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if originOf(r.URL.String()) != a.issuer { // it leads back to the client
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &browser{a.t, a.issuer, &client, a.spy}
}

// via returns the browser with another way to the server. It keeps its cookies.
func (b *browser) via(client *http.Client) *browser {
	changed := *b.client
	changed.Transport = client.Transport
	return &browser{b.t, b.origin, &changed, b.spy}
}

// page is a page that a browser shows, or the answer with which it goes back to the client.
type page struct {
	*answer
	forms map[string]*webForm // by the value of the button that sends it
	back  url.Values          // what the client is told
}

// webForm is a form on a page, with what is filled in.
type webForm struct {
	action string
	fields url.Values
}

// open opens a page.
func (b *browser) open(target string) *page {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.show(req)
}

// submit presses a button on a page, after some fields have been filled in.
func (b *browser) submit(p *page, button string, fill url.Values) *page {
	b.t.Helper()
	f := p.forms[button]
	if f == nil {
		b.t.Fatalf("%s: %d: the page has no button %q: %s", p.method, p.status, button, p.body)
	}
	fields := maps.Clone(f.fields)
	fields.Set("action", button)
	maps.Copy(fields, fill)
	b.spy.addForm(fields)
	req, err := http.NewRequest(http.MethodPost, b.origin+f.action, strings.NewReader(fields.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", b.origin)
	return b.show(req)
}

// show sends a request, as browsers send those of a person.
func (b *browser) show(req *http.Request) *page {
	b.t.Helper()
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Dest", "document")
	p := &page{answer: fetched(b.t, b.client, req), forms: map[string]*webForm{}}
	for _, cookie := range b.client.Jar.Cookies(req.URL) {
		_, secret, _ := strings.Cut(cookie.Value, ".")
		b.spy.add("cookie", secret)
	}
	if to := p.header.Get("Location"); to != "" {
		back, err := url.Parse(to)
		if err != nil {
			b.t.Fatal(err)
		}
		p.back = back.Query()
		b.spy.addForm(p.back)
		return p
	}
	doc, err := html.Parse(bytes.NewReader(p.body))
	if err != nil {
		b.t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Data == "form" && attribute(n, "method") == "post" {
			p.addForm(n)
		}
	}
	return p
}

// addForm notes what a form sends.
func (p *page) addForm(n *html.Node) {
	f := &webForm{action: attribute(n, "action"), fields: url.Values{}}
	for n := range n.Descendants() {
		name, value := attribute(n, "name"), attribute(n, "value")
		switch {
		case n.Data == "button" && name == "action":
			p.forms[value] = f
		case n.Data == "input" && (attribute(n, "type") == "hidden" || attribute(n, "type") == "checkbox" && has(n, "checked")):
			f.fields.Add(name, value)
		}
	}
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

// authorize opens the page of a request, signs in on it if it is asked to, so that the browser is
// remembered, and agrees to everything. It returns what the client is told.
func (b *browser) authorize(target, identifier, password string) url.Values {
	b.t.Helper()
	p := b.open(target)
	if p.forms["sign-in"] != nil {
		p = b.submit(p, "sign-in", url.Values{"identifier": {identifier}, "password": {password}, "remember": {"1"}})
	}
	return b.agree(p)
}

// agree agrees to everything on the page of consent, unless the browser is back at the client
// already, since there is nothing to agree to that the owner hasn't agreed to before.
func (b *browser) agree(p *page) url.Values {
	b.t.Helper()
	if p.back == nil {
		p = b.submit(p, "accept", nil)
	}
	if p.back == nil {
		b.t.Fatalf("the browser didn't go back to the client: %d %s", p.status, p.body)
	}
	if p.back.Get("iss") != b.origin || p.back.Get("code") == "" {
		b.t.Fatalf("the client is told %v, want a code of %s", p.back, b.origin)
	}
	return p.back
}
