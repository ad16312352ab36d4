package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

func TestTheProgramsServer(t *testing.T) {
	store := memory.New()
	defer store.Close()
	cfg := gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}}
	if _, _, err := newServer(store, cfg, "nonsense"); err == nil || !strings.Contains(err.Error(), "-app-view") {
		t.Errorf("a malformed app view: %v", err)
	}
	handler, srv, err := newServer(store, cfg, "did:web:appview.test#bsky_appview")
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	for path, want := range map[string]string{
		"/xrpc/_health":                   `"version"`,
		"/xrpc/app.bsky.feed.getTimeline": `"AuthMissing"`,
		"/.well-known/did.json":           "Not found",
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
