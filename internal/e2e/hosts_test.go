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

// served lists what Server.Handler serves by GET, except the documents of accounts.
var served = []string{
	describeServer, "/xrpc/_health", "/xrpc/com.example.unknown", "/", "/robots.txt", "/tls-check?domain=localhost", "/tls-check",
	"/plc/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "/plc/", "/xrpc", "/xrpc/", "/favicon.ico",
	"/.well-known/", "/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server",
	"/.well-known/atproto-did/", "//.well-known/atproto-did", "/x/../.well-known/atproto-did", "/xrpc/../.well-known/did.json",
}

// reply is an answer to any request.
type reply struct {
	status int
	header http.Header
	body   string
}

// raw sends a request as it is written, head and body, and returns the answer.
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

// at makes a request at a host, which is sent as it is written.
func (s *api) at(host, verb, target string, headers ...string) reply {
	s.t.Helper()
	return s.raw(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n", verb, target, host, strings.Join(append(headers, ""), "\r\n")))
}

// TestHandleHostsLeadToAccountsAndServeNothingElse: at the name of an account, however it is
// written, there is the account's DID, and nothing else of the server.
func TestHandleHostsLeadToAccountsAndServeNothingElse(t *testing.T) {
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
							t.Errorf("GET %s at %s: %d %s", path, host, got.status, got.body)
						}
					}
					for _, verb := range []string{"POST", "OPTIONS", "PUT", "DELETE", "HEAD", "PATCH", "TRACE", "ODD"} {
						for _, path := range append(served, "/xrpc/com.atproto.server.createSession", atprotoDID, didDocument) {
							if verb == "HEAD" && (path == atprotoDID || path == didDocument) {
								continue
							}
							got := s.at(host, verb, path, "Content-Length: 0", "Origin: https://app.example.com", "Access-Control-Request-Method: POST")
							if got.status != 404 || got.header.Get("Access-Control-Allow-Methods") != "" {
								t.Errorf("%s %s at %s: %d %v", verb, path, host, got.status, got.header)
							}
						}
					}
				}
				if got := s.at("alice.test:443", "CONNECT", "alice.test:443"); got.status != 404 {
					t.Errorf("CONNECT: %d", got.status)
				}
				for _, host := range hers {
					for _, verb := range []string{"GET", "HEAD"} {
						if got := s.at(host, verb, atprotoDID); got.status != 200 || verb == "GET" && got.body != alice.DID {
							t.Errorf("%s atproto-did at %s: %d %s", verb, host, got.status, got.body)
						}
					}
					got := s.at(host, "GET", didDocument)
					if method == gatehouse.DIDWeb && (got.status != 200 || !contains(got.body, `"id":"did:web:alice.test"`)) || method == gatehouse.DIDPLC && got.status != 404 {
						t.Errorf("did.json at %s: %d %s", host, got.status, got.body)
					}
				}
				for _, host := range nobodys {
					for _, path := range []string{atprotoDID, didDocument} {
						// Of the dots at the end any number is dropped.
						if got := s.at(host, "GET", path); got.status != 404 && host != "alice.test.." || contains(got.body, "did:web:localhost") {
							t.Errorf("%s at %s: %d %s", path, host, got.status, got.body)
						}
					}
				}
			}, config(func(c *gatehouse.Config) { c.DIDs.Method = method }))
		})
	}
}

