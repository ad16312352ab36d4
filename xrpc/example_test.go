package xrpc_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// gatehouse.New returns the handler and all its services. Methods that it doesn't have are served
// by a handler of the embedder.
func Example() {
	store := memory.New()
	defer store.Close()
	repo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "the repo half has ", r.URL.Path)
	})
	srv, err := gatehouse.New(context.Background(), store, gatehouse.Config{
		Hostname:      "localhost",
		HandleDomains: []string{".test"},
		Fallback:      repo,
		Logger:        slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	mux := http.NewServeMux()
	mux.Handle("/xrpc/", srv)

	ask := func(verb, nsid, body string) {
		r := httptest.NewRequest(verb, "/xrpc/"+nsid, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		answer, _ := io.ReadAll(w.Body)
		fmt.Println(w.Code, string(answer))
	}
	ask("POST", "com.atproto.server.createSession", `{"identifier": "alice.test"}`)
	ask("POST", "com.atproto.server.createAccount", `{"handle": "not a handle", "password": "a good one"}`)
	ask("GET", "com.atproto.server.createSession", "")
	ask("GET", "com.atproto.repo.getRecord", "")

	// Output:
	// 400 {"error":"InvalidRequest","message":"Input must have the property \"password\""}
	// 400 {"error":"InvalidRequest","message":"Input/handle must be a valid handle"}
	// 405 {"error":"InvalidRequest","message":"Incorrect HTTP method (GET) expected POST"}
	// 200 the repo half has /xrpc/com.atproto.repo.getRecord
}
