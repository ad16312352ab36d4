package web_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/internal/oauthtest"
	"github.com/gatehouse-at/gatehouse/web"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// world is an authorization server at https://pds.test, over TLS on loopback.
type world struct {
	*domaintest.Services
	t      testing.TB
	server *httptest.Server
	cfg    web.Config
}

func newWorld(t testing.TB, change ...func(*domaintest.Config)) *world {
	t.Helper()
	return newWorldWith(t, func(*web.Config) {}, change...)
}

func newWorldWith(t testing.TB, configure func(*web.Config), change ...func(*domaintest.Config)) *world {
	t.Helper()
	change = append(change, func(c *domaintest.Config) { c.OAuth = true })
	w := &world{Services: domaintest.New(t, change...), t: t}
	w.cfg = web.Config{
		Accounts: w.Accounts, ServiceDID: "did:web:pds.test", Home: web.Home{ServiceName: "Meadow"},
		Errors: func(err error) (int, string, string) {
			e := xrpc.ErrorOf(err)
			return e.Status, e.Name, e.Message
		},
		Limiter: ratelimit.Off{}, Now: w.Now,
		OAuth: web.OAuthConfig{Service: w.OAuth, Devices: w.Devices, Secret: []byte(strings.Repeat("s", 32))},
	}
	configure(&w.cfg)
	s, err := web.New(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.server = httptest.NewUnstartedServer(s.OAuth())
	w.server.Config.ErrorLog = nil
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	return w
}

// client returns an HTTP client that finds pds.test on loopback, and doesn't follow redirects.
func (w *world) client(jar http.CookieJar) *http.Client {
	addr := w.server.Listener.Addr().String()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the certificate is of another name
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body string
}

func (w *world) do(c *http.Client, method, path, body string, header http.Header) *answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, domaintest.Issuer+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	return w.doRequest(c, req)
}

func (w *world) doRequest(c *http.Client, req *http.Request) *answer {
	w.t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return &answer{resp, string(b)}
}

// app is a public client.
type app struct {
	w            *world
	id, redirect string
	key          *oauthtest.Key
	verifier     string
}

const appScope = "atproto repo:app.bsky.feed.post transition:email"

// app publishes the document of a client at https://HOST/client.json.
func (w *world) app(host string, change map[string]any) *app {
	w.t.Helper()
	a := &app{w: w, id: "https://" + host + "/client.json", redirect: "https://" + host + "/callback", key: oauthtest.NewKey()}
	document := map[string]any{
		"client_id": a.id, "client_name": "Example App", "application_type": "web", "dpop_bound_access_tokens": true,
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
		"redirect_uris": []string{a.redirect}, "scope": appScope + " transition:generic identity:*", "token_endpoint_auth_method": "none",
	}
	maps.Copy(document, change)
	b, err := json.Marshal(document)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Documents.Put(a.id, b)
	return a
}

// proof returns the headers of a call with a proof.
func (a *app) proof(path string) http.Header {
	return http.Header{"Dpop": {a.key.Sign(oauthtest.Proof{Method: "POST", URL: domaintest.Issuer + path, Nonce: a.w.OAuth.Nonce(), Now: a.w.Now()})}}
}

func (a *app) request(change map[string]string) url.Values {
	verifier, challenge := oauthtest.Verifier()
	a.verifier = verifier
	p := url.Values{
		"client_id": {a.id}, "response_type": {"code"}, "redirect_uri": {a.redirect}, "scope": {appScope}, "state": {"the state"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
	for name, value := range change {
		p.Set(name, value)
	}
	return p
}

var formType = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}

func with(h http.Header, more http.Header) http.Header {
	h = h.Clone()
	maps.Copy(h, more)
	return h
}

// push pushes a request, and returns the path of the authorization page.
func (a *app) push(change map[string]string) string {
	a.w.t.Helper()
	resp := a.w.do(a.w.client(nil), "POST", "/oauth/par", a.request(change).Encode(), with(formType, a.proof("/oauth/par")))
	var out struct {
		RequestURI string `json:"request_uri"`
	}
	if err := json.Unmarshal([]byte(resp.body), &out); err != nil || resp.StatusCode != http.StatusCreated {
		a.w.t.Fatalf("pushing: %d %s", resp.StatusCode, resp.body)
	}
	return "/oauth/authorize?" + url.Values{"client_id": {a.id}, "request_uri": {out.RequestURI}}.Encode()
}

// browser is a browser that sends the headers of today's.
type browser struct {
	w      *world
	client *http.Client
	jar    *cookiejar.Jar
	header http.Header // beside those that all requests have
	old    bool        // without Sec-Fetch headers and Origin
	page   *page
}

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &browser{w: w, client: w.client(jar), jar: jar, header: http.Header{}}
}

// cookies returns the cookies that the server has set.
func (b *browser) cookies() map[string]string {
	u, err := url.Parse(domaintest.Issuer)
	if err != nil {
		b.w.t.Fatal(err)
	}
	all := map[string]string{}
	for _, c := range b.jar.Cookies(u) {
		all[c.Name] = c.Value
	}
	return all
}

