package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/auth"
	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/signin"
)

// network is an account server with the proxy, and a service that clients call through it.
type network struct {
	*gatehousetest.Server
	t       *testing.T
	proxy   *proxy
	service *httptest.Server
	did     syntax.DID // of the service, whose ID in the document is test_service
	alice   *gatehousetest.Account

	mu   sync.Mutex
	seen []*http.Request // requests to the service
}

// newNetwork starts both. The handler is that of the service, by default whoAsks.
func newNetwork(t *testing.T, answer http.HandlerFunc) *network {
	t.Helper()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	n := &network{t: t}
	n.Server = gatehousetest.NewServer(t, gatehousetest.WithConfig(func(c *gatehouse.Config) {
		c.Fallback = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n.proxy.ServeHTTP(w, r) })
	}))
	if answer == nil {
		answer = n.whoAsks
	}
	n.service = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		n.seen = append(n.seen, r)
		n.mu.Unlock()
		answer(w, r)
	}))
	n.service.EnableHTTP2 = strings.HasSuffix(t.Name(), "HTTP/2")
	n.service.StartTLS()
	t.Cleanup(n.service.Close)
	p, err := newProxy(n.Gatehouse, "")
	if err != nil {
		t.Fatal(err)
	}
	n.proxy = p
	p.transport = n.service.Client().Transport // it connects to loopback addresses
	n.did = n.publish(n.service.URL)
	n.alice = n.CreateAccount("alice.test")
	return n
}

// publish returns a new DID whose document has a service at an endpoint.
func (n *network) publish(endpoint string) syntax.DID {
	n.t.Helper()
	key, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		n.t.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		n.t.Fatal(err)
	}
	op := &did.Operation{
		Type: did.TypeOperation, RotationKeys: []string{public.DIDKey()}, VerificationMethods: map[string]string{}, AlsoKnownAs: []string{},
		Services: map[string]did.Service{"test_service": {Type: "TestService", Endpoint: endpoint}},
	}
	if err := op.Sign(key); err != nil {
		n.t.Fatal(err)
	}
	id, err := op.DID()
	if err == nil {
		err = n.Gatehouse.Directory.Submit(n.t.Context(), id, op)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

// whoAsks answers with what the service token proves, which it checks like services of the network.
func (n *network) whoAsks(w http.ResponseWriter, r *http.Request) {
	method := syntax.NSID(strings.TrimPrefix(r.URL.Path, "/xrpc/"))
	v := auth.ServiceAuthValidator{
		Audience: n.did.String(), Dir: &identity.BaseDirectory{PLCURL: n.URL + "/plc", SkipHandleVerification: true}, TimestampLeeway: time.Hour,
	}
	id, err := v.Validate(r.Context(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), &method)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"did": id.String(), "method": method.String(), "query": r.URL.RawQuery, "body": string(body)})
}

// asked returns how many requests the service has got.
func (n *network) asked() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.seen)
}

const someMethod = "com.example.thing.doIt"

