package e2e

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

const (
	describeServer = "/xrpc/com.atproto.server.describeServer"
	atprotoDID     = "/.well-known/atproto-did"
	didDocument    = "/.well-known/did.json"
)

// served lists paths that Server.Handler serves by GET or answers with 404, except the well-known
// documents of accounts.
var served = []string{
	describeServer, "/xrpc/_health", "/xrpc/com.example.unknown", "/", "/robots.txt", "/tls-check?domain=localhost", "/tls-check",
	"/plc/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "/plc/", "/xrpc", "/xrpc/", "/favicon.ico",
	"/.well-known/", "/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server",
	"/.well-known/atproto-did/", "//.well-known/atproto-did", "/x/../.well-known/atproto-did", "/xrpc/../.well-known/did.json",
}

// reply is the response to a request for any path.
type reply struct {
	status int
	header http.Header
	body   string
}

// raw sends text as a request, unchanged, and returns the response.
func (s *api) raw(text string) reply {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		s.t.Fatal(err)
	}
	verb, _, _ := strings.Cut(text, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: verb})
	if err != nil {
		s.t.Fatalf("%q: %v", text, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}

// at sends a request to a host. The host, the target and the headers are sent unchanged.
func (s *api) at(host, verb, target string, headers ...string) reply {
	s.t.Helper()
	return s.raw(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n", verb, target, host, strings.Join(append(headers, ""), "\r\n")))
}

// TestHandleHostsServeOnlyTheirAccounts checks that the host name of an account, in any spelling,
// serves the account's DID, and nothing else that the server has.
func TestHandleHostsServeOnlyTheirAccounts(t *testing.T) {
	t.Parallel()
	for _, method := range []gatehouse.DIDMethod{gatehouse.DIDPLC, gatehouse.DIDWeb} {
		t.Run(string(method), func(t *testing.T) {
			onEach(t, func(t *testing.T, s *api) {
				alice := s.signUp("alice.test")
				hers := []string{"alice.test", "ALICE.test", "alice.test.", "alice.test:80", "alice.test:2583", "Alice.Test.:443"}
				nobodys := []string{"bob.test", "bob.test:80", "a.alice.test", "_x.test", "a..test", ".test", "alice.test..", "xn--a.test:1"}
				for _, host := range append(hers, nobodys...) {
					for _, path := range served {
						if got := s.at(host, "GET", path); got.status != 404 || contains(got.body, "did:web:localhost") || !contains(got.body, "stands for an account") {
							t.Errorf("GET %s at %s: %d %s, want the 404 of a handle host", path, host, got.status, got.body)
						}
					}
					for _, verb := range []string{"POST", "OPTIONS", "PUT", "DELETE", "HEAD", "PATCH", "TRACE", "ODD"} {
						for _, path := range append(served, "/xrpc/com.atproto.server.createSession", atprotoDID, didDocument) {
							if verb == "HEAD" && (path == atprotoDID || path == didDocument) {
								continue
							}
							got := s.at(host, verb, path, "Content-Length: 0", "Origin: https://app.example.com", "Access-Control-Request-Method: POST")
							if got.status != 404 || got.header.Get("Access-Control-Allow-Methods") != "" {
								t.Errorf("%s %s at %s: %d %v, want 404 without CORS headers", verb, path, host, got.status, got.header)
							}
						}
					}
				}
				if got := s.at("alice.test:443", "CONNECT", "alice.test:443"); got.status != 404 {
					t.Errorf("CONNECT: %d, want 404", got.status)
				}
				for _, host := range hers {
					for _, verb := range []string{"GET", "HEAD"} {
						if got := s.at(host, verb, atprotoDID); got.status != 200 || verb == "GET" && got.body != alice.DID {
							t.Errorf("%s atproto-did at %s: %d %s, want %s", verb, host, got.status, got.body, alice.DID)
						}
					}
					got := s.at(host, "GET", didDocument)
					if method == gatehouse.DIDWeb && (got.status != 200 || !contains(got.body, `"id":"did:web:alice.test"`)) || method == gatehouse.DIDPLC && got.status != 404 {
						t.Errorf("did.json at %s: %d %s", host, got.status, got.body)
					}
				}
				for _, host := range nobodys {
					for _, path := range []string{atprotoDID, didDocument} {
						// Any number of dots at the end is ignored.
						if got := s.at(host, "GET", path); got.status != 404 && host != "alice.test.." || contains(got.body, "did:web:localhost") {
							t.Errorf("%s at %s: %d %s, want 404", path, host, got.status, got.body)
						}
					}
				}
			}, config(func(c *gatehouse.Config) { c.DIDs.Method = method }))
		})
	}
}

// TestForwardedHeadersDoNotChangeTheHost checks that the host of a request is the one in its
// request line, or else in its Host header, whatever other headers say.
func TestForwardedHeadersDoNotChangeTheHost(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	alice := s.signUp("alice.test")
	forged := func(host string) []string {
		return []string{
			"X-Forwarded-Host: " + host, "X-Original-Host: " + host, "X-Host: " + host, "Forwarded: host=" + host,
			"X-Forwarded-Server: " + host, "X-Rewrite-URL: http://" + host + "/", "X-Forwarded-For: 203.0.113.9",
		}
	}
	for name, c := range map[string]struct {
		got  reply
		want int
	}{
		"the server, with forged headers":   {s.at("localhost", "GET", describeServer, forged("alice.test")...), 200},
		"an account, with forged headers":   {s.at("alice.test", "GET", describeServer, forged("localhost")...), 404},
		"an account in the request line":    {s.at("localhost", "GET", "http://alice.test"+describeServer), 404},
		"the same with a port":              {s.at("localhost", "GET", "http://alice.test:8080"+describeServer), 404},
		"the same with a user":              {s.at("localhost", "GET", "http://localhost@alice.test"+describeServer), 404},
		"the same in capitals, with a dot":  {s.at("localhost", "GET", "http://ALICE.TEST."+describeServer), 404},
		"the server in the request line":    {s.at("alice.test", "GET", "http://localhost"+describeServer), 200},
		"HTTP/1.0, at an account":           {s.raw("GET " + describeServer + " HTTP/1.0\r\nHost: alice.test\r\n\r\n"), 404},
		"HTTP/1.0, without a host":          {s.raw("GET " + describeServer + " HTTP/1.0\r\n\r\n"), 200},
		"without a host":                    {s.raw("GET " + describeServer + " HTTP/1.1\r\nConnection: close\r\n\r\n"), 400},
		"with two hosts":                    {s.raw("GET " + describeServer + " HTTP/1.1\r\nHost: localhost\r\nHost: alice.test\r\nConnection: close\r\n\r\n"), 400},
		"with a space in the host":          {s.at("al ice.test", "GET", describeServer), 400},
		"at an IP address":                  {s.at("127.0.0.1:2583", "GET", describeServer), 200},
		"at an IPv6 address":                {s.at("[::1]:2583", "GET", describeServer), 200},
		"at an IPv6 address without a port": {s.at("[::1]", "GET", describeServer), 200},
		"at another port":                   {s.at("LOCALHOST:1", "GET", describeServer), 200},
		"at a name inside the network":      {s.at("gatehouse_1:2583", "GET", describeServer), 200},
		"at the handle domain itself":       {s.at("test", "GET", describeServer), 200},
		"at a name that ends like it":       {s.at("alicetest", "GET", describeServer), 200},
	} {
		if c.got.status != c.want {
			t.Errorf("%s: %d %s, want %d", name, c.got.status, c.got.body, c.want)
		}
	}
	if got := s.at("localhost", "GET", "http://alice.test"+atprotoDID); got.body != alice.DID {
		t.Errorf("atproto-did of the host in the request line: %d %s, want %s", got.status, got.body, alice.DID)
	}
}

// TestServerDIDDocumentIsServedOnlyAtHostname checks that the server's did.json is served at its
// Hostname only, and those of accounts at their handles.
func TestServerDIDDocumentIsServedOnlyAtHostname(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) {
		c.Hostname, c.ExtraHostnames, c.DIDs.Method = "pds.test", []string{"door.test"}, gatehouse.DIDWeb
	}))
	s.signUp("alice.test")
	for host, want := range map[string]string{
		"pds.test": `"id":"did:web:pds.test"`, "PDS.test.": `"id":"did:web:pds.test"`, "pds.test:443": `"id":"did:web:pds.test"`,
		"alice.test": `"id":"did:web:alice.test"`, "alice.test:443": `"id":"did:web:alice.test"`,
		"bob.test": "", "door.test": "", "x.pds.test": "", "localhost": "", "127.0.0.1": "", "elsewhere.example.org": "",
	} {
		got := s.at(host, "GET", didDocument)
		if (got.status == 200) != (want != "") || !contains(got.body, want) || got.status != 200 && got.status != 404 {
			t.Errorf("did.json at %s: %d %s, want %q in it, or 404 if that is empty", host, got.status, got.body, want)
		}
	}
	// A Hostname with a port is served at that port only, since the DID contains the port.
	s = newAPI(t, config(func(c *gatehouse.Config) { c.Hostname = "localhost:2583" }))
	for host, want := range map[string]int{"localhost:2583": 200, "LOCALHOST:2583": 200, "localhost": 404, "localhost:80": 404} {
		if got := s.at(host, "GET", didDocument); got.status != want {
			t.Errorf("did.json at %s: %d %s, want %d", host, got.status, got.body, want)
		}
	}
}

