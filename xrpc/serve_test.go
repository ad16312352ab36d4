package xrpc

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/httpbody"
)

func TestPaths(t *testing.T) {
	s := sampleServer(t, nil)
	for _, c := range []struct {
		verb, path, body string
		status           int
		message          string // or the answer
	}{
		{"GET", "/xrpc/com.example.plain", "", 200, `{"hello":"world"}`},
		{"GET", "/xrpc/com.example.plain/", "", 200, `{"hello":"world"}`},
		{"GET", "/xrpc/com.example.plain?x=%zz&;", "", 200, `{"hello":"world"}`},
		{"GET", "/xrpc/com%2Eexample.plain", "", 200, `{"hello":"world"}`},
		{"GET", "/xrpc/com.example.plain//", "", 400, "invalid xrpc path"},
		{"GET", "/xrpc/com.example.plain/x", "", 400, "invalid xrpc path"},
		{"GET", "/xrpc/com.example.pl%00ain", "", 400, "invalid xrpc path"},
		{"GET", "/xrpc/com.example.plain%20", "", 400, "invalid xrpc path"},
		{"GET", "/xrpc/com.example.Plain", "", 501, "Method Not Implemented"},
		{"POST", "/xrpc/com.example.other", "{}", 501, "Method Not Implemented"},
		{"GET", "/xrpc/example", "", 400, "invalid xrpc path"},
		{"GET", "/xrpc/", "", 400, "invalid xrpc path"},
		{"GET", "/xrpc/_other", "", 400, "invalid xrpc path"},
		{"GET", "/xrpc", "", 404, "Not found"},
		{"GET", "/", "", 404, "Not found"},
		{"GET", "/com.example.plain", "", 404, "Not found"},
		{"GET", "/_health", "", 404, "Not found"},
		{"PUT", "/xrpc/com.example.plain", "", 405, "Incorrect HTTP method (PUT) expected GET"},
		{"POST", "/xrpc/com.example.plain", "{}", 405, "Incorrect HTTP method (POST) expected GET"},
		{"GET", "/xrpc/com.example.echo", "", 405, "Incorrect HTTP method (GET) expected POST"},
		{"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "/xrpc/com.example.echo", "", 405, "Incorrect HTTP method (ABCDEFGHIJKLMNOPQRST) expected POST"},
		{"POST", "/xrpc/_health", "", 405, "Incorrect HTTP method (POST) expected GET"},
	} {
		w := ask(s, c.verb, c.path, c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.message) {
			t.Errorf("%s %s: %d %s, want %d %s", c.verb, c.path, w.Code, w.Body, c.status, c.message)
		}
		allow := ""
		if c.status == http.StatusMethodNotAllowed {
			allow = map[bool]string{true: "GET, HEAD, OPTIONS", false: "POST, OPTIONS"}[strings.HasSuffix(c.message, "GET")]
		}
		if got := w.Header().Get("Allow"); got != allow {
			t.Errorf("%s %s: Allow %q, want %q", c.verb, c.path, got, allow)
		}
	}
}

// TestHead shows that HEAD is answered with the headers of GET and no body.
func TestHead(t *testing.T) {
	s := sampleServer(t, nil)
	for _, path := range []string{"/xrpc/com.example.plain", "/xrpc/_health", "/xrpc/com.example.other", "/xrpc/com.example.search"} {
		get, head := ask(s, "GET", path, ""), ask(s, "HEAD", path, "")
		if head.Code != get.Code || head.Body.Len() != 0 || head.Header().Get("Content-Length") != fmt.Sprint(get.Body.Len()) {
			t.Errorf("%s: %d %v %q, GET has %d bytes", path, head.Code, head.Header(), head.Body, get.Body.Len())
		}
	}
	if w := ask(s, "HEAD", "/xrpc/com.example.large", "", "Accept-Encoding", "gzip"); w.Body.Len() != 0 || w.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("a large answer: %v, %d bytes", w.Header(), w.Body.Len())
	}
}