// request returns a request of alice to the account server that is to be passed on to the service.
// Headers are given as name, value, name, value; an empty value removes the header.
func (n *network) request(verb, path string, body io.Reader, headers ...string) *http.Request {
	n.t.Helper()
	r, err := http.NewRequest(verb, n.URL+"/xrpc/"+path, body)
	if err != nil {
		n.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+n.alice.AccessJWT)
	r.Header.Set("Atproto-Proxy", n.did.String()+"#test_service")
	for i := 0; i < len(headers); i += 2 {
		r.Header[http.CanonicalHeaderKey(headers[i])] = nil
		if headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	return r
}

// answer is the response to a request.
type answer struct {
	status         int
	header         http.Header
	body           string
	name, message  string // of an error
	who, what, how string // from whoAsks: DID, method, query and body
}

// send sends a request. The error says that the response is incomplete.
func (n *network) send(r *http.Request) (a answer, cut error) {
	n.t.Helper()
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil { // the connection was closed before the response
		return a, err
	}
	defer resp.Body.Close()
	b, cut := io.ReadAll(resp.Body)
	var said struct{ Error, Message, Did, Method, Query, Body string }
	_ = json.Unmarshal(b, &said)
	return answer{resp.StatusCode, resp.Header, string(b), said.Error, said.Message, said.Did, said.Method, said.Query + said.Body}, cut
}

// ask sends a request whose response must be complete.
func (n *network) ask(verb, path string, body io.Reader, headers ...string) answer {
	n.t.Helper()
	a, cut := n.send(n.request(verb, path, body, headers...))
	if cut != nil {
		n.t.Errorf("%s %s: the answer was cut: %v", verb, path, cut)
	}
	return a
}

// refused checks that a request was answered with an error.
func (n *network) refused(what string, a answer, status int, name, message string) {
	n.t.Helper()
	if a.status != status || a.name != name || !strings.Contains(a.message, message) {
		n.t.Errorf("%s: %d %s; want %d %s %q", what, a.status, a.body, status, name, message)
	}
}

func TestTheServiceLearnsWhoAsks(t *testing.T) {
	for _, version := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(version, func(t *testing.T) {
			n := newNetwork(t, nil)
			for _, c := range []struct{ verb, path, body, how string }{
				{"GET", someMethod, "", ""},
				{"GET", someMethod + "?b=2&a=1&a=%2F%20x;&z=%zz", "", "b=2&a=1&a=%2F%20x;&z=%zz"}, // unchanged
				{"GET", someMethod + "/", "", ""},
				{"POST", someMethod, `{"text":"hello"}`, `{"text":"hello"}`},
				{"POST", someMethod, "", ""},
				{"GET", someMethod, "queries have no body", ""},
			} {
				var body io.Reader
				if c.body != "" {
					body = strings.NewReader(c.body)
				}
				a := n.ask(c.verb, c.path, body, "Content-Type", "application/json")
				if a.status != 200 || a.who != n.alice.DID || a.what != someMethod || a.how != c.how {
					t.Errorf("%s %s: %d %s", c.verb, c.path, a.status, a.body)
				}
			}
			a := n.ask("POST", someMethod, struct{ io.Reader }{strings.NewReader("of unknown length")})
			if a.how != "of unknown length" {
				t.Errorf("a chunked body: %d %s", a.status, a.body)
			}
			if a := n.ask("HEAD", someMethod, nil); a.status != 200 || a.body != "" {
				t.Errorf("HEAD: %d %q", a.status, a.body)
			}
			if proto := n.seen[0].Proto; !strings.HasPrefix(proto, version) {
				t.Errorf("the service was asked by %s", proto)
			}
		})
	}
}

// TestHeadersOfRequests: the service gets the listed headers of the client, but no credentials, and
// nothing that is meant for this server alone.
func TestHeadersOfRequests(t *testing.T) {
	n := newNetwork(t, nil)
	r := n.request("POST", someMethod, strings.NewReader(`{}`),
		"Accept-Language", "de", "Atproto-Accept-Labelers", "did:web:l.test", "X-Bsky-Topics", "cats", "Content-Type", "application/json", "Accept-Encoding", "br",
		"Cookie", "session=secret", "Dpop", "secret", "X-Forwarded-For", "192.0.2.1", "Forwarded", "for=192.0.2.1", "X-Real-Ip", "192.0.2.1",
		"Proxy-Authorization", "Basic secret", "Referer", "https://app.test/secret", "Origin", "https://app.test", "User-Agent", "An App", "X-Anything", "x",
		"Connection", "Accept-Language, X-Anything", "Te", "trailers", "Expect", "100-continue", "If-None-Match", "x", "Range", "bytes=0-1", "Upgrade", "websocket")
	r.Header.Add("Accept-Language", "en")
	r.Host = "anything.example.org"
	if a, _ := n.send(r); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	got := n.seen[0]
	if got.Host != n.service.Listener.Addr().String() {
		t.Errorf("Host: %s", got.Host)
	}
	token := got.Header.Get("Authorization")
	got.Header.Del("Authorization")
	want := http.Header{
		"Accept-Language": {"de, en"}, "Atproto-Accept-Labelers": {"did:web:l.test"}, "X-Bsky-Topics": {"cats"}, "Content-Type": {"application/json"},
		"Content-Length": {"2"}, "Accept-Encoding": {"br"}, "User-Agent": {userAgent},
	}
	if fmt.Sprint(got.Header) != fmt.Sprint(want) {
		t.Errorf("passed:\n%v\nwant:\n%v", got.Header, want)
	}
	if strings.Contains(token, n.alice.AccessJWT) || !strings.HasPrefix(token, "Bearer ") {
		t.Errorf("Authorization: %s", token)
	}
	n.ask("GET", someMethod, nil, "Content-Type", "application/json", "Content-Encoding", "gzip")
	if h := n.seen[1].Header; h.Get("Content-Type") != "" || h.Get("Content-Encoding") != "" || h.Get("Accept-Encoding") != "identity" {
		t.Errorf("of a query: %v", h)
	}
}

