package xrpc_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
)

// request is a raw request, and the answer that is expected.
type request struct {
	name    string
	verb    string // default GET, or POST with a body
	path    string
	header  map[string]string
	body    string
	status  int
	error   string
	message string
}

const (
	createSession = "/xrpc/com.atproto.server.createSession"
	describe      = "/xrpc/com.atproto.server.describeServer"
	getSession    = "/xrpc/com.atproto.server.getSession"
)

func asJSON(more ...string) map[string]string {
	h := map[string]string{"Content-Type": "application/json"}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = more[i+1]
	}
	return h
}

func do(t *testing.T, srv *gatehousetest.Server, r request) (*http.Response, []byte) {
	t.Helper()
	if r.verb == "" {
		r.verb = http.MethodGet
		if r.body != "" {
			r.verb = http.MethodPost
		}
	}
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	req, err := http.NewRequest(r.verb, srv.URL+r.path, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	// The transport's own decompression would hide that of the server.
	resp, err := (&http.Transport{DisableCompression: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

func TestRequests(t *testing.T) {
	srv := gatehousetest.NewServer(t)
	srv.CreateAccount("alice.test")
	const login = `{"identifier":"alice.test","password":"password"}`
	gzipped := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(s))
		_ = z.Close()
		return b.String()
	}
	for _, r := range []request{
		{name: "a query", path: describe, status: 200},
		{name: "a query with HEAD", verb: "HEAD", path: describe, status: 200},
		{name: "a procedure", path: createSession, header: asJSON(), body: login, status: 200},
		{name: "with a charset", path: createSession, header: map[string]string{"Content-Type": "application/json; charset=utf-8"}, body: login, status: 200},
		{name: "with unknown properties", path: createSession, header: asJSON(), body: `{"identifier":"alice.test","password":"password","extra":{"a":[1]}}`, status: 200},
		{name: "gzipped", path: createSession, header: asJSON("Content-Encoding", "gzip"), body: gzipped(login), status: 200},
		{name: "wrong verb for a procedure", path: createSession, status: 405, error: "InvalidRequest", message: "Incorrect HTTP method (GET) expected POST"},
		{name: "wrong verb for a query", path: describe, header: asJSON(), body: "{}", status: 405, error: "InvalidRequest", message: "Incorrect HTTP method (POST) expected GET"},
		{name: "unknown method", path: "/xrpc/com.example.unknown.thing", status: 501, error: "MethodNotImplemented"},
		{name: "no NSID", path: "/xrpc/nonsense", status: 400, error: "InvalidRequest", message: "invalid xrpc path"},
		{name: "nothing", path: "/xrpc/", status: 400, error: "InvalidRequest", message: "invalid xrpc path"},
		{name: "more path", path: describe + "/more", status: 400, error: "InvalidRequest", message: "invalid xrpc path"},
		{name: "a slash at the end", path: describe + "/", status: 200},
		{name: "an escaped path", path: "/xrpc/com.atproto.server%2EdescribeServer", status: 200},
		{name: "no content type", path: createSession, body: login, status: 400, error: "InvalidRequest", message: "Request encoding (Content-Type) required but not provided"},
		{name: "wrong content type", path: createSession, header: map[string]string{"Content-Type": "text/plain"}, body: login, status: 400, error: "InvalidRequest", message: "Wrong request encoding (Content-Type): text/plain"},
		{name: "no body", verb: "POST", path: createSession, status: 400, error: "InvalidRequest", message: "A request body is expected but none was provided"},
		{name: "empty body", verb: "POST", path: createSession, header: asJSON(), status: 400, error: "InvalidRequest", message: "A request body is expected but none was provided"},
		{name: "a body where none is expected", path: "/xrpc/com.atproto.server.deleteSession", header: asJSON("Authorization", "Bearer x"), body: "{}", status: 400, error: "InvalidRequest", message: "A request body was provided when none was expected"},
		{name: "malformed JSON", path: createSession, header: asJSON(), body: `{"identifier":`, status: 400, error: "InvalidRequest"},
		{name: "more than one value", path: createSession, header: asJSON(), body: login + login, status: 400, error: "InvalidRequest"},
		{name: "no object", path: createSession, header: asJSON(), body: `[]`, status: 400, error: "InvalidRequest", message: "Input must be an object"},
		{name: "null", path: createSession, header: asJSON(), body: `null`, status: 400, error: "InvalidRequest", message: "Input must be an object"},
		{name: "a missing property", path: createSession, header: asJSON(), body: `{"password":"x"}`, status: 400, error: "InvalidRequest", message: `Input must have the property "identifier"`},
		{name: "a property of another case", path: createSession, header: asJSON(), body: `{"Identifier":"x","password":"x"}`, status: 400, error: "InvalidRequest", message: `Input must have the property "identifier"`},
		{name: "a wrong type", path: createSession, header: asJSON(), body: `{"identifier":1,"password":"x"}`, status: 400, error: "InvalidRequest", message: "Input/identifier must be a string"},
		{name: "null for a string", path: createSession, header: asJSON(), body: `{"identifier":null,"password":"x"}`, status: 400, error: "InvalidRequest", message: "Input/identifier must be a string"},
		{name: "a wrong optional type", path: createSession, header: asJSON(), body: `{"identifier":"x","password":"x","allowTakendown":"yes"}`, status: 400, error: "InvalidRequest", message: "Input/allowTakendown must be a boolean"},
		{name: "a wrong format", path: "/xrpc/com.atproto.server.createAccount", header: asJSON(), body: `{"handle":"no handle","email":"a@example.com","password":"x"}`, status: 400, error: "InvalidRequest", message: "Input/handle must be a valid handle"},
		{name: "a missing password", path: "/xrpc/com.atproto.server.createAccount", header: asJSON(), body: `{"handle":"bob.test","email":"a@example.com"}`, status: 400, error: "InvalidRequest", message: `Input must have the property "password"`},
		{name: "too large", path: createSession, header: asJSON(), body: `{"identifier":"` + strings.Repeat("x", 150<<10) + `"}`, status: 413, error: "PayloadTooLarge", message: "request entity too large"},
		{name: "too large when unzipped", path: createSession, header: asJSON("Content-Encoding", "gzip"), body: gzipped(strings.Repeat(" ", 1<<20)), status: 413, error: "PayloadTooLarge", message: "request entity too large"},
		{name: "not gzip", path: createSession, header: asJSON("Content-Encoding", "gzip"), body: login, status: 400, error: "InvalidRequest"},
		{name: "an unknown encoding", path: createSession, header: asJSON("Content-Encoding", "rot13"), body: login, status: 415, error: "UnsupportedMediaType"},
		{name: "no token", path: getSession, status: 401, error: "AuthMissing", message: "Authentication Required"},
	} {
		t.Run(r.name, func(t *testing.T) {
			resp, body := do(t, srv, r)
			var e struct{ Error, Message string }
			if r.status != 200 {
				if err := json.Unmarshal(body, &e); err != nil {
					t.Fatalf("%v: %s", err, body)
				}
			}
			if resp.StatusCode != r.status || e.Error != r.error || r.message != "" && e.Message != r.message {
				t.Errorf("%d %s; want %d %s %q", resp.StatusCode, body, r.status, r.error, r.message)
			}
			if r.status == 405 && !strings.Contains(resp.Header.Get("Allow"), strings.Fields(r.message)[len(strings.Fields(r.message))-1]) {
				t.Errorf("Allow is %q", resp.Header.Get("Allow"))
			}
		})
	}
}

func TestQueryParameters(t *testing.T) {
	srv := gatehousetest.NewServer(t)
	alice := srv.CreateAccount("alice.test")
	for query, status := range map[string]int{
		"": 200, "?includeUsed=true": 200, "?includeUsed=false&createAvailable=false&unknown=1": 200,
		"?includeUsed=1": 400, "?includeUsed=TRUE": 400, "?createAvailable=": 200, "?includeUsed=true&includeUsed=false": 200,
	} {
		resp, body := do(t, srv, request{
			path: "/xrpc/com.atproto.server.getAccountInviteCodes" + query, header: map[string]string{"Authorization": "Bearer " + alice.AccessJWT},
		})
		if resp.StatusCode != status {
			t.Errorf("%q: %d %s, want %d", query, resp.StatusCode, body, status)
		}
		if status == 400 && !strings.Contains(string(body), `"Error: includeUsed must be a boolean"`) {
			t.Errorf("%q: %s", query, body)
		}
	}
}

func TestCORS(t *testing.T) {
	srv := gatehousetest.NewServer(t)
	resp, _ := do(t, srv, request{verb: "OPTIONS", path: createSession, header: map[string]string{
		"Origin": "https://app.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type",
	}})
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "*", "Access-Control-Max-Age": "86400",
		"Access-Control-Allow-Headers": "authorization,content-type", "Access-Control-Allow-Credentials": "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if resp.StatusCode != http.StatusNoContent || !strings.Contains(resp.Header.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("preflight: %d %v", resp.StatusCode, resp.Header)
	}
	for _, path := range []string{describe, "/xrpc/com.example.unknown.thing"} {
		resp, _ := do(t, srv, request{path: path})
		if resp.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(resp.Header.Get("Access-Control-Expose-Headers"), "RateLimit-Reset") {
			t.Errorf("%s: %v", path, resp.Header)
		}
	}
}

func TestCompression(t *testing.T) {
	srv := gatehousetest.NewServer(t)
	alice := srv.CreateAccount("alice.test")
	for i := range 20 {
		name := strconv.Itoa(i) + strings.Repeat("x", 250)
		if _, _, err := srv.Gatehouse.AppPasswords.Create(t.Context(), syntax.DID(alice.DID), name, false); err != nil {
			t.Fatal(err)
		}
	}
	list := "/xrpc/com.atproto.server.listAppPasswords"
	for accept, want := range map[string]string{"": "", "gzip": "gzip", "br, gzip;q=0.5": "gzip", "gzip;q=0": "", "deflate": ""} {
		resp, body := do(t, srv, request{path: list, header: map[string]string{"Accept-Encoding": accept, "Authorization": "Bearer " + alice.AccessJWT}})
		if got := resp.Header.Get("Content-Encoding"); got != want || !strings.Contains(strings.Join(resp.Header.Values("Vary"), ","), "Accept-Encoding") {
			t.Errorf("Accept-Encoding %q: encoded %q, %v", accept, got, resp.Header)
		}
		if want == "gzip" {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if !json.Valid(body) || bytes.Count(body, []byte("xxx")) < 20 {
			t.Errorf("Accept-Encoding %q: %q", accept, body)
		}
	}
	for _, small := range []string{"/xrpc/_health", getSession} {
		resp, _ := do(t, srv, request{path: small, header: map[string]string{"Accept-Encoding": "gzip", "Authorization": "Bearer " + alice.AccessJWT}})
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("the small answer of %s is compressed: %v", small, resp.Header)
		}
	}
}

func TestHealth(t *testing.T) {
	srv := gatehousetest.NewServer(t)
	resp, body := do(t, srv, request{path: "/xrpc/_health"})
	if resp.StatusCode != 200 || !strings.Contains(string(body), `"version":"`+gatehouse.Version+`"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	srv.Store.Close()
	srv.Clock.Advance(time.Second) // for which an answer is good
	if resp, body = do(t, srv, request{path: "/xrpc/_health"}); resp.StatusCode != 503 {
		t.Errorf("without a store: %d %s", resp.StatusCode, body)
	}
	resp, body = do(t, srv, request{path: createSession, header: asJSON(), body: `{"identifier":"a.test","password":"x"}`})
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(body), "ServiceUnavailable") {
		t.Errorf("without a store: %d %s", resp.StatusCode, body)
	}
}

func TestRateLimits(t *testing.T) {
	srv := gatehousetest.NewServer(t, gatehousetest.WithConfig(func(c *gatehouse.Config) {
		c.Limits.Limiter = nil
		c.Limits.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}))
	alice := srv.CreateAccount("alice.test")
	login := func(identifier, password, ip string) *http.Response {
		t.Helper()
		resp, _ := do(t, srv, request{
			path: createSession, header: asJSON("X-Forwarded-For", ip),
			body: fmt.Sprintf(`{"identifier":%q,"password":%q}`, identifier, password),
		})
		return resp
	}
	start := srv.Clock.Now()
	for i := range 30 {
		resp := login("Alice.test", "wrong", "192.0.2.1")
		if resp.StatusCode != 401 {
			t.Fatalf("try %d: %d", i, resp.StatusCode)
		}
		for name, want := range map[string]string{
			"RateLimit-Limit": "30", "RateLimit-Policy": "30;w=300", "RateLimit-Remaining": strconv.Itoa(29 - i),
			"RateLimit-Reset": strconv.FormatInt(start.Add(5*time.Minute).Unix(), 10),
		} {
			if got := resp.Header.Get(name); got != want {
				t.Fatalf("try %d: %s is %s, want %s", i, name, got, want)
			}
		}
		srv.Clock.Advance(time.Second)
	}
	resp := login("alice.TEST", "password", "192.0.2.1")
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "270" || resp.Header.Get("RateLimit-Remaining") != "0" {
		t.Errorf("beyond the limit: %d %v", resp.StatusCode, resp.Header)
	}
	// Nobody else is locked out: neither the owner at another address, nor others at the same
	// address.
	if resp := login("alice.test", "password", "192.0.2.2"); resp.StatusCode != 200 {
		t.Errorf("from another address: %d", resp.StatusCode)
	}
	if resp := login("bob.test", "password", "192.0.2.1"); resp.StatusCode != 401 {
		t.Errorf("another account: %d", resp.StatusCode)
	}
	srv.Clock.Advance(4*time.Minute + 30*time.Second)
	if resp := login("alice.test", "password", "192.0.2.1"); resp.StatusCode != 200 {
		t.Errorf("in the next period: %d", resp.StatusCode)
	}
	// The window of a day goes on: 31 of 300 are used.
	for range 9 {
		for range 30 {
			login("alice.test", "wrong", "192.0.2.1")
		}
		srv.Clock.Advance(5 * time.Minute)
	}
	resp = login("alice.test", "wrong", "192.0.2.1")
	if resp.StatusCode != 429 || resp.Header.Get("RateLimit-Policy") != "300;w=86400" {
		t.Errorf("beyond the day's limit: %d %v", resp.StatusCode, resp.Header)
	}

	// Calls with a valid token are counted by account, whatever the address.
	fresh := srv.Login(alice)
	for i := range 3 {
		resp, _ := do(t, srv, request{path: getSession, header: map[string]string{
			"Authorization": "Bearer " + fresh.AccessJWT, "X-Forwarded-For": fmt.Sprintf("192.0.2.%d", 10+i),
			"Host": "elsewhere.example", "X-Client-Ip": fmt.Sprintf("198.51.100.%d", i),
		}})
		if got := resp.Header.Get("RateLimit-Remaining"); got != strconv.Itoa(2999-i) {
			t.Errorf("call %d leaves %s", i, got)
		}
	}
}

func TestAddressesCannotBeForged(t *testing.T) {
	srv := gatehousetest.NewServer(t, gatehousetest.WithConfig(func(c *gatehouse.Config) { c.Limits.Limiter = nil }))
	for i := range 5 {
		resp, _ := do(t, srv, request{path: describe, header: map[string]string{
			"X-Forwarded-For": fmt.Sprintf("192.0.2.%d", i), "X-Real-Ip": fmt.Sprintf("192.0.2.%d", i), "Forwarded": fmt.Sprintf("for=192.0.2.%d", i),
		}})
		if got := resp.Header.Get("RateLimit-Remaining"); got != strconv.Itoa(2999-i) {
			t.Errorf("call %d leaves %s: a header changed whom it counts for", i, got)
		}
	}
}

func TestRequireActive(t *testing.T) {
	srv := gatehousetest.NewServer(t)
	alice := srv.CreateAccount("alice.test")
	protected := srv.Gatehouse.RequireActive(sessions.ManageAccount)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, gatehouse.Auth(r.Context()).Account.Handle)
	}))
	ask := func() string {
		r := httptest.NewRequest("GET", "/mine", nil)
		r.Header.Set("Authorization", "Bearer "+alice.AccessJWT)
		w := httptest.NewRecorder()
		protected.ServeHTTP(w, r)
		return fmt.Sprint(w.Code, " ", w.Body)
	}
	if got := ask(); got != "200 alice.test" {
		t.Errorf("an active account: %s", got)
	}
	if err := srv.Gatehouse.Accounts.Deactivate(t.Context(), syntax.DID(alice.DID), nil); err != nil {
		t.Fatal(err)
	}
	if got, want := ask(), `401 {"error":"AccountDeactivated","message":"Account is deactivated"}`; got != want {
		t.Errorf("a deactivated account: %s, want %s", got, want)
	}
}

func TestRequireAuth(t *testing.T) {
	srv := gatehousetest.NewServer(t)
	alice := srv.CreateAccount("alice.test")
	route := func(w http.ResponseWriter, r *http.Request) {
		a := gatehouse.Auth(r.Context())
		fmt.Fprintf(w, "%s %s", a.Account.Handle, a.Session.Method)
	}
	protected := srv.Gatehouse.RequireAuth()(http.HandlerFunc(route))
	for _, c := range []struct {
		authorization string
		status        int
		body          string
	}{
		{"Bearer " + alice.AccessJWT, 200, "alice.test sign-up"},
		{"", 401, `"AuthMissing"`},
		{"Bearer nonsense", 400, `"InvalidToken"`},
		{"Bearer " + alice.RefreshJWT, 400, `"InvalidToken"`},
	} {
		r, _ := http.NewRequest("GET", "/mine", nil)
		if c.authorization != "" {
			r.Header.Set("Authorization", c.authorization)
		}
		w := httptest.NewRecorder()
		protected.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%q: %d %s", c.authorization, w.Code, w.Body)
		}
	}
}

// TestRequireAuthAsksForPermissions of the server's own and in the syntax of the protocol, for as
// many routes as a middleware is put in front of.
func TestRequireAuthAsksForPermissions(t *testing.T) {
	srv := gatehousetest.NewServer(t)
	alice := srv.CreateAccount("alice.test")
	_, password, err := srv.Gatehouse.AppPasswords.Create(t.Context(), syntax.DID(alice.DID), "app", false)
	if err != nil {
		t.Fatal(err)
	}
	app, err := srv.Gatehouse.SignIn.SignIn(t.Context(), signin.Attempt{Identifier: alice.DID, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	post := sessions.Permission("repo:app.bsky.feed.post?action=create")
	for name, c := range map[string]struct {
		permissions []sessions.Permission
		owner, app  int
	}{
		"none":                          {nil, 200, 200},
		"a permission of the server":    {[]sessions.Permission{sessions.ManageAccount}, 200, 400},
		"a permission of the protocol":  {[]sessions.Permission{post}, 200, 200},
		"both":                          {[]sessions.Permission{post, sessions.ManageAccount}, 200, 400},
		"what app passwords don't have": {[]sessions.Permission{sessions.RPC("chat.bsky.convo.getLog", "did:web:api.bsky.chat#bsky_chat")}, 200, 400},
	} {
		require := srv.Gatehouse.RequireAuth(c.permissions...)
		for _, answer := range []string{"one", "two"} {
			route := require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, answer) }))
			for token, status := range map[string]int{alice.AccessJWT: c.owner, app.AccessJWT: c.app} {
				r := httptest.NewRequest("POST", "/mine", nil)
				r.Header.Set("Authorization", "Bearer "+token)
				w := httptest.NewRecorder()
				route.ServeHTTP(w, r)
				want := answer
				if status != 200 {
					want = `{"error":"InvalidToken","message":"Bad token scope"}`
				}
				if got := strings.TrimSpace(w.Body.String()); w.Code != status || got != want {
					t.Errorf("%s: %d %s, want %d %s", name, w.Code, got, status, want)
				}
			}
		}
	}
}

// TestTheLogNamesAccountsAndNoSecrets checks what is logged of a sign-up, a login and the use of a
// session.
func TestTheLogNamesAccountsAndNoSecrets(t *testing.T) {
	var log bytes.Buffer
	srv := gatehousetest.NewServer(t, gatehousetest.WithConfig(func(c *gatehouse.Config) {
		c.Logger = slog.New(slog.NewJSONHandler(&log, nil))
	}))
	type session struct{ DID, AccessJwt, RefreshJwt string }
	open := func(path, body string) (s session) {
		t.Helper()
		resp, out := do(t, srv, request{path: path, header: asJSON(), body: body})
		if err := json.Unmarshal(out, &s); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %d %s, %v", path, resp.StatusCode, out, err)
		}
		return s
	}
	alice := open("/xrpc/com.atproto.server.createAccount", `{"handle":"alice.test","email":"alice@example.com","password":"correct horse"}`)
	tokens := open(createSession, `{"identifier":"alice.test","password":"correct horse"}`)
	do(t, srv, request{path: getSession, header: asJSON("Authorization", "Bearer "+tokens.AccessJwt)})
	srv.Close() // the log is written
	var named []string
	for line := range strings.Lines(log.String()) {
		var r struct{ Msg, Method, DID string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if r.Msg == "request" && r.DID == alice.DID {
			named = append(named, strings.TrimPrefix(r.Method, "com.atproto.server."))
		}
	}
	if want := []string{"createAccount", "createSession", "getSession"}; !slices.Equal(named, want) {
		t.Errorf("the account is named with %v, want %v: %s", named, want, &log)
	}
	for _, secret := range []string{"correct horse", alice.AccessJwt, alice.RefreshJwt, tokens.AccessJwt, tokens.RefreshJwt} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has a secret: %s", &log)
		}
	}
}

// strangers is a directory that knows no DID, and counts the queries.
type strangers struct {
	did.Directory
	asked atomic.Int32
}

func (d *strangers) Log(_ context.Context, id syntax.DID) ([]*did.Operation, error) {
	d.asked.Add(1)
	return nil, fmt.Errorf("%w: %s", did.ErrNotFound, id)
}

// TestServiceTokensOfStrangers signs up with worthless tokens of many DIDs, for each of which the
// directory is asked, and shows that it is asked no more often than the limit of the method allows.
func TestServiceTokensOfStrangers(t *testing.T) {
	var directory strangers
	srv := gatehousetest.NewServer(t, gatehousetest.WithConfig(func(c *gatehouse.Config) {
		c.Limits.Limiter = nil
		c.DIDs.Directory = &directory
	}))
	encode := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	for i := range 103 {
		id := "did:plc:" + strings.NewReplacer("0", "a", "1", "b", "8", "c", "9", "d").Replace(fmt.Sprintf("%024d", i))
		token := encode(map[string]any{"alg": "ES256K", "typ": "JWT"}) + "." + encode(map[string]any{
			"iss": id, "aud": "did:web:localhost", "lxm": "com.atproto.server.createAccount", "jti": "one", "exp": srv.Clock.Now().Add(time.Minute).Unix(),
		}) + "." + base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{1}, 64))
		resp, body := do(t, srv, request{
			path: "/xrpc/com.atproto.server.createAccount", header: asJSON("Authorization", "Bearer "+token),
			body: `{"handle":"alice.test","email":"alice@example.com","password":"password","did":"` + id + `"}`,
		})
		want, remaining := 401, strconv.Itoa(99-i)
		if i >= 100 {
			want, remaining = 429, "0"
		}
		if resp.StatusCode != want || resp.Header.Get("RateLimit-Remaining") != remaining {
			t.Fatalf("try %d: %d %s, %s left", i, resp.StatusCode, body, resp.Header.Get("RateLimit-Remaining"))
		}
	}
	if n := directory.asked.Load(); n != 100 {
		t.Errorf("the directory was asked %d times", n)
	}
}
