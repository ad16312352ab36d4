// Minimal is the smallest program that embeds Gatehouse: on a database file, beside a route of its
// own.
package main

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

func main() {
	store, err := bolt.Open("accounts.db")
	if err != nil {
		log.Fatal(err)
	}
	srv, err := gatehouse.New(context.Background(), store, gatehouse.Config{
		Hostname:      "localhost:2583",  // pds.example.com
		HandleDomains: []string{".test"}, // .example.com
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/xrpc/", srv)                    // com.atproto.server.* and more
	mux.Handle("/.well-known/", srv.WellKnown()) // handles, did:web on your domains, OAuth metadata
	mux.Handle("/oauth/", srv.Pages())           // OAuth: sign-in, consent, tokens
	mux.Handle("/account/", srv.Pages())         // the applications that have access
	mux.Handle("/me", srv.RequireAuth()(http.HandlerFunc(me)))
	server := &http.Server{
		Addr: "127.0.0.1:2583", Handler: srv.HandleHosts(mux),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 90 * time.Second, IdleTimeout: 2 * time.Minute,
	}
	log.Fatal(server.ListenAndServe())
}

// me is a route of the program's own.
func me(w http.ResponseWriter, r *http.Request) {
	_, _ = w.Write([]byte("hello " + gatehouse.Auth(r.Context()).Account.Handle.String() + "\n"))
}