func TestHeadersOfResponses(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(`{"hello":"world"}`))
	_ = z.Close()
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Content-Type": "application/json", "Content-Encoding": "gzip", "Content-Language": "de", "Atproto-Repo-Rev": "3kabc", "Atproto-Content-Labelers": "did:web:l.test",
			"Retry-After": "7", "Set-Cookie": "a=b", "Access-Control-Allow-Origin": "https://evil.test", "Access-Control-Allow-Credentials": "true",
			"Access-Control-Expose-Headers": "Everything", "WWW-Authenticate": "Basic", "RateLimit-Limit": "1", "Server": "x", "Location": "https://evil.test",
			"Clear-Site-Data": `"*"`, "Strict-Transport-Security": "max-age=1", "Alt-Svc": "h3=x", "Link": "<x>", "Cache-Control": "public, max-age=99", "Etag": "x",
			"Content-Security-Policy": "default-src *", "Refresh": "0; url=https://evil.test",
		} {
			w.Header().Set(name, value)
		}
		_, _ = w.Write(zipped.Bytes())
	})
	a := n.ask("GET", someMethod, nil, "Accept-Encoding", "gzip")
	if a.status != 200 || a.body != zipped.String() {
		t.Fatalf("%d %q", a.status, a.body)
	}
	a.header.Del("Date")
	expose := a.header.Get("Access-Control-Expose-Headers")
	a.header.Del("Access-Control-Expose-Headers")
	want := http.Header{
		"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}, "Content-Language": {"de"}, "Content-Length": {fmt.Sprint(zipped.Len())},
		"Atproto-Repo-Rev": {"3kabc"}, "Atproto-Content-Labelers": {"did:web:l.test"}, "Retry-After": {"7"},
		"Access-Control-Allow-Origin": {"*"}, "Cache-Control": {"private"}, "Vary": {"Authorization"}, // of this server
		"X-Content-Type-Options": {"nosniff"}, "Content-Security-Policy": {"default-src 'none'; sandbox"},
	}
	if fmt.Sprint(a.header) != fmt.Sprint(want) || strings.Contains(expose, "Everything") {
		t.Errorf("passed:\n%v\nwant:\n%v\nand %s", a.header, want, expose)
	}
}

func TestErrorsOfTheService(t *testing.T) {
	var elsewhere int
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	t.Cleanup(target.Close)
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		var media string
		_, _ = fmt.Sscanf(r.URL.RawQuery, "%d-%s", &status, &media)
		w.Header().Set("Content-Type", media)
		w.Header().Set("Location", target.URL)
		w.Header().Set("Retry-After", "9")
		w.WriteHeader(status)
		if status != 204 && status != 304 {
			fmt.Fprint(w, `{"error":"ItsOwn","message":"in its words"}`)
		}
	})
	for _, c := range []struct {
		status  int
		media   string
		want    int
		name    string
		message string
	}{
		{400, "application/json", 400, "ItsOwn", "in its words"},
		{404, "application/json;charset=utf-8", 404, "ItsOwn", "in its words"},
		{429, "application/json", 429, "ItsOwn", "in its words"},
		{500, "application/json", 502, "ItsOwn", "in its words"},
		{503, "application/json", 503, "ItsOwn", "in its words"},
		{404, "text/html", 404, "UpstreamFailure", "Upstream service answered 404"},
		{500, "text/html", 502, "UpstreamFailure", "Upstream service answered 500"},
		{301, "application/json", 502, "UpstreamFailure", "redirect"},
		{302, "text/html", 502, "UpstreamFailure", "redirect"},
		{304, "application/json", 502, "UpstreamFailure", "redirect"},
		{307, "application/json", 502, "UpstreamFailure", "redirect"},
		{308, "application/json", 502, "UpstreamFailure", "redirect"},
		{204, "application/json", 204, "", ""},
		{201, "application/json", 201, "ItsOwn", ""},
	} {
		a := n.ask("POST", fmt.Sprintf("%s?%d-%s", someMethod, c.status, c.media), strings.NewReader("{}"))
		n.refused(fmt.Sprint(c.status, c.media), a, c.want, c.name, c.message)
		if a.header.Get("Location") != "" || c.status == 429 && a.header.Get("Retry-After") != "9" {
			t.Errorf("%d: %v", c.status, a.header)
		}
	}
	if elsewhere != 0 {
		t.Errorf("a redirect was followed %d times", elsewhere)
	}
	n.service.Close()
	n.refused("a service that is down", n.ask("GET", someMethod, nil), 502, "UpstreamFailure", "Upstream service unreachable")
}