// TestTheHostIsWhatTheRequestIsMadeTo: no header but Host counts, and not even that if the request
// line names the host.
func TestTheHostIsWhatTheRequestIsMadeTo(t *testing.T) {
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
		"the server, forwarded as an account": {s.at("localhost", "GET", describeServer, forged("alice.test")...), 200},
		"an account, forwarded as the server": {s.at("alice.test", "GET", describeServer, forged("localhost")...), 404},
		"a request line of an account":        {s.at("localhost", "GET", "http://alice.test"+describeServer), 404},
		"with a port":                         {s.at("localhost", "GET", "http://alice.test:8080"+describeServer), 404},
		"with a user":                         {s.at("localhost", "GET", "http://localhost@alice.test"+describeServer), 404},
		"in capitals, with a dot":             {s.at("localhost", "GET", "http://ALICE.TEST."+describeServer), 404},
		"a request line of the server":        {s.at("alice.test", "GET", "http://localhost"+describeServer), 200},
		"of HTTP/1.0, at an account":          {s.raw("GET " + describeServer + " HTTP/1.0\r\nHost: alice.test\r\n\r\n"), 404},
		"of HTTP/1.0, at no host":             {s.raw("GET " + describeServer + " HTTP/1.0\r\n\r\n"), 200},
		"without a host":                      {s.raw("GET " + describeServer + " HTTP/1.1\r\nConnection: close\r\n\r\n"), 400},
		"with two hosts":                      {s.raw("GET " + describeServer + " HTTP/1.1\r\nHost: localhost\r\nHost: alice.test\r\nConnection: close\r\n\r\n"), 400},
		"with no letters for a host":          {s.at("al ice.test", "GET", describeServer), 400},
		"by the address":                      {s.at("127.0.0.1:2583", "GET", describeServer), 200},
		"by the address, IPv6":                {s.at("[::1]:2583", "GET", describeServer), 200},
		"by the address, IPv6 without a port": {s.at("[::1]", "GET", describeServer), 200},
		"at another port":                     {s.at("LOCALHOST:1", "GET", describeServer), 200},
		"at a name inside the network":        {s.at("gatehouse_1:2583", "GET", describeServer), 200},
		"at the domain itself":                {s.at("test", "GET", describeServer), 200},
		"at a name that ends alike":           {s.at("alicetest", "GET", describeServer), 200},
	} {
		if c.got.status != c.want {
			t.Errorf("%s: %d %s, want %d", name, c.got.status, c.got.body, c.want)
		}
	}
	if got := s.at("localhost", "GET", "http://alice.test"+atprotoDID); got.body != alice.DID {
		t.Errorf("atproto-did by the request line: %d %s", got.status, got.body)
	}
}

// TestTheServersDocumentIsAtItsOwnName: the server's did.json is at its own name, and those of
// accounts at theirs.
func TestTheServersDocumentIsAtItsOwnName(t *testing.T) {
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
			t.Errorf("did.json at %s: %d %s, want %s", host, got.status, got.body, want)
		}
	}
	// With a port in the host name the DID has it too.
	s = newAPI(t, config(func(c *gatehouse.Config) { c.Hostname = "localhost:2583" }))
	for host, want := range map[string]int{"localhost:2583": 200, "LOCALHOST:2583": 200, "localhost": 404, "localhost:80": 404} {
		if got := s.at(host, "GET", didDocument); got.status != want {
			t.Errorf("did.json at %s: %d %s, want %d", host, got.status, got.body, want)
		}
	}
}

// TestExtraHostnamesAreTheServers: everything is served at ExtraHostnames, even on a handle domain,
// and nobody gets one as a handle.
func TestExtraHostnamesAreTheServers(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) {
		c.Hostname, c.ExtraHostnames = "pds.test", []string{"Api.test.", "elsewhere.example.org"}
	}))
	for host, want := range map[string]int{
		"api.test": 200, "API.test:8080": 200, "pds.test": 200, "elsewhere.example.org": 200, "127.0.0.1": 200, "api2.test": 404, "x.api.test": 404,
	} {
		if got := s.at(host, "GET", describeServer); got.status != want {
			t.Errorf("%s: %d, want %d", host, got.status, want)
		}
	}
	for domain, want := range map[string]int{"api.test": 200, "elsewhere.example.org": 200, "pds.test": 200, "api2.test": 404, "example.org": 400} {
		if got := s.tlsCheck(domain); got.status != want {
			t.Errorf("tls-check of %s: %d %s, want %d", domain, got.status, got.body, want)
		}
	}
	s.do(nobody, "server.createAccount", object{"handle": "api.test", "email": "eve@example.com", "password": "password"}).
		refused(400, "HandleNotAvailable", "Reserved handle")
	eve := s.signUp("eve.test")
	s.do(bearer(eve.AccessJWT), "identity.updateHandle", object{"handle": "API.test"}).refused(400, "HandleNotAvailable", "Reserved handle")
	s.do(admin, "admin.updateAccountHandle", object{"did": eve.DID, "handle": "api.test"}).refused(400, "HandleNotAvailable", "Reserved handle")
}