func TestAnswers(t *testing.T) {
	s := sampleServer(t, nil)
	w := ask(s, "GET", "/xrpc/com.example.plain", "")
	for name, want := range map[string]string{
		"Content-Type": "application/json; charset=utf-8", "Content-Length": "17",
		"X-Content-Type-Options": "nosniff", "Cache-Control": "", "Vary": "",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if w := ask(s, "POST", "/xrpc/com.example.nothing", ""); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Type") != "" {
		t.Errorf("an empty output: %d %v %q", w.Code, w.Header(), w.Body)
	}
	for _, authorization := range []string{"Bearer did:web:a.test", ""} {
		w := ask(s, "GET", "/xrpc/com.example.private", "", "Authorization", authorization)
		if w.Header().Get("Cache-Control") != "private" || w.Header().Get("Vary") != "Authorization" {
			t.Errorf("Authorization %q: %d %v", authorization, w.Code, w.Header())
		}
	}
}

func TestAcceptsGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "deflate, gzip": true, "gzip;q=0.5, br": true, "gzip; q=1.0": true,
		"gzip;q=0": false, "gzip; q=0.000": false, "br": false, "x-gzip": false, "identity, *;q=0": false,
	} {
		r := &http.Request{Header: http.Header{"Accept-Encoding": {header}}}
		if got := acceptsGzip(r); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
	s := sampleServer(t, nil)
	plain, zipped := ask(s, "GET", "/xrpc/com.example.large", ""), ask(s, "GET", "/xrpc/com.example.large", "", "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	unzipped, err := io.ReadAll(z)
	if err != nil || string(unzipped) != plain.Body.String() {
		t.Errorf("%q, %v", unzipped, err)
	}
	for _, w := range []*httptest.ResponseRecorder{plain, zipped} {
		if w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("Vary is %q", w.Header().Get("Vary"))
		}
	}
	if zipped.Header().Get("Content-Length") != "" {
		t.Error("the length of what was compressed is claimed")
	}
}

// body is a request's body whose length isn't known beforehand.
type body struct{ io.Reader }

func (body) Close() error { return nil }

func TestBodies(t *testing.T) {
	s := sampleServer(t, nil)
	for _, c := range []struct {
		name, verb, path string
		body             io.ReadCloser
		length           int64
		header           http.Header
		status           int
		message          string
	}{
		{"a query with a body", "GET", "plain", body{strings.NewReader("{}")}, 2, nil, 400, "A request body was provided when none was expected"},
		{"a query with a chunked body", "GET", "plain", body{strings.NewReader("{}")}, -1, nil, 400, "A request body was provided when none was expected"},
		{"a query with an empty chunked body", "GET", "plain", body{strings.NewReader("")}, -1, nil, 200, "world"},
		{"a query without a body", "GET", "plain", nil, 0, nil, 200, "world"},
		{"nothing expected, nothing there", "POST", "nothing", nil, 0, nil, 200, ""},
		{"nothing expected, an empty body", "POST", "nothing", body{strings.NewReader("")}, -1, http.Header{"Content-Type": {"text/plain"}, "Content-Encoding": {"br"}}, 200, ""},
		{"nothing expected, a body", "POST", "nothing", body{strings.NewReader("x")}, -1, nil, 400, "A request body was provided when none was expected"},
		{"nothing expected, a broken body", "POST", "nothing", body{broken{}}, -1, nil, 400, "The request body could not be read"},
		{"no body", "POST", "echo", nil, 0, http.Header{"Content-Type": {"application/json"}}, 400, "A request body is expected but none was provided"},
		{"no content type", "POST", "echo", body{strings.NewReader("{}")}, 2, nil, 400, "Request encoding (Content-Type) required but not provided"},
		{"another content type", "POST", "echo", body{strings.NewReader("{}")}, 2, http.Header{"Content-Type": {"application/cbor; a=b"}}, 400, "Wrong request encoding (Content-Type): application/cbor"},
		{"a content type with a parameter", "POST", "echo", body{strings.NewReader("{}")}, 2, http.Header{"Content-Type": {"Application/JSON;charset=UTF-8"}}, 200, ""},
		{"a broken body", "POST", "echo", body{broken{}}, -1, http.Header{"Content-Type": {"application/json"}}, 400, "The request body could not be read"},
		{"exactly the limit", "POST", "echo", body{bytes.NewReader(jsonOf(httpbody.Max))}, -1, http.Header{"Content-Type": {"application/json"}}, 200, ""},
		{"over the limit", "POST", "echo", body{bytes.NewReader(jsonOf(httpbody.Max + 1))}, -1, http.Header{"Content-Type": {"application/json"}}, 413, "request entity too large"},
		{"said to be over the limit", "POST", "echo", body{broken{}}, httpbody.Max + 1, http.Header{"Content-Type": {"application/json"}}, 413, "request entity too large"},
		{"brotli", "POST", "echo", body{strings.NewReader("x")}, 1, http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"br"}}, 415, "unsupported content-encoding"},
	} {
		r := httptest.NewRequest(c.verb, "/xrpc/com.example."+c.path, nil)
		r.Body, r.ContentLength = c.body, c.length
		if c.header != nil {
			r.Header = c.header
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.message) {
			t.Errorf("%s: %d %.100s, want %d %s", c.name, w.Code, w.Body, c.status, c.message)
		}
	}
}