func TestResponsesWithoutATypeAreNotPages(t *testing.T) {
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		fmt.Fprint(w, "<html><script>alert(1)</script>")
	})
	if a := n.ask("GET", someMethod, nil); a.status != 200 || a.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d %v", a.status, a.header)
	}
}

// TestWhoMayUseTheProxy: a request needs a session, and can't be for a method that manages an
// account.
func TestWhoMayUseTheProxy(t *testing.T) {
	n := newNetwork(t, nil)
	ctx := context.Background()
	login := func(name string, privileged bool) string {
		_, password, err := n.Gatehouse.AppPasswords.Create(ctx, syntax.DID(n.alice.DID), name, privileged)
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := n.Gatehouse.SignIn.SignIn(ctx, signin.Attempt{Identifier: n.alice.DID, Password: password})
		if err != nil {
			t.Fatal(err)
		}
		return tokens.AccessJWT
	}
	plain, privileged, revoked := login("plain", false), login("privileged", true), login("revoked", true)
	if err := n.Gatehouse.AppPasswords.Revoke(ctx, syntax.DID(n.alice.DID), "revoked"); err != nil {
		t.Fatal(err)
	}
	ended := n.Login(n.alice)
	if err := n.Gatehouse.Sessions.End(ctx, ended.RefreshJWT); err != nil {
		t.Fatal(err)
	}
	deleted := n.CreateAccount("deleted.test")
	if err := n.Gatehouse.Accounts.DeleteNow(ctx, syntax.DID(deleted.DID)); err != nil {
		t.Fatal(err)
	}
	stranger := gatehousetest.NewServer(t).CreateAccount("stranger.test")
	gone := n.CreateAccount("gone.test")
	if err := n.Gatehouse.Accounts.TakeDown(ctx, syntax.DID(gone.DID), "case 1"); err != nil {
		t.Fatal(err)
	}
	leaving, err := n.Gatehouse.SignIn.SignIn(ctx, signin.Attempt{Identifier: gone.DID, Password: gone.Password, AllowTakendown: true})
	if err != nil {
		t.Fatal(err)
	}
	resting := n.CreateAccount("resting.test")
	if err := n.Gatehouse.Accounts.Deactivate(ctx, syntax.DID(resting.DID), nil); err != nil {
		t.Fatal(err)
	}
	const chat, protected = "chat.bsky.convo.sendMessage", "com.atproto.Identity.updateHandle" // in a spelling that Gatehouse doesn't serve itself
	for _, c := range []struct {
		who, token, method string
		status             int
		name               string
	}{
		{"the owner", n.alice.AccessJWT, someMethod, 200, ""},
		{"the owner", n.alice.AccessJWT, chat, 200, ""},
		{"the owner", n.alice.AccessJWT, protected, 400, "InvalidToken"},
		{"the owner", n.alice.AccessJWT, "com.atproto.server.getsession", 400, "InvalidToken"},
		{"a privileged app", privileged, chat, 200, ""},
		{"an app", plain, someMethod, 200, ""},
		{"an app", plain, chat, 400, "InvalidToken"},
		{"an app", plain, "CHAT.BSKY.convo.sendMessage", 400, "InvalidToken"},
		{"an app", plain, "com.atproto.server.createaccount", 400, "InvalidToken"},
		{"an app that was revoked", revoked, someMethod, 400, "ExpiredToken"},
		{"a session that has ended", ended.AccessJWT, someMethod, 400, "ExpiredToken"},
		{"an account that was deleted", deleted.AccessJWT, someMethod, 403, "AccountNotFound"},
		{"another server's account", stranger.AccessJWT, someMethod, 400, "InvalidToken"},
		{"a deactivated account", resting.AccessJWT, someMethod, 200, ""},
		{"an account that was taken down", gone.AccessJWT, someMethod, 401, "AccountTakedown"},
		{"a taken-down account that may leave", leaving.AccessJWT, someMethod, 400, "InvalidToken"},
		{"nobody", "", someMethod, 401, "AuthMissing"},
		{"junk", "junk", someMethod, 400, "InvalidToken"},
		{"a refresh token", n.alice.RefreshJWT, someMethod, 400, "InvalidToken"},
	} {
		before, authorization := n.asked(), ""
		if c.token != "" {
			authorization = "Bearer " + c.token
		}
		a := n.ask("POST", c.method, strings.NewReader("{}"), "Authorization", authorization)
		if a.status != c.status || a.name != c.name {
			t.Errorf("%s, %s: %d %s; want %d %s", c.who, c.method, a.status, a.body, c.status, c.name)
		}
		if got := n.asked() - before; got != map[bool]int{true: 1}[c.status == 200] {
			t.Errorf("%s, %s: the service was asked %d times", c.who, c.method, got)
		}
	}
	// The token that a service gets isn't valid at this server.
	n.ask("GET", someMethod, nil)
	token := n.seen[len(n.seen)-1].Header.Get("Authorization")
	a := n.ask("GET", "com.atproto.server.getSession", nil, "Authorization", token)
	n.refused("a service token at this server", a, 400, "InvalidToken", "")
}

