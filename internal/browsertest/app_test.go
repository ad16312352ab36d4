package browsertest

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// bundle is app/main.js with the official client, as one script.
var bundle = sync.OnceValues(func() ([]byte, error) {
	cmd := exec.Command(modules(".bin", "esbuild"), "app/main.js", "--bundle", "--format=iife", "--target=chrome120", "--log-level=warning")
	out, err := cmd.Output()
	if failed, is := err.(*exec.ExitError); is {
		err = fmt.Errorf("esbuild: %w: %s", err, failed.Stderr)
	}
	return out, err
})

// serveApp serves an application at an origin of its own. It signs people in at a server with a
// scope, and with a response mode or, if it is empty, the one that the official client prefers.
func serveApp(t *testing.T, server, scope, mode string) (origin string) {
	t.Helper()
	script, err := bundle()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /app.js", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = w.Write(script)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, document, "", fmt.Sprintf(`<div id="settings" data-server="%s" data-scope="%s" data-response-mode="%s"></div><script src="/app.js"></script>`,
			html.EscapeString(server), html.EscapeString(scope), html.EscapeString(mode)))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

// expectedOfApps is what the browser reports of an application although all is well: requests that
// the server answers with an error, which is how a client learns that it needs a nonce or that a
// token has ended.
func expectedOfApps(server string) func(problem) bool {
	return func(p problem) bool {
		u, err := url.Parse(p.url)
		return err == nil && p.kind == "network" && strings.HasPrefix(p.url, server) &&
			(strings.HasPrefix(u.Path, "/oauth/") && u.Path != "/oauth/authorize" || strings.HasPrefix(u.Path, "/xrpc/")) &&
			(strings.Contains(p.text, "status of 400") || strings.Contains(p.text, "status of 401"))
	}
}

// callback is the page to which an application without JavaScript has people sent back. It notes
// what they bring.
type callback struct {
	t       testing.TB
	url     string
	answers chan url.Values
}

func serveCallback(t *testing.T) *callback {
	t.Helper()
	c := &callback{t: t, answers: make(chan url.Values, 10)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/callback" {
			http.NotFound(w, r)
			return
		}
		if err := r.ParseForm(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.answers <- r.Form
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, document, "", `<p id="back">Back in the application</p>`)
	}))
	t.Cleanup(s.Close)
	c.url = s.URL + "/callback"
	return c
}

// answer returns what the latest visitor brought in the query or a form. A fragment reaches no
// server.
func (c *callback) answer() url.Values {
	c.t.Helper()
	return receive(c.t, "answer", c.answers)
}

// receive receives from a channel, and fails the test if nothing comes.
func receive[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-from:
		if ok {
			return v
		}
	case <-time.After(patience):
	}
	t.Fatal("no ", what)
	panic("unreachable")
}