// TestLargeBodiesAreNotRead shows that refusing a large body costs no more than reading the limit.
func TestLargeBodiesAreNotRead(t *testing.T) {
	s := sampleServer(t, nil)
	post := func(header string, r io.Reader) int {
		request := httptest.NewRequest("POST", "/xrpc/com.example.echo", nil)
		request.Body, request.ContentLength = body{r}, -1
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Content-Encoding", header)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, request)
		return w.Code
	}
	endless := &counter{limit: 100 * httpbody.Max}
	if status := post("", endless); status != http.StatusRequestEntityTooLarge || endless.read > 2*httpbody.Max {
		t.Errorf("an endless body: %d after %d bytes", status, endless.read)
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 64 {
		_, _ = z.Write(make([]byte, 1<<20))
	}
	_ = z.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	status := post("gzip", &bomb)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; status != http.StatusRequestEntityTooLarge || used > 8<<20 {
		t.Errorf("64 MiB of zeros, gzipped: %d after allocating %d bytes", status, used)
	}
}

// counter is a long body of spaces that counts how much of it was read.
type counter struct{ read, limit int }

func (c *counter) Read(b []byte) (int, error) {
	if c.read >= c.limit {
		return 0, io.EOF
	}
	for i := range b {
		b[i] = ' '
	}
	c.read += len(b)
	return len(b), nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// jsonOf returns an input of so many bytes.
func jsonOf(size int) []byte {
	const frame = `{"text":""}`
	return []byte(`{"text":"` + strings.Repeat("x", size-len(frame)) + `"}`)
}

func TestMounted(t *testing.T) {
	s := sampleServer(t, nil)
	mux := http.NewServeMux()
	mux.Handle("/xrpc/", s)
	mux.Handle("/deep/down/", http.StripPrefix("/deep/down", s))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "elsewhere") })
	for path, want := range map[string]string{
		"/xrpc/com.example.plain":           `{"hello":"world"}`,
		"/deep/down/xrpc/com.example.plain": `{"hello":"world"}`,
		"/deep/down/xrpc/_health":           `{"version":"1.2.3"}`,
		"/xrpcs":                            "elsewhere",
	} {
		if w := ask(mux, "GET", path, ""); w.Body.String() != want {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
}

func TestFallback(t *testing.T) {
	s := sampleServer(t, func(c *Config) {
		c.Fallback = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "fallback ", r.URL.Path) })
	})
	for path, want := range map[string]string{
		"/xrpc/com.example.plain": `{"hello":"world"}`,
		"/xrpc/com.example.other": "fallback /xrpc/com.example.other",
		"/xrpc/_health":           `{"version":"1.2.3"}`,
	} {
		w := ask(s, "GET", path, "")
		if w.Body.String() != want || w.Header().Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %d %s %v", path, w.Code, w.Body, w.Header())
		}
	}
	if w := ask(s, "OPTIONS", "/xrpc/com.example.other", ""); w.Code != http.StatusNoContent || w.Body.Len() != 0 {
		t.Errorf("a preflight: %d %s", w.Code, w.Body)
	}
}