// TestEachHandlerRefusesHandleHosts: each handler refuses the names of accounts, however an
// embedder mounts it, and HandleHosts guards the embedder's own routes.
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
		own     int
	}{
		"the methods":         {srv, describeServer, 200},
		"the fallback":        {srv, "/xrpc/com.example.method", 200},
		"health":              {srv, "/xrpc/_health", 200},
		"an own document":     {srv.WellKnown(), didDocument, 200},
		"other documents":     {srv.WellKnown(), "/.well-known/other", 404},
		"the directory":       {srv.PLCDirectory(), "/" + alice.DID, 200},
		"the TLS check":       {srv.TLSCheck(), "/anything?domain=localhost", 200},
		"the home page":       {srv.Home(), "/", 200},
		"all of it":           {srv.Handler(), "/", 200},
		"an embedder's route": {srv.HandleHosts(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), "/me", 200},
	} {
		for _, verb := range []string{"GET", "OPTIONS", "POST"} {
			if got := ask(c.handler, verb, "alice.test", c.path); got.Code != 404 || verb != "GET" && got.Header().Get("Access-Control-Allow-Methods") != "" {
				t.Errorf("%s at an account, by %s: %d %s", name, verb, got.Code, got.Body)
			}
		}
		if got := ask(c.handler, "GET", "localhost", c.path); got.Code != c.own {
			t.Errorf("%s at the server: %d %s", name, got.Code, got.Body)
		}
	}
	guarded := srv.HandleHosts(http.NotFoundHandler())
	if got := ask(guarded, "GET", "alice.test", atprotoDID); got.Code != 200 || got.Body.String() != alice.DID {
		t.Errorf("atproto-did behind the guard: %d %s", got.Code, got.Body)
	}
}

// TestBrowsersAreRedirected: browsers are redirected from the names of accounts to where the
// operator says, and nowhere else.
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
					t.Errorf("%s %s at %s: %d %v %s", verb, path, host, got.status, got.header, got.body)
				}
			}
		}
	}
	notFound := func(why string, got reply) {
		t.Helper()
		if got.status != 404 || got.header.Get("Location") != "" {
			t.Errorf("%s: %d %v", why, got.status, got.header)
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
		t.Errorf("atproto-did for a browser: %d %s", got.status, got.body)
	}
	notFound("atproto-did of nobody", s.at("bob.test", "GET", atprotoDID, browser))
	// The server's own names have what they have.
	if got := s.at("localhost", "GET", "/", browser); got.status != 200 {
		t.Errorf("the home page: %d", got.status)
	}
	notFound("nothing on the server", s.at("localhost", "GET", "/nothing", browser))
}

// tlsCheck asks as Caddy does.
func (s *api) tlsCheck(domain string, headers ...string) reply {
	s.t.Helper()
	return s.at("127.0.0.1", "GET", "/tls-check?domain="+url.QueryEscape(domain), headers...)
}