// TestExtraHostnamesBelongToTheServer checks that the server serves everything at its
// ExtraHostnames, even if they are on a handle domain, and that no account gets one as its handle.
func TestExtraHostnamesBelongToTheServer(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) {
		c.Hostname, c.ExtraHostnames = "pds.test", []string{"Api.test.", "elsewhere.example.org"}
	}))
	for host, want := range map[string]int{
		"api.test": 200, "API.test:8080": 200, "pds.test": 200, "elsewhere.example.org": 200, "127.0.0.1": 200, "api2.test": 404, "x.api.test": 404,
	} {
		if got := s.at(host, "GET", describeServer); got.status != want {
			t.Errorf("describeServer at %s: %d, want %d", host, got.status, want)
		}
	}
	for domain, want := range map[string]int{"api.test": 200, "elsewhere.example.org": 200, "pds.test": 200, "api2.test": 404, "example.org": 400} {
		if got := s.tlsCheck(domain); got.status != want {
			t.Errorf("tls-check for %s: %d %s, want %d", domain, got.status, got.body, want)
		}
	}
	s.do(nobody, "server.createAccount", object{"handle": "api.test", "email": "eve@example.com", "password": "password"}).
		refused(400, "HandleNotAvailable", "Reserved handle")
	eve := s.signUp("eve.test")
	s.do(bearer(eve.AccessJWT), "identity.updateHandle", object{"handle": "API.test"}).refused(400, "HandleNotAvailable", "Reserved handle")
	s.do(admin, "admin.updateAccountHandle", object{"did": eve.DID, "handle": "api.test"}).refused(400, "HandleNotAvailable", "Reserved handle")
}

