package web_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-at/gatehouse/web"
)

// buffer is a log that may be written to while it is read.
type buffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// TestRequestsAreLogged, with nothing of them that may be secret.
func TestRequestsAreLogged(t *testing.T) {
	var log buffer
	w := newWorldWith(t, func(c *web.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	b.get(a.push(nil))
	b.get("/oauth/authorize?secret=in-the-query")
	b.get("/oauth/secret-in-the-path")
	got := log.String()
	for _, want := range []string{`verb=POST path=/oauth/par status=201`, `verb=GET path=/oauth/authorize status=200`, `verb=GET path=/oauth/authorize status=400`, `status=404`} {
		if !strings.Contains(got, want) {
			t.Errorf("the log has no %q", want)
		}
	}
	for _, not := range []string{"secret", "request_uri", "urn:"} {
		if strings.Contains(got, not) {
			t.Errorf("the log has %q", not)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}