func TestMalformedProxyHeaders(t *testing.T) {
	n := newNetwork(t, nil)
	service := n.did.String() + "#test_service"
	for header, message := range map[string]string{
		"#test_service":                 "no did specified in proxy header",
		n.did.String():                  "no service id specified in proxy header",
		n.did.String() + "#":            "no service id specified in proxy header",
		service + "#more":               "invalid proxy header format",
		service + " x":                  "proxy header cannot contain spaces",
		service + "/../x":               "invalid proxy header format",
		service + ", " + service:        "proxy header cannot contain spaces",
		n.did.String() + "#%74est":      "invalid proxy header format",
		"did:foo#bar":                   "invalid did in proxy header",
		"did:key:zQ3shX#x":              "invalid did in proxy header",
		"https://evil.test#x":           "invalid did in proxy header",
		"did:web:evil.test/path#x":      "invalid did in proxy header",
		n.did.String() + "#other":       "could not resolve proxy did service url",
		n.alice.DID + "#atproto_pds":    "could not resolve proxy did service url", // its URL is http:// in this test
		"did:plc:" + noSuch + "#x":      "could not resolve proxy did",
		"did:web:unknown.test#x":        "could not resolve proxy did",
		n.Gatehouse.ServiceDID() + "#x": "this server itself",
	} {
		n.refused(header, n.ask("GET", someMethod, nil, "Atproto-Proxy", header), 400, "InvalidRequest", message)
	}
	r := n.request("GET", someMethod, nil)
	r.Header.Add("Atproto-Proxy", service)
	a, _ := n.send(r)
	n.refused("two headers", a, 400, "InvalidRequest", "invalid proxy header format")
	a = n.ask("GET", someMethod, nil, "Atproto-Proxy", "")
	n.refused("no header", a, 501, "MethodNotImplemented", "Method Not Implemented: "+someMethod+" isn't served here")
	for _, path := range []string{"nonsense", "com.example.thing.doIt%2F..%2Fother", "com.example.thing.doIt%3Fx", "com.example.thing.do%0aIt", ""} {
		n.refused(path, n.ask("GET", path, nil), 400, "InvalidRequest", "invalid xrpc path")
	}
	n.refused("DELETE", n.ask("DELETE", someMethod, nil), 400, "InvalidRequest", "XRPC requests only supports GET and POST")
	for _, query := range []string{"a HTTP/1.1", "a\r\nX: y", "a=\x00", "ä"} { // which only HTTP/2 can carry
		r := httptest.NewRequest("GET", "/xrpc/"+someMethod, nil)
		r.URL.RawQuery = query
		r.Header = n.request("GET", someMethod, nil).Header
		w := httptest.NewRecorder()
		n.Gatehouse.ServeHTTP(w, r)
		if w.Code != 400 || !strings.Contains(w.Body.String(), "invalid query") {
			t.Errorf("%q: %d %s", query, w.Code, w.Body)
		}
	}
	if n.asked() != 0 {
		t.Errorf("the service was asked %d times", n.asked())
	}
}