// TestEachHandlerRefusesHandleHosts checks that each handler that an embedder can mount by itself
// answers 404 at the host names of accounts, and that HandleHosts protects the embedder's own
// routes in the same way.
func TestEachHandlerRefusesHandleHosts(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) {
		c.Fallback = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the fallback") })
	}))
	alice := s.signUp("alice.test")
	srv := s.Gatehouse
	ask := func(h http.Handler, verb, host, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(verb, path, nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for name, c := range map[string]struct {
		handler http.Handler
		path    string
		own     int // the status at the server's own name
	}{
		"the methods":                {srv, describeServer, 200},
		"the fallback":               {srv, "/xrpc/com.example.method", 200},
		"health":                     {srv, "/xrpc/_health", 200},
		"the server's did.json":      {srv.WellKnown(), didDocument, 200},
		"other well-known documents": {srv.WellKnown(), "/.well-known/other", 404},
		"the PLC directory":          {srv.PLCDirectory(), "/" + alice.DID, 200},
		"the TLS check":              {srv.TLSCheck(), "/anything?domain=localhost", 200},
		"the home page":              {srv.Home(), "/", 200},
		"the whole handler":          {srv.Handler(), "/", 200},
		"an embedder's route":        {srv.HandleHosts(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), "/me", 200},
	} {
		for _, verb := range []string{"GET", "OPTIONS", "POST"} {
			if got := ask(c.handler, verb, "alice.test", c.path); got.Code != 404 || verb != "GET" && got.Header().Get("Access-Control-Allow-Methods") != "" {
				t.Errorf("%s at an account's host, by %s: %d %s, want 404", name, verb, got.Code, got.Body)
			}
		}
		if got := ask(c.handler, "GET", "localhost", c.path); got.Code != c.own {
			t.Errorf("%s at the server's host: %d %s, want %d", name, got.Code, got.Body, c.own)
		}
	}
	guarded := srv.HandleHosts(http.NotFoundHandler())
	if got := ask(guarded, "GET", "alice.test", atprotoDID); got.Code != 200 || got.Body.String() != alice.DID {
		t.Errorf("atproto-did from HandleHosts: %d %s, want %s", got.Code, got.Body, alice.DID)
	}
}

// TestBrowsersAreRedirected checks that browsers are redirected from the host names of accounts to
// the page that the operator configured, and nowhere else.
func TestBrowsersAreRedirected(t *testing.T) {
	t.Parallel()
	const page = "https://app.example.com/profile/{handle}?from={handle}"
	s := newAPI(t, config(func(c *gatehouse.Config) { c.Handles.HostRedirect = page }))
	alice := s.signUp("alice.test")
	const browser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for host, handle := range map[string]string{
		"alice.test": "alice.test", "ALICE.test.:8080": "alice.test", "bob.test": "bob.test", "a.b.test": "a.b.test",
	} {
		for _, path := range []string{"/", "/posts", "//evil.example", "/%5cevil.example", "/?next=https://evil.example", "/x#y", "https://alice.test/z"} {
			if strings.HasPrefix(path, "https:") && host != "alice.test" {
				continue
			}
			for _, verb := range []string{"GET", "HEAD"} {
				got := s.at(host, verb, path, browser, "X-Forwarded-Host: evil.example")
				want := strings.ReplaceAll(page, "{handle}", handle)
				if got.status != 302 || got.header.Get("Location") != want || contains(got.body, "evil") || !contains(got.header.Get("Vary"), "Accept") {
					t.Errorf("%s %s at %s: %d %v %s, want a redirect to %s", verb, path, host, got.status, got.header, got.body, want)
				}
			}
		}
	}
	notFound := func(why string, got reply) {
		t.Helper()
		if got.status != 404 || got.header.Get("Location") != "" {
			t.Errorf("%s: %d %v, want 404 without a Location", why, got.status, got.header)
		}
	}
	for _, accept := range []string{"Accept: */*", "Accept: application/json", "Accept: text/html;q=0, */*", "Accept: text/htmlx", "X: y"} {
		notFound(accept, s.at("alice.test", "GET", "/", accept))
	}
	for _, host := range []string{"evil_.test", "$(x).test", "a%2fb.test", "-.test", ".test", "evil.example;.test", "a,b.test", "'x'.test"} {
		notFound(host, s.at(host, "GET", "/", browser))
	}
	for _, path := range []string{describeServer, "/xrpc/_health", "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		notFound(path, s.at("alice.test", "GET", path, browser))
	}
	for _, verb := range []string{"POST", "OPTIONS", "PUT"} {
		notFound(verb, s.at("alice.test", verb, "/", browser, "Content-Length: 0"))
	}
	if got := s.at("alice.test", "GET", atprotoDID, browser); got.status != 200 || got.body != alice.DID {
		t.Errorf("atproto-did for a browser: %d %s, want %s", got.status, got.body, alice.DID)
	}
	notFound("atproto-did of an unknown handle", s.at("bob.test", "GET", atprotoDID, browser))
	// The server's own host isn't redirected.
	if got := s.at("localhost", "GET", "/", browser); got.status != 200 {
		t.Errorf("the home page: %d, want 200", got.status)
	}
	notFound("an unknown path on the server", s.at("localhost", "GET", "/nothing", browser))
}

// tlsCheck calls /tls-check as Caddy does.
func (s *api) tlsCheck(domain string, headers ...string) reply {
	s.t.Helper()
	return s.at("127.0.0.1", "GET", "/tls-check?domain="+url.QueryEscape(domain), headers...)
}

// TestTLSCheck checks that /tls-check allows certificates for exactly the names at which something
// is served.
func TestTLSCheck(t *testing.T) {
	t.Parallel()
	for _, method := range []gatehouse.DIDMethod{gatehouse.DIDPLC, gatehouse.DIDWeb} {
		t.Run(string(method), func(t *testing.T) {
			onEach(t, func(t *testing.T, s *api) {
				check := func(domain string, want int, text string) {
					t.Helper()
					for range 2 { // the second response comes from the cache
						if got := s.tlsCheck(domain); got.status != want || !contains(got.body, text) {
							t.Errorf("tls-check for %q: %d %s, want %d %s", domain, got.status, got.body, want, text)
						}
					}
				}
				const notFound, foreign, bad = `{"error":"NotFound","message":"handle not found for this domain"}`,
					`{"error":"InvalidRequest","message":"handles are not provided on this domain"}`,
					`{"error":"InvalidRequest","message":"bad or missing domain query param"}`
				check("localhost", 200, `{"success":true}`)
				check("127.0.0.1", 200, `{"success":true}`) // the host of the test server's PublicURL
				check("alice.test", 404, notFound)
				alice := s.signUp("alice.test")
				for _, domain := range []string{"alice.test", "ALICE.test", "alice.test."} {
					check(domain, 200, `{"success":true}`)
				}
				for _, domain := range []string{"bob.test", "a.alice.test", "www.alice.test", "pds.test"} {
					check(domain, 404, notFound)
				}
				for _, domain := range []string{"alice.example.com", "test", "example.com", "alicetest", "alice.test.example.com", "192.0.2.1", "::1", "alice.test:443", "alice.test/x", "alice.test\x00", "alice@example.com"} {
					check(domain, 400, foreign)
				}
				for _, domain := range []string{"*.test", "a_b.test", "https://alice.test", "did:web:alice.test", " alice.test", "a..test", ".test", "-.test", "\x00.test", "x@alice.test", "å.test", strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 2000) + "test"} {
					check(domain, 400, bad)
				}
				for _, query := range []string{"", "?", "?domain=", "?domain=alice.test&domain=bob.test", "?Domain=alice.test", "?name=alice.test", "?domain=%zz"} {
					if got := s.at("127.0.0.1", "GET", "/tls-check"+query); got.status != 400 || !contains(got.body, bad) {
						t.Errorf("tls-check with the query %q: %d %s, want 400", query, got.status, got.body)
					}
				}
				for verb, want := range map[string]int{"HEAD": 200, "POST": 405, "DELETE": 405} {
					if got := s.at("127.0.0.1", verb, "/tls-check?domain=alice.test", "Content-Length: 0"); got.status != want {
						t.Errorf("%s: %d, want %d", verb, got.status, want)
					}
				}

				// The answer changes at once when an account does.
				follows := func(when, host string, served ...bool) {
					t.Helper()
					found := s.at(host, "GET", atprotoDID).status == 200 || s.at(host, "GET", didDocument).status == 200
					if got := s.tlsCheck(host); (got.status == 200) != found || got.status != 200 && got.status != 404 {
						t.Errorf("%s: tls-check for %s: %d %s, but documents are served there: %v", when, host, got.status, got.body, found)
					}
					for _, want := range served {
						if found != want {
							t.Errorf("%s: documents are served at %s: %v, want %v", when, host, found, want)
						}
					}
				}
				web := method == gatehouse.DIDWeb
				s.do(bearer(alice.AccessJWT), "identity.updateHandle", object{"handle": "alicia.test"}).ok()
				follows("renamed", "alice.test", web)
				follows("renamed", "alicia.test", true)
				s.do(bearer(alice.AccessJWT), "server.deactivateAccount", object{}).ok()
				follows("deactivated", "alice.test", web)
				follows("deactivated", "alicia.test")
				s.do(bearer(alice.AccessJWT), "server.activateAccount", nil).ok()
				s.takeDown(alice.DID, "case 1")
				follows("taken down", "alice.test", web)
				follows("taken down", "alicia.test", false)
				s.lift(alice.DID)
				follows("lifted", "alicia.test", true)
				s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
				follows("deleted", "alice.test", false)
				follows("deleted", "alicia.test", false)
			}, config(func(c *gatehouse.Config) { c.DIDs.Method = method }))
		})
	}
}

