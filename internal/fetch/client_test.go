package fetch_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/fetch"
	"github.com/gatehouse-at/gatehouse/oauth/client"
)

// TestTheDocumentOfAClient: a registry finds a client over TLS, and tells its developer why a
// document can't be used.
func TestTheDocumentOfAClient(t *testing.T) {
	const good, moved = "https://app.example.com/client.json", "https://app.example.com/moved.json"
	f := serve(t, fetch.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/client.json" {
			http.Redirect(w, r, good, http.StatusMovedPermanently)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write([]byte(`{"client_id":"` + good + `","redirect_uris":["https://app.example.com/callback"],"grant_types":["authorization_code"],
			"response_types":["code"],"scope":"atproto","dpop_bound_access_tokens":true}`))
	})
	r, err := client.New(client.Config{Fetcher: f, Issuer: "https://pds.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := r.Get(context.Background(), good); err != nil || c.Host != "app.example.com" {
		t.Errorf("got %+v, %v", c, err)
	}
	_, err = r.Get(context.Background(), moved)
	const want = `the client metadata document "` + moved + `" can't be used: it answered with the status 301 Moved Permanently, and redirects aren't followed`
	if !errors.Is(err, client.ErrInvalidMetadata) || message(err) != want {
		t.Errorf("got %v; want %s", err, want)
	}
	// A fetcher without AllowLoopback asks nothing on loopback, whatever the registry admits.
	r, err = client.New(client.Config{Fetcher: fetch.New(fetch.Config{}), Issuer: "https://pds.example.com", AllowLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get(context.Background(), "http://127.0.0.1:8080/client.json"); !errors.Is(err, client.ErrInvalidMetadata) {
		t.Errorf("loopback: %v", err)
	}
}