const deviceCookie = "__Host-gatehouse-device"

func (b *browser) get(path string, more ...http.Header) *page {
	h := http.Header{}
	if !b.old {
		h = http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Site": {"cross-site"}}
	}
	return b.do("GET", path, "", append([]http.Header{h}, more...)...)
}

func (b *browser) post(path string, form url.Values, more ...http.Header) *page {
	h := formType.Clone()
	if !b.old {
		h = with(h, http.Header{
			"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Site": {"same-origin"}, "Origin": {domaintest.Issuer},
		})
	}
	return b.do("POST", path, form.Encode(), append([]http.Header{h}, more...)...)
}

func (b *browser) do(method, path, body string, headers ...http.Header) *page {
	b.w.t.Helper()
	h := b.header.Clone()
	for _, more := range headers {
		maps.Copy(h, more)
	}
	b.page = newPage(b.w.t, b.w.do(b.client, method, path, body, h))
	return b.page
}

// follow follows redirects that stay on the server.
func (b *browser) follow() *page {
	b.w.t.Helper()
	for range 5 {
		location := b.page.Header.Get("Location")
		if b.page.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location, "/") {
			return b.page
		}
		b.get(location)
	}
	b.w.t.Fatal("too many redirects")
	return nil
}

// submit presses a button of the page, with some fields filled in, and follows.
func (b *browser) submit(action string, fill url.Values) *page {
	b.w.t.Helper()
	path, form := b.page.form(action)
	for name, values := range fill {
		form[name] = values
	}
	b.post(path, form)
	return b.follow()
}

// signIn fills in the sign-in page.
func (b *browser) signIn(label string) *page {
	b.w.t.Helper()
	return b.submit("sign-in", url.Values{"identifier": {label + ".test"}, "password": {"password"}})
}

// page is a page of the server.
type page struct {
	*answer
	t   testing.TB
	doc *html.Node
}

func newPage(t testing.TB, a *answer) *page {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	return &page{a, t, doc}
}

// all returns the elements of a type.
func (p *page) all(kind string) []map[string]string {
	var list []map[string]string
	for n := range p.doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == kind {
			list = append(list, attributes(n))
		}
	}
	return list
}

func attributes(n *html.Node) map[string]string {
	m := map[string]string{"": strings.Join(strings.Fields(textOf(n)), " ")}
	for _, a := range n.Attr {
		m[a.Key] = a.Val
	}
	return m
}

func textOf(n *html.Node) string {
	var out strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			out.WriteString(d.Data)
		}
	}
	return out.String()
}

// form returns where the form with a button goes, and what it sends if nothing is changed.
func (p *page) form(action string) (string, url.Values) {
	p.t.Helper()
	for n := range p.doc.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" || attributes(n)["method"] != "post" {
			continue
		}
		values, found := url.Values{}, false
		for d := range n.Descendants() {
			a := attributes(d)
			switch {
			case d.Data == "button" && a["name"] == "action" && a["value"] == action:
				found = true
			case d.Data == "input" && (a["type"] != "checkbox" || hasAttribute(d, "checked")) && a["name"] != "":
				values.Add(a["name"], a["value"])
			}
		}
		if found {
			values.Set("action", action)
			return attributes(n)["action"], values
		}
	}
	p.t.Fatalf("there is no button %q on the page: %d %s\n%s", action, p.StatusCode, p.Header.Get("Location"), p.body)
	return "", nil
}

func hasAttribute(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

func (p *page) title() string {
	for _, e := range p.all("title") {
		return e[""]
	}
	return ""
}

// text returns the text of the page, with single spaces.
func (p *page) text() string { return strings.Join(strings.Fields(textOf(p.doc)), " ") }

func (p *page) want(status int, parts ...string) *page {
	p.t.Helper()
	text := p.text()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			p.t.Errorf("the page lacks %q:\n%s", part, text)
		}
	}
	if p.StatusCode != status {
		p.t.Errorf("the status is %d, want %d:\n%s", p.StatusCode, status, text)
	}
	return p
}

// wantAnswer checks that the browser is sent to a redirect URI, and returns the parameters.
func (p *page) wantAnswer(redirect string) url.Values {
	p.t.Helper()
	location, err := url.Parse(p.Header.Get("Location"))
	if err != nil || p.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location.String(), redirect+"?") {
		p.t.Fatalf("%d to %q, want %s:\n%s", p.StatusCode, p.Header.Get("Location"), redirect, p.text())
	}
	return location.Query()
}

// staleProof returns the headers of a call with a proof that has no nonce.
func staleProof(a *app) http.Header {
	return http.Header{"Dpop": {a.key.Sign(oauthtest.Proof{Method: "POST", URL: domaintest.Issuer + "/oauth/par", Now: a.w.Now()})}}
}

func newJWKS() json.RawMessage { return oauthtest.NewKey().JWKS() }