// TestTLSCheckWhenTheStoreIsClosed checks that a failure of the store is answered 503. A proxy
// might drop its certificate if the answer looked like a refusal.
func TestTLSCheckWhenTheStoreIsClosed(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	if err := s.Store.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.tlsCheck("alice.test"); got.status != 503 {
		t.Errorf("tls-check for an account: %d %s, want 503", got.status, got.body)
	}
	if got := s.tlsCheck("localhost"); got.status != 200 {
		t.Errorf("tls-check for the server's own name: %d %s, want 200", got.status, got.body)
	}
}

// fewPoints is a limiter that allows three points for each key.
type fewPoints struct {
	ratelimit.Off
	mu   sync.Mutex
	used map[string]int
}

func (f *fewPoints) Take(_ context.Context, key string, windows ...ratelimit.Window) (ratelimit.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used[key]++
	return ratelimit.State{Window: windows[0], Allowed: f.used[key] <= 3}, nil
}

// TestTLSCheckIsLimitedExceptForTheProxy checks that /tls-check is limited by client address, since
// anyone can call it and each name costs a lookup. The proxy itself is exempt, since it calls it
// for each connection at a name without a certificate.
func TestTLSCheckIsLimitedExceptForTheProxy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		peer    string
		trusted []netip.Prefix
		header  string
		limited bool
	}{
		"a stranger":                             {"203.0.113.9:1234", nil, "", true},
		"a stranger with a forged header":        {"203.0.113.9:1234", nil, "X-Forwarded-For: 127.0.0.1", true},
		"a stranger on a private network":        {"10.0.0.7:1234", nil, "", true},
		"a stranger by IPv6":                     {"[2001:db8::1]:1234", nil, "", true},
		"a proxy on this machine":                {"127.0.0.1:1234", nil, "", false},
		"a proxy on this machine by IPv6":        {"[::1]:1234", nil, "", false},
		"a proxy on this machine by mapped IPv4": {"[::ffff:127.0.0.1]:1234", nil, "", false},
		"a proxy by a Unix socket":               {"@", nil, "", false},
		"a trusted proxy":                        {"10.0.0.7:1234", network("10.0.0.0/8"), "", false},
		"a stranger through a trusted proxy":     {"10.0.0.7:1234", network("10.0.0.0/8"), "X-Forwarded-For: 203.0.113.9", true},
		"a trusted proxy forwarding loopback":    {"10.0.0.7:1234", network("10.0.0.0/8"), "X-Forwarded-For: 127.0.0.1", true},
		"an untrusted local proxy":               {"127.0.0.1:1234", nil, "X-Forwarded-For: 203.0.113.9", true},
		"an untrusted local proxy, X-Real-Ip":    {"127.0.0.1:1234", nil, "X-Real-Ip: 203.0.113.9", true},
		"an untrusted local proxy, Forwarded":    {"127.0.0.1:1234", nil, "Forwarded: for=203.0.113.9", true},
		"an untrusted local proxy, empty header": {"127.0.0.1:1234", nil, "X-Forwarded-For:", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPI(t, config(func(cfg *gatehouse.Config) {
				cfg.Limits = gatehouse.Limits{Limiter: &fewPoints{used: map[string]int{}}, TrustedProxies: c.trusted}
			}), withHandler(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					r.RemoteAddr = c.peer
					h.ServeHTTP(w, r)
				})
			}))
			var headers []string
			if c.header != "" {
				headers = append(headers, c.header)
			}
			for i := range 10 {
				got := s.tlsCheck(fmt.Sprintf("nobody%d.test", i), headers...)
				if limited := c.limited && i >= 3; (got.status == 429) != limited || !limited && got.status != 404 {
					t.Errorf("call %d: %d %s, want 429: %v, otherwise 404", i, got.status, got.body, limited)
				}
			}
		})
	}
}