func TestMethodsAreLeftToTheFallback(t *testing.T) {
	fallback := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "fallback ", r.URL.Path) })
	s := sampleServer(t, func(c *Config) {
		c.Fallback, c.LeaveToFallback = fallback, []string{"com.example.large", "com.example.strict", "com.example.large"}
	})
	for path, want := range map[string]string{
		"/xrpc/com.example.plain":  `{"hello":"world"}`,
		"/xrpc/com.example.large":  "fallback /xrpc/com.example.large",
		"/xrpc/com.example.strict": "fallback /xrpc/com.example.strict",
	} {
		if w := ask(s, "GET", path, ""); w.Body.String() != want {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	for _, bad := range []Config{
		{LeaveToFallback: []string{"com.example.large"}},
		{LeaveToFallback: []string{"com.example.Large"}, Fallback: fallback},
	} {
		if _, err := newServer(bad, sampleMethods()); err == nil || !strings.Contains(err.Error(), "Config.LeaveToFallback") {
			t.Errorf("%v: %v", bad.LeaveToFallback, err)
		}
	}
	if all := Methods(); !slices.IsSorted(all) || !slices.Contains(all, "com.atproto.server.createSession") || len(all) < 50 {
		t.Errorf("Methods: %v", all)
	}
}

// TestUnknownMethodsHintAtAProxy shows that the message of a 501 says which header is missing or
// ignored.
func TestUnknownMethodsHintAtAProxy(t *testing.T) {
	s := sampleServer(t, nil)
	for header, want := range map[string]string{
		"": "Method Not Implemented: com.example.other isn't served here; to have another service answer, name it in an atproto-proxy header",
		"did:web:api.example.com#app": "Method Not Implemented: com.example.other isn't served here; " +
			"this server doesn't proxy requests to the service in the atproto-proxy header",
	} {
		for _, verb := range []string{"GET", "POST"} {
			w := ask(s, verb, "/xrpc/com.example.other", "", "Atproto-Proxy", header)
			if body := fmt.Sprintf(`{"error":"MethodNotImplemented","message":"%s"}`, want); w.Code != 501 || w.Body.String() != body {
				t.Errorf("%s: %d %s, want %s", verb, w.Code, w.Body, body)
			}
		}
	}
}

func TestHealthOfTheStore(t *testing.T) {
	var err error
	asked, now := 0, time.Unix(1_800_000_000, 0)
	s := sampleServer(t, func(c *Config) {
		c.Now = func() time.Time { return now }
		c.Health = func(ctx context.Context) error {
			asked++
			if _, limited := ctx.Deadline(); !limited {
				t.Error("the store may take for ever")
			}
			return err
		}
	})
	if w := ask(s, "GET", "/xrpc/_health", ""); w.Code != 200 || w.Body.String() != `{"version":"1.2.3"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	err = errSample
	now = now.Add(time.Second)
	for range 1000 { // anyone may ask, and the store is asked once
		ask(s, "GET", "/xrpc/_health", "")
	}
	if asked != 2 {
		t.Errorf("the store was asked %d times in two seconds", asked)
	}
	if w := ask(s, "GET", "/xrpc/_health", ""); w.Code != 503 || w.Body.String() != `{"error":"Service Unavailable","version":"1.2.3"}` {
		t.Errorf("without a store: %d %s", w.Code, w.Body)
	}
}

// lines parses a log in JSON.
func lines(t *testing.T, log *bytes.Buffer) []map[string]any {
	t.Helper()
	var all []map[string]any
	for scan := bufio.NewScanner(bytes.NewReader(log.Bytes())); scan.Scan(); {
		line := map[string]any{}
		if err := json.Unmarshal(scan.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	log.Reset()
	return all
}

func TestInternalErrorsHaveNoDetails(t *testing.T) {
	var log bytes.Buffer
	s := sampleServer(t, func(c *Config) { c.Logger = slog.New(slog.NewJSONHandler(&log, nil)) })
	for path, cause := range map[string]string{
		"/xrpc/com.example.fails":       errSample.Error(),
		"/xrpc/com.example.panics":      "panic: " + errSample.Error(),
		"/xrpc/com.example.unencodable": "encoding the output",
	} {
		w := ask(s, "GET", path, "")
		if w.Code != 500 || w.Body.String() != `{"error":"InternalServerError","message":"Internal Server Error"}` {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		id := w.Header().Get("X-Request-Id")
		all := lines(t, &log)
		if len(all) != 2 || id == "" {
			t.Fatalf("%s: request %q, %v", path, id, all)
		}
		failure, request := all[0], all[1]
		if failure["level"] != "ERROR" || failure["request"] != id || !strings.Contains(failure["error"].(string), cause) {
			t.Errorf("%s: %v", path, failure)
		}
		if request["level"] != "INFO" || request["request"] != id || request["status"] != 500.0 {
			t.Errorf("%s: %v", path, request)
		}
	}
	// Mistakes of clients aren't logged as errors.
	for _, path := range []string{"/xrpc/com.example.other", "/xrpc/com.example.search", "/xrpc/nonsense"} {
		w := ask(s, "GET", path, "")
		if all := lines(t, &log); len(all) != 1 || all[0]["level"] != "INFO" || w.Header().Get("X-Request-Id") != "" {
			t.Errorf("%s: %v %v", path, all, w.Header())
		}
	}
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("http.ErrAbortHandler didn't reach the server")
			}
		}()
		ask(s, "GET", "/xrpc/com.example.aborts", "")
	}()
}

func TestRequestLog(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(1_800_000_000, 0)
	s := sampleServer(t, func(c *Config) {
		c.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		c.Now = func() time.Time { now = now.Add(time.Millisecond); return now }
	})
	ask(s, "GET", "/xrpc/com.example.private?q=querysecret", "", "Authorization", "Bearer did:web:a.test", "Cookie", "cookiesecret")
	ask(s, "POST", "/xrpc/com.example.echo", `{"text":"bodysecret","flag":1}`, "Authorization", "Bearer headersecret")
	ask(s, "GET", "/xrpc/com.example.pathsecret", "")
	ask(s, "GET", "/xrpc/com.example.search?limit=paramsecret", "")
	if strings.Contains(log.String(), "secret") {
		t.Errorf("the log has a secret: %s", &log)
	}
	all := lines(t, &log)
	for i, want := range []map[string]any{
		{"method": "com.example.private", "status": 200.0, "did": "did:web:a.test"},
		{"method": "com.example.echo", "status": 400.0, "did": ""},
		{"method": "unknown", "status": 501.0, "did": ""},
		{"method": "com.example.search", "status": 400.0, "did": ""},
	} {
		want["level"], want["msg"], want["ip"], want["took"] = "INFO", "request", "192.0.2.1", 1e6
		for name, value := range want {
			if all[i][name] != value {
				t.Errorf("line %d: %s is %v, want %v", i, name, all[i][name], value)
			}
		}
		if all[i]["request"] == "" || i > 0 && all[i]["request"] == all[i-1]["request"] {
			t.Errorf("line %d: request %v", i, all[i]["request"])
		}
	}
}

// limiter is a Limiter made of a function.
type limiter func(key string, windows []ratelimit.Window) (ratelimit.State, error)

func (l limiter) Take(_ context.Context, key string, windows ...ratelimit.Window) (ratelimit.State, error) {
	return l(key, windows)
}

func (l limiter) Peek(_ context.Context, key string, windows ...ratelimit.Window) (ratelimit.State, error) {
	return l(key, windows)
}

func TestKeysOfLimits(t *testing.T) {
	var keys []string
	s := sampleServer(t, func(c *Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} // httptest's client
		c.Limiter = limiter(func(key string, windows []ratelimit.Window) (ratelimit.State, error) {
			keys = append(keys, fmt.Sprint(key, " ", len(windows)))
			return ratelimit.State{Window: windows[0], Allowed: true, Remaining: 1}, nil
		})
	})
	forwarded := []string{"X-Forwarded-For", "2001:db8:1:2:3::4"}
	for _, c := range []struct {
		name, verb, path, body string
		header                 []string
		want                   []string
	}{
		{"by address", "GET", "plain", "", forwarded, []string{" 2001:db8:1:2:: 1"}},
		{"by account", "GET", "private", "", append(forwarded, "Authorization", "Bearer did:web:a.test"), []string{" did:web:a.test 1", "com.example.private did:web:a.test 1"}},
		{"a service token: by address, before it is verified", "POST", "arrive", "", append(forwarded, "Authorization", "Bearer did:web:a.test"), []string{" 2001:db8:1:2:: 1", "com.example.arrive 2001:db8:1:2:: 1"}},
		{"refused: by address", "GET", "private", "", forwarded, []string{" 2001:db8:1:2:: 1"}},
		{"two windows", "POST", "login", `{"name":"alice"}`, forwarded, []string{" 2001:db8:1:2:: 1", "com.example.login 2001:db8:1:2:: 2"}},
		{"a bad input costs the same", "POST", "login", `{}`, forwarded, []string{" 2001:db8:1:2:: 1", "com.example.login 2001:db8:1:2:: 2"}},
		{"an unknown method", "GET", "other", "", forwarded, []string{" 2001:db8:1:2:: 1"}},
		{"other headers change nothing", "GET", "plain", "", append(forwarded, "X-Real-Ip", "203.0.113.1", "X-Client-Ip", "203.0.113.1", "Forwarded", "for=203.0.113.1", "True-Client-Ip", "203.0.113.1"), []string{" 2001:db8:1:2:: 1"}},
	} {
		keys = nil
		ask(s, c.verb, "/xrpc/com.example."+c.path, c.body, c.header...)
		if fmt.Sprint(keys) != fmt.Sprint(c.want) {
			t.Errorf("%s: %q, want %q", c.name, keys, c.want)
		}
	}
}

func TestHeadersOfLimits(t *testing.T) {
	now := time.Unix(1_800_000_000, 1) // a little after the full second
	s := sampleServer(t, func(c *Config) {
		c.Now = func() time.Time { return now }
		c.Limiter = ratelimit.NewMemory(ratelimit.Config{Now: c.Now})
	})
	login := func() *httptest.ResponseRecorder {
		return ask(s, "POST", "/xrpc/com.example.login", `{"name":"alice"}`)
	}
	for i, want := range []struct {
		after  time.Duration
		status int
		header string // limit, remaining, reset after the start, policy, Retry-After
	}{
		{0, 200, "3 2 61 3;w=60 "},
		{0, 200, "3 1 61 3;w=60 "},
		{10 * time.Second, 200, "3 0 61 3;w=60 "},
		{10 * time.Second, 429, "3 0 61 3;w=60 40"},
		{40 * time.Second, 200, "4 0 3601 4;w=3600 "},
		{0, 429, "4 0 3601 4;w=3600 3540"},
		{3539*time.Second + time.Second - time.Nanosecond, 429, "4 0 3601 4;w=3600 1"},
		{time.Nanosecond, 200, "3 2 3661 3;w=60 "},
	} {
		now = now.Add(want.after)
		w := login()
		h := w.Header()
		reset, err := time.Parse(time.RFC3339, "2027-01-15T08:00:00Z")
		if err != nil {
			t.Fatal(err)
		}
		var unix int64
		fmt.Sscan(h.Get("RateLimit-Reset"), &unix)
		got := fmt.Sprintf("%s %s %d %s %s", h.Get("RateLimit-Limit"), h.Get("RateLimit-Remaining"), unix-reset.Unix(), h.Get("RateLimit-Policy"), h.Get("Retry-After"))
		if w.Code != want.status || got != want.header {
			t.Errorf("try %d: %d %q, want %d %q", i, w.Code, got, want.status, want.header)
		}
		if w.Code == 429 && w.Body.String() != `{"error":"RateLimitExceeded","message":"Rate Limit Exceeded"}` {
			t.Errorf("try %d: %s", i, w.Body)
		}
	}
	// Of the limit on all requests and that of the method, the tighter one is shown.
	if w := ask(s, "GET", "/xrpc/com.example.private", "", "Authorization", "Bearer did:web:a.test"); w.Header().Get("RateLimit-Policy") != "5;w=60" {
		t.Errorf("two limits: %v", w.Header())
	}
	if w := ask(s, "GET", "/xrpc/com.example.plain", ""); w.Header().Get("RateLimit-Policy") != "3000;w=300" {
		t.Errorf("one limit: %v", w.Header())
	}
}

func TestTheTightestLimitShows(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	left := map[string]int{}
	s := sampleServer(t, func(c *Config) {
		c.Now = func() time.Time { return now }
		c.Limiter = limiter(func(key string, windows []ratelimit.Window) (ratelimit.State, error) {
			nsid, _, _ := strings.Cut(key, " ")
			// The clock of a limiter on another machine may be behind.
			return ratelimit.State{Window: windows[0], Allowed: left[nsid] >= 0, Remaining: max(0, left[nsid]), Reset: now.Add(-time.Minute)}, nil
		})
	})
	for _, c := range []struct {
		name            string
		all, own        int
		status          int
		policy, waiting string
	}{
		{"the limit on all requests", 3, 4, 200, "3000;w=300", ""},
		{"the method's own", 4, 3, 200, "5;w=60", ""},
		{"both", 3, 3, 200, "3000;w=300", ""},
		{"the method's own is exhausted", 0, -1, 429, "5;w=60", "1"},
		{"the limit on all requests is exhausted", -1, 3, 429, "3000;w=300", "1"},
	} {
		left[""], left["com.example.private"] = c.all, c.own
		w := ask(s, "GET", "/xrpc/com.example.private", "", "Authorization", "Bearer did:web:a.test")
		if h := w.Header(); w.Code != c.status || h.Get("RateLimit-Policy") != c.policy || h.Get("Retry-After") != c.waiting {
			t.Errorf("%s: %d %v", c.name, w.Code, h)
		}
	}
}

// TestLimitsFailOpen shows that no client is refused when the limiter fails.
func TestLimitsFailOpen(t *testing.T) {
	var log bytes.Buffer
	s := sampleServer(t, func(c *Config) {
		c.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		c.Limiter = limiter(func(string, []ratelimit.Window) (ratelimit.State, error) { return ratelimit.State{}, errSample })
	})
	w := ask(s, "GET", "/xrpc/com.example.plain", "")
	if all := lines(t, &log); w.Code != 200 || w.Header().Get("RateLimit-Limit") != "" || all[0]["level"] != "WARN" {
		t.Errorf("%d %v %v", w.Code, w.Header(), all)
	}
}