const noSuch = "aaaaaaaaaaaaaaaaaaaaaaaa"

func TestTheAppViewGetsRequestsThatNameNoService(t *testing.T) {
	n := newNetwork(t, nil)
	for _, bad := range []string{"did:web:x.test", "x", "#y"} {
		if _, err := newProxy(n.Gatehouse, bad); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
	p, err := newProxy(n.Gatehouse, n.did.String()+"#test_service")
	if err != nil {
		t.Fatal(err)
	}
	p.transport = n.proxy.transport
	n.proxy = p
	if a := n.ask("GET", "app.bsky.feed.getTimeline", nil, "Atproto-Proxy", ""); a.status != 200 || a.who != n.alice.DID {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestInternalHostsAreNotReached: a DID document can name any URL, but the proxy connects to public
// addresses only, and by HTTPS only.
func TestInternalHostsAreNotReached(t *testing.T) {
	var reached int
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ })}
	go func() { _ = server.Serve(inside) }()
	t.Cleanup(func() { server.Close() })
	n := newNetwork(t, nil)
	n.proxy.transport = publicTransport()
	_, port, _ := net.SplitHostPort(n.service.Listener.Addr().String())
	for _, endpoint := range []string{
		n.service.URL, "https://127.0.0.1:" + port, "https://localhost:" + port, "https://LOCALHOST.:" + port, "https://0.0.0.0:" + port, "https://[::1]:" + port,
		"https://[::ffff:127.0.0.1]:" + port, "https://2130706433:" + port, "https://127.1:" + port, "https://0x7f.1:" + port,
		"https://10.0.0.1", "https://169.254.169.254", "https://192.168.0.1", "https://[fd00::1]", "https://[fe80::1]", "https://100.64.0.1",
	} {
		a := n.ask("GET", someMethod, nil, "Atproto-Proxy", n.publish(endpoint).String()+"#test_service")
		n.refused(endpoint, a, 502, "UpstreamFailure", "Upstream service unreachable")
		if strings.Contains(a.body, "127.") || strings.Contains(a.body, "address") {
			t.Errorf("%s: the response contains the address: %s", endpoint, a.body)
		}
	}
	for _, endpoint := range []string{
		"http://" + inside.Addr().String(), "http://example.com", "ftp://example.com", "file:///etc/passwd", "unix:///run/x.sock", "//example.com", "example.com",
		"https://user:password@example.com", "https://example.com/path", "https://example.com?x=y", "https://example.com?", "https://example.com#x", "https:example.com", "https://",
		"https://exa mple.com", "https://example.com:port", "https://example.com/%2e%2e",
	} {
		a := n.ask("GET", someMethod, nil, "Atproto-Proxy", n.publish(endpoint).String()+"#test_service")
		n.refused(endpoint, a, 400, "InvalidRequest", "could not resolve proxy did service url")
	}
	if n.asked() != 0 || reached != 0 {
		t.Errorf("the internal hosts were reached %d and %d times", n.asked(), reached)
	}
}

// TestNoLoops: a request isn't passed on to this server by its own names, and only once by another
// name.
func TestNoLoops(t *testing.T) {
	hops := 0
	n := newNetwork(t, nil)
	alias := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hops++
		n.Gatehouse.ServeHTTP(w, r)
	}))
	t.Cleanup(alias.Close)
	n.proxy.transport = alias.Client().Transport
	own := strings.TrimPrefix(n.URL, "http://")
	for _, endpoint := range []string{"https://" + own, "https://" + own + "/"} {
		a := n.ask("GET", someMethod, nil, "Atproto-Proxy", n.publish(endpoint).String()+"#test_service")
		n.refused(endpoint, a, 400, "InvalidRequest", "this server itself")
	}
	header := n.publish(alias.URL).String() + "#test_service"
	n.refused("another name", n.ask("GET", someMethod, nil, "Atproto-Proxy", header), 501, "MethodNotImplemented", "")
	to, err := parseService(header)
	if err != nil {
		t.Fatal(err)
	}
	n.proxy.appView = &to // so that requests that name no service go there again
	n.refused("another name, that of the app view", n.ask("GET", someMethod, nil, "Atproto-Proxy", header), 400, "InvalidToken", "")
	if hops != 2 {
		t.Errorf("two requests came back %d times", hops)
	}
}