// TestTLSCheckIsCached checks that many connections at one name cause few reads of the store.
func TestTLSCheckIsCached(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			store := &countingStore{Store: b.open(t), reads: map[string]int{}}
			s := newAPI(t, withStore(store))
			for _, domain := range []string{"alice.test", "nobody.test"} {
				if domain == "alice.test" {
					s.signUp(domain)
				}
				before := store.count("one of accounts")
				for range 50 {
					s.tlsCheck(domain)
				}
				// A lookup reads the store by handle and by DID. It is repeated only if background
				// work changes something, since the clock stands still.
				if n := store.count("one of accounts") - before; n > 10 {
					t.Errorf("50 calls for %s read the accounts %d times, want at most 10", domain, n)
				}
			}
		})
	}
}

// TestPLCDirectoryServesOnlyDIDs checks that the local PLC directory answers only for DIDs, both at
// the root and below /plc/.
func TestPLCDirectoryServesOnlyDIDs(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	alice := s.signUp("alice.test")
	const unknown = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	for _, did := range []string{alice.DID, url.QueryEscape(alice.DID), strings.ReplaceAll(alice.DID, ":", "%3a")} {
		for _, path := range []string{"/" + did, "/plc/" + did, "/plc/" + did + "/data", "/plc/" + did + "/log/audit"} {
			if got := s.at("127.0.0.1", "GET", path); got.status != 200 || !contains(got.body, alice.DID) && !contains(got.body, "at://alice.test") {
				t.Errorf("%s: %d %s", path, got.status, got.body)
			}
		}
	}
	for _, path := range []string{"/" + unknown, "/plc/" + unknown, "/plc/" + unknown + "/log", "/did:web:alice.test"} {
		if got := s.at("127.0.0.1", "GET", path); got.status != 404 || !contains(got.body, `{"message":"DID not registered: did:`) {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	for _, path := range []string{
		"/favicon.ico", "/xrpc", "/plc", "/plc/", "/plc/favicon.ico", "/plc/xrpc", "/plc/_health", "/plc/export", "/plc/x/log", "/plc/x/data", "/nothing", "/did:",
		"/did:plc", "/plc/did:", "/security.txt", "/index.html", "/a/b", "/plc/a/b/c", "/plc/%00", "/%00", "/plc/" + alice.DID + "%00", "/" + alice.DID + "/data",
		"/.well-known", "/.well-known/nothing", "/did%3Aplc", "/plc/alice.test",
	} {
		for _, verb := range []string{"GET", "POST"} {
			got := s.at("127.0.0.1", verb, path, "Content-Length: 0")
			if verb == "POST" && got.status == 405 && got.header.Get("Allow") == "GET, HEAD" {
				continue
			}
			if got.status != 404 || !contains(strings.ToLower(got.body), "not found") || contains(got.body, "DID", "message") {
				t.Errorf("%s %s: %d %s", verb, path, got.status, got.body)
			}
		}
	}
	if got := s.at("127.0.0.1", "POST", "/"+alice.DID, "Content-Length: 0"); got.status != 404 {
		t.Errorf("an operation outside of /plc/: %d %s, want 404", got.status, got.body)
	}
	// A server with a remote directory serves none.
	type remote struct{ did.Directory }
	elsewhere := newAPI(t, config(func(c *gatehouse.Config) { c.DIDs.Directory = remote{s.Gatehouse.Directory} }))
	for _, path := range []string{"/" + alice.DID, "/plc/" + alice.DID} {
		if got := elsewhere.at("127.0.0.1", "GET", path); got.status != 404 || contains(got.body, alice.DID) {
			t.Errorf("%s of a server without a local directory: %d %s, want 404", path, got.status, got.body)
		}
	}
}

// TestHomePage checks that the home page describes the server, escapes what is configured, and
// can't run scripts.
func TestHomePage(t *testing.T) {
	t.Parallel()
	configured := config(func(c *gatehouse.Config) {
		c.ServiceName, c.Description.ContactEmail = `Alice & <script>alert("x")</script> "Co"`, `"><b>@example.com`
		c.Description.PrivacyPolicyURL, c.Description.TermsOfServiceURL = `https://example.com/privacy?a="b"&c`, "https://example.com/terms"
		c.HandleDomains = []string{".test", ".example.com"}
	})
	s := newAPI(t, configured)
	got := s.at("localhost", "GET", "/")
	if got.status != 200 || got.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", got.status, got.header)
	}
	for _, text := range []string{
		"<h1>Alice &amp; &lt;script&gt;", "AT Protocol", "did:web:localhost", ".test, .example.com", "/xrpc/", `href="https://example.com/terms"`,
		`href="https://example.com/privacy?a=%22b%22&amp;c"`, `href="mailto:`,
	} {
		if !contains(got.body, text) {
			t.Errorf("the home page has no %s: %s", text, got.body)
		}
	}
	if contains(got.body, "<script") || contains(got.body, "<b>") || contains(got.body, gatehouse.Version) {
		t.Errorf("the home page has unescaped text or the version: %s", got.body)
	}
	_, style, _ := strings.Cut(got.body, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options":  "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.header.Get(name), want)
		}
	}
	for verb, want := range map[string]int{"HEAD": 200, "POST": 405, "DELETE": 405} {
		if got := s.at("localhost", verb, "/", "Content-Length: 0"); got.status != want || got.status == 405 && got.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d %v", verb, got.status, got.header)
		}
	}
	robots := s.at("localhost", "GET", "/robots.txt")
	if robots.status != 200 || robots.header.Get("Content-Type") != "text/plain; charset=utf-8" || !contains(robots.body, "User-agent: *\n") {
		t.Errorf("robots.txt: %d %v %s", robots.status, robots.header, robots.body)
	}

	// The version is shown only on request, and links only if they are configured.
	s = newAPI(t, config(func(c *gatehouse.Config) { c.Description.ShowVersion = true }))
	got = s.at("localhost", "GET", "/")
	if !contains(got.body, "Gatehouse "+gatehouse.Version, "<h1>Test Server</h1>") || contains(got.body, "mailto:") || contains(got.body, "Privacy") || contains(got.body, `href=""`) {
		t.Errorf("the home page without links and with the version: %s", got.body)
	}
}

// TestHandlerServesEverything checks that a program that serves nothing but Server.Handler is a
// complete server.
func TestHandlerServesEverything(t *testing.T) {
	t.Parallel()
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(t.Context(), store, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	server := httptest.NewServer(srv.Handler())
	defer server.Close()
	for path, want := range map[string]int{
		describeServer: 200, "/": 200, "/robots.txt": 200, "/tls-check?domain=localhost": 200, "/favicon.ico": 404, "/xrpc/_health": 200, atprotoDID: 404,
	} {
		resp, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}
