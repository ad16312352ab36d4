package gatehouse

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// TestRequestsThatHashNoPasswordAreCounted: the pool of password hashes learns of every request but
// those that hash, so that it leaves a processor to them.
func TestRequestsThatHashNoPasswordAreCounted(t *testing.T) {
	srv, err := New(t.Context(), memory.New(), Config{
		Hostname: "localhost", HandleDomains: []string{".test"}, PublicURL: "http://localhost",
		Passwords: Passwords{Memory: 8, Time: 1}, NoMaintenance: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	mux := http.NewServeMux()
	mux.Handle("/", srv.Handler())
	mux.Handle("/guarded", srv.RequireAuth()(http.NotFoundHandler()))
	mux.Handle("/active", srv.RequireActive()(http.NotFoundHandler()))
	var session struct{ AccessJwt, RefreshJwt string }
	do := func(handler http.Handler, verb, path, token, body string) int {
		r := httptest.NewRequest(verb, "http://localhost"+path, strings.NewReader(body))
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if strings.HasSuffix(path, "Session") && w.Code == http.StatusOK {
			if err := json.Unmarshal(w.Body.Bytes(), &session); err != nil {
				t.Fatal(err)
			}
		}
		return w.Code
	}
	const (
		xrpc    = "/xrpc/com.atproto.server."
		account = `{"handle":"%s.test","email":"%[1]s@example.com","password":"correct horse"}`
		right   = `{"identifier":"alice.test","password":"correct horse"}`
		wrong   = `{"identifier":"alice.test","password":"wrong horse"}`
		unknown = `{"identifier":"nobody.test","password":"wrong horse"}`
	)
	for _, c := range []struct {
		handler          http.Handler
		verb, path, body string
		status           int
		counted          bool
	}{
		{mux, "POST", xrpc + "createAccount", fmt.Sprintf(account, "alice"), 200, false},
		{srv, "POST", xrpc + "createAccount", fmt.Sprintf(account, "bobby"), 200, false},
		{mux, "POST", xrpc + "createSession", wrong, 401, false},
		{srv, "POST", xrpc + "createSession", unknown, 401, false},
		{mux, "POST", xrpc + "createSession", right, 200, false},
		{srv, "POST", xrpc + "createSession", right, 200, false},
		{srv, "POST", xrpc + "createSession", `{}`, 400, true},
		{mux, "GET", xrpc + "getSession", "", 200, true},
		{srv, "GET", xrpc + "getSession", "", 200, true},
		{mux, "POST", xrpc + "refreshSession", "", 200, true},
		{srv, "POST", xrpc + "refreshSession", "", 200, true},
		{srv, "GET", xrpc + "describeServer", "", 200, true},
		{srv, "GET", "/xrpc/_health", "", 200, true},
		{mux, "GET", "/.well-known/did.json", "", 200, true},
		{mux, "GET", "/", "", 200, true},
		{mux, "GET", "/guarded", "", 404, true},
		{mux, "POST", "/active", "", 404, true},
	} {
		token := session.AccessJwt
		switch {
		case strings.HasSuffix(c.path, "refreshSession"):
			token = session.RefreshJwt
		case strings.HasPrefix(c.path, xrpc+"create"):
			token = ""
		}
		before := srv.traffic.Others()
		if status := do(c.handler, c.verb, c.path, token, c.body); status != c.status {
			t.Errorf("%s %s %s: %d", c.verb, c.path, c.body, status)
		}
		if counted := srv.traffic.Others() > before; counted != c.counted {
			t.Errorf("%s %s %s: counted: %t", c.verb, c.path, c.body, counted)
		}
	}
}