func TestSpellingsOfOneAddress(t *testing.T) {
	for endpoint, same := range map[string]bool{
		"https://pds.example.com": true, "https://PDS.example.com/": true, "https://pds.example.com:443": true, "https://pds.example.com.": true,
		"https://pds.example.com:8443": false, "https://pds.example.org": false, "https://apds.example.com": false,
	} {
		_, a := address(endpoint)
		_, b := address("https://pds.example.com")
		if got := a == b; got != same {
			t.Errorf("%s: %v", endpoint, got)
		}
	}
}

// TestSlowServices: the proxy doesn't wait for ever for a response, or for the rest of one.
func TestSlowServices(t *testing.T) {
	given := make(chan struct{}, 2)
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "begins" {
			fmt.Fprint(w, "{")
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done() // until the proxy hangs up
		given <- struct{}{}
	})
	n.proxy.timeout = 50 * time.Millisecond
	n.refused("no answer", n.ask("GET", someMethod, nil), 504, "UpstreamTimeout", "Upstream service timed out")
	if a, cut := n.send(n.request("GET", someMethod+"?begins", nil)); cut == nil {
		t.Errorf("half an answer: %d %q, %v", a.status, a.body, cut)
	}
	<-given
	<-given
}

func TestARequestEndsWhenTheClientHangsUp(t *testing.T) {
	arrived, given := make(chan struct{}), make(chan struct{})
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(given)
	})
	ctx, hangUp := context.WithCancel(t.Context())
	go func() {
		<-arrived
		hangUp()
	}()
	if resp, err := http.DefaultTransport.RoundTrip(n.request("GET", someMethod, nil).WithContext(ctx)); err == nil {
		resp.Body.Close()
		t.Errorf("answered %d", resp.StatusCode)
	}
	<-given
}

// TestHugeBodies: the bodies of requests and responses are limited.
func TestHugeBodies(t *testing.T) {
	for _, version := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(version, func(t *testing.T) {
			n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
				_, err := io.Copy(io.Discard, r.Body)
				if err != nil {
					return
				}
				switch r.URL.RawQuery {
				case "header":
					w.Header().Set("Atproto-Repo-Rev", strings.Repeat("x", 1<<20))
				case "announced":
					w.Header().Set("Content-Length", fmt.Sprint(maxResponse+1))
				}
				w.Header().Set("Content-Type", "application/json")
				if r.URL.RawQuery != "" {
					_, _ = w.Write(make([]byte, maxResponse))
					if r.URL.RawQuery != "fits" {
						_, _ = w.Write([]byte("x"))
					}
				}
			})
			if public := publicTransport(); version == "HTTP/1.1" {
				n.proxy.transport.(*http.Transport).MaxResponseHeaderBytes = public.MaxResponseHeaderBytes
				n.refused("huge headers", n.ask("GET", someMethod+"?header", nil), 502, "UpstreamFailure", "unreachable")
			}
			n.refused("announced", n.ask("GET", someMethod+"?announced", nil), 502, "UpstreamFailure", "Upstream service answered too much")
			if a, cut := n.send(n.request("GET", someMethod+"?unannounced", nil)); cut == nil || len(a.body) > maxResponse {
				t.Errorf("unannounced: %d, %d bytes, %v", a.status, len(a.body), cut)
			}
			if a := n.ask("GET", someMethod+"?fits", nil); a.status != 200 || len(a.body) != maxResponse {
				t.Errorf("what fits: %d, %d bytes", a.status, len(a.body))
			}
			body := make([]byte, maxRequest+1)
			for what, r := range map[string]io.Reader{"announced": bytes.NewReader(body), "chunked": struct{ io.Reader }{bytes.NewReader(body)}} {
				n.refused("a huge body, "+what, n.ask("POST", someMethod, r), 413, "PayloadTooLarge", "request entity too large")
			}
			if a := n.ask("POST", someMethod, bytes.NewReader(body[1:])); a.status != 200 {
				t.Errorf("a body that fits: %d %s", a.status, a.body)
			}
		})
	}
}