// TestTLSCheck: a proxy may get certificates for the names at which something is served.
func TestTLSCheck(t *testing.T) {
	t.Parallel()
	for _, method := range []gatehouse.DIDMethod{gatehouse.DIDPLC, gatehouse.DIDWeb} {
		t.Run(string(method), func(t *testing.T) {
			onEach(t, func(t *testing.T, s *api) {
				check := func(domain string, want int, text string) {
					t.Helper()
					for range 2 { // the second from memory
						if got := s.tlsCheck(domain); got.status != want || !contains(got.body, text) {
							t.Errorf("%q: %d %s; want %d %s", domain, got.status, got.body, want, text)
						}
					}
				}
				const notFound, foreign, bad = `{"error":"NotFound","message":"handle not found for this domain"}`,
					`{"error":"InvalidRequest","message":"handles are not provided on this domain"}`,
					`{"error":"InvalidRequest","message":"bad or missing domain query param"}`
				check("localhost", 200, `{"success":true}`)
				check("127.0.0.1", 200, `{"success":true}`) // the public URL's, in tests
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
						t.Errorf("%q: %d %s", query, got.status, got.body)
					}
				}
				for verb, want := range map[string]int{"HEAD": 200, "POST": 405, "DELETE": 405} {
					if got := s.at("127.0.0.1", verb, "/tls-check?domain=alice.test", "Content-Length: 0"); got.status != want {
						t.Errorf("%s: %d, want %d", verb, got.status, want)
					}
				}

				// It follows what is served, from the first moment.
				follows := func(when, host string, served ...bool) {
					t.Helper()
					found := s.at(host, "GET", atprotoDID).status == 200 || s.at(host, "GET", didDocument).status == 200
					if got := s.tlsCheck(host); (got.status == 200) != found || got.status != 200 && got.status != 404 {
						t.Errorf("%s, at %s something is served: %v, and tls-check says %d %s", when, host, found, got.status, got.body)
					}
					for _, want := range served {
						if found != want {
							t.Errorf("%s, at %s something is served: %v", when, host, found)
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

// TestTLSCheckWithoutAStore: a failure isn't answered as a refusal, after which a proxy may drop a
// certificate.
func TestTLSCheckWithoutAStore(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	if err := s.Store.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.tlsCheck("alice.test"); got.status != 503 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := s.tlsCheck("localhost"); got.status != 200 {
		t.Errorf("of the server: %d %s", got.status, got.body)
	}
}

// fewPoints allows three points of each key.
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

// TestTLSCheckIsLimitedButForTheProxy: anybody can call it, and each name costs a lookup; the proxy
// calls it for each connection at a name without a certificate.
func TestTLSCheckIsLimitedButForTheProxy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		peer    string
		trusted []netip.Prefix
		header  string
		limited bool
	}{
		"a stranger":                       {"203.0.113.9:1234", nil, "", true},
		"a stranger who writes headers":    {"203.0.113.9:1234", nil, "X-Forwarded-For: 127.0.0.1", true},
		"a stranger on the network":        {"10.0.0.7:1234", nil, "", true},
		"a stranger by IPv6":               {"[2001:db8::1]:1234", nil, "", true},
		"the proxy on this machine":        {"127.0.0.1:1234", nil, "", false},
		"the same by IPv6":                 {"[::1]:1234", nil, "", false},
		"the same, mapped":                 {"[::ffff:127.0.0.1]:1234", nil, "", false},
		"the proxy by a Unix socket":       {"@", nil, "", false},
		"a trusted proxy":                  {"10.0.0.7:1234", network("10.0.0.0/8"), "", false},
		"a stranger through that":          {"10.0.0.7:1234", network("10.0.0.0/8"), "X-Forwarded-For: 203.0.113.9", true},
		"and as from this machine":         {"10.0.0.7:1234", network("10.0.0.0/8"), "X-Forwarded-For: 127.0.0.1", true},
		"a stranger through one untrusted": {"127.0.0.1:1234", nil, "X-Forwarded-For: 203.0.113.9", true},
		"and by another header":            {"127.0.0.1:1234", nil, "X-Real-Ip: 203.0.113.9", true},
		"and by the standard's":            {"127.0.0.1:1234", nil, "Forwarded: for=203.0.113.9", true},
		"and by an empty one":              {"127.0.0.1:1234", nil, "X-Forwarded-For:", true},
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
					t.Errorf("question %d: %d %s", i, got.status, got.body)
				}
			}
		})
	}
}

// TestTLSCheckIsRemembered: a flood of connections at one name costs one look at the store.
func TestTLSCheckIsRemembered(t *testing.T) {
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
				// By handle and by DID, and once more when the background work has changed something: the
				// clock stands still.
				if n := store.count("one of accounts") - before; n > 10 {
					t.Errorf("%s: the store was asked %d times", domain, n)
				}
			}
		})
	}
}

// TestTheDirectoryHasNothingButDIDs: at the root and below /plc/ the directory answers only for
// DIDs.
func TestTheDirectoryHasNothingButDIDs(t *testing.T) {
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
		t.Errorf("an operation outside of /plc/: %d %s", got.status, got.body)
	}
	// Without a local directory there is none.
	type remote struct{ did.Directory }
	elsewhere := newAPI(t, config(func(c *gatehouse.Config) { c.DIDs.Directory = remote{s.Gatehouse.Directory} }))
	for _, path := range []string{"/" + alice.DID, "/plc/" + alice.DID} {
		if got := elsewhere.at("127.0.0.1", "GET", path); got.status != 404 || contains(got.body, alice.DID) {
			t.Errorf("%s of a server without a directory: %d %s", path, got.status, got.body)
		}
	}
}

// TestTheServersPage: the home page tells a person what the server is.
func TestTheServersPage(t *testing.T) {
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
			t.Errorf("there is no %s in %s", text, got.body)
		}
	}
	if contains(got.body, "<script") || contains(got.body, "<b>") || contains(got.body, gatehouse.Version) {
		t.Errorf("the page has what it shouldn't: %s", got.body)
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

	// With the version, if that is wanted; and what isn't configured isn't there.
	s = newAPI(t, config(func(c *gatehouse.Config) { c.Description.ShowVersion = true }))
	got = s.at("localhost", "GET", "/")
	if !contains(got.body, "Gatehouse "+gatehouse.Version, "<h1>Test Server</h1>") || contains(got.body, "mailto:") || contains(got.body, "Privacy") || contains(got.body, `href=""`) {
		t.Errorf("without links, with a version: %s", got.body)
	}
}

// TestHandlerWithoutTheTestServer: a program that serves only Handler is a whole server.
func TestHandlerWithoutTheTestServer(t *testing.T) {
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