// TestRunningRequestsAreLimited: an account with long requests doesn't block others, and can make
// further requests when these have ended.
func TestRunningRequestsAreLimited(t *testing.T) {
	arrived, end := make(chan struct{}), make(chan struct{})
	n := newNetwork(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "long" {
			arrived <- struct{}{}
			<-end
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "{}")
	})
	bob := n.CreateAccount("bob.test")
	var done sync.WaitGroup
	for range maxOfOne {
		r := n.request("GET", someMethod+"?long", nil)
		done.Go(func() {
			if resp, err := http.DefaultTransport.RoundTrip(r); err != nil || resp.StatusCode != 200 {
				t.Error(resp, err)
			}
		})
	}
	for range maxOfOne {
		<-arrived
	}
	n.refused("one more", n.ask("GET", someMethod, nil), 429, "RateLimitExceeded", "at the same time")
	if a := n.ask("GET", someMethod, nil, "Authorization", "Bearer "+bob.AccessJWT); a.status != 200 {
		t.Errorf("another account: %d %s", a.status, a.body)
	}
	close(end)
	done.Wait()
	if a := n.ask("GET", someMethod, nil); a.status != 200 {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
	var all turns
	for i := range maxRunning {
		if !all.take(syntax.DID(fmt.Sprint(i))) {
			t.Fatalf("only %d requests can run", i)
		}
	}
	if all.take("another") {
		t.Error("there is no limit for all accounts together")
	}
	for i := range maxRunning {
		all.giveBack(syntax.DID(fmt.Sprint(i)))
	}
	if len(all.of) != 0 || all.all != 0 {
		t.Errorf("%d requests are still counted: %v", all.all, all.of)
	}
}

func TestEachAccountHasABudget(t *testing.T) {
	n := newNetwork(t, nil)
	n.proxy.meter = ratelimit.Meter{Limiter: exhausted{}}
	a := n.ask("GET", someMethod, nil)
	n.refused("beyond the budget", a, 429, "RateLimitExceeded", "Rate Limit Exceeded")
	if a.header.Get("Retry-After") == "" || n.asked() != 0 {
		t.Errorf("%v, asked %d times", a.header, n.asked())
	}
}

// meanwhile is a limiter that calls do after RequireAuth has let a request pass.
type meanwhile struct {
	ratelimit.Off
	do func()
}

func (m meanwhile) Take(ctx context.Context, key string, windows ...ratelimit.Window) (ratelimit.State, error) {
	m.do()
	return m.Off.Take(ctx, key, windows...)
}

// TestSessionsThatEndMeanwhile: a request isn't passed on if its session ends before.
func TestSessionsThatEndMeanwhile(t *testing.T) {
	n := newNetwork(t, nil)
	ctx := context.Background()
	for what, end := range map[string]func(id syntax.DID) error{
		"a log-out":              func(id syntax.DID) error { return n.Gatehouse.Sessions.EndAll(ctx, id) },
		"a takedown":             func(id syntax.DID) error { return n.Gatehouse.Accounts.TakeDown(ctx, id, "case 1") },
		"the account's deletion": func(id syntax.DID) error { return n.Gatehouse.Accounts.DeleteNow(ctx, id) },
	} {
		bob := n.CreateAccount("bob" + fmt.Sprint(len(what)) + ".test")
		n.proxy.meter = ratelimit.Meter{Limiter: meanwhile{do: func() {
			if err := end(syntax.DID(bob.DID)); err != nil {
				t.Error(err)
			}
		}}}
		n.refused(what, n.ask("GET", someMethod, nil, "Authorization", "Bearer "+bob.AccessJWT), 400, "ExpiredToken", "Token has been revoked")
	}
	if n.asked() != 0 {
		t.Errorf("the service was asked %d times", n.asked())
	}
}

// exhausted is a limiter with nothing left.
type exhausted struct{ ratelimit.Off }

func (exhausted) Take(_ context.Context, _ string, windows ...ratelimit.Window) (ratelimit.State, error) {
	return ratelimit.State{Window: windows[0], Reset: time.Now().Add(time.Minute)}, nil
}

func FuzzParseService(f *testing.F) {
	for _, seed := range []string{"did:web:api.bsky.app#bsky_appview", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa#x", "#", "did:web:a#b#c", "did:web:a b#c", "did:web:a\r\nX: y#z"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		to, err := parseService(text)
		if err != nil {
			return
		}
		if to.String() != text {
			t.Errorf("%q is read as %q", text, to)
		}
		if strings.ContainsAny(text, " \t\r\n/?@%") && !strings.Contains(to.did.String(), "%") {
			t.Errorf("%q was accepted", text)
		}
	})
}
