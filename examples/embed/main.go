// Embed is a program with routes of its own, beside which Gatehouse is mounted. Gatehouse keeps
// accounts and sessions, and the program keeps a profile of each account.
//
//	go run ./examples/embed
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	file := flag.String("file", "embed.db", "database file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *addr, *file); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr, file string) error {
	store, err := bolt.Open(file)
	if err != nil {
		return err
	}
	defer store.Close()
	app, srv, err := newApp(ctx, store, "http://"+addr)
	if err != nil {
		return err
	}
	defer srv.Close()
	// A public server limits how long a client may take. By default Go doesn't.
	server := &http.Server{
		Addr:              addr,
		Handler:           app,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      90 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	fmt.Printf("listening on http://%s\n", addr)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// Requests must have ended when the store is closed.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return server.Shutdown(stop)
}

// profile is the program's own record of an account.
type profile struct {
	DID     string    `json:"did"`
	Visits  int       `json:"visits"`
	Created time.Time `json:"created"`
}

var profiles = storage.NewCollection("profiles", func(p *profile) string { return p.DID })

// newApp returns the handler of the program, and the Gatehouse that is mounted in it.
func newApp(ctx context.Context, store storage.Store, publicURL string) (http.Handler, *gatehouse.Server, error) {
	if err := storage.Define(ctx, store, profiles); err != nil {
		return nil, nil, err
	}
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{
		Hostname:      "localhost",
		HandleDomains: []string{".test"},
		PublicURL:     publicURL,
		Hooks:         []accounts.Hook{keepProfiles},
	})
	if err != nil {
		return nil, nil, err
	}

	mux := http.NewServeMux()
	mux.Handle("/xrpc/", srv)
	mux.Handle("/.well-known/", srv.WellKnown())
	mux.Handle("/oauth/", srv.Pages()) // applications get access here, without passwords
	mux.Handle("/account/", srv.Pages())
	mux.Handle("/plc/", http.StripPrefix("/plc", srv.PLCDirectory())) // where a local server keeps DIDs
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "Anybody may see this page.")
	})
	// With storage.Conditional, a request writes only as long as its session lives.
	mux.Handle("GET /me", srv.RequireAuth()(me(storage.Conditional(store))))
	// At the host names of accounts, such as alice.test, HandleHosts serves none of these routes.
	return srv.HandleHosts(mux), srv, nil
}

// keepProfiles is a hook that creates and deletes the profile of an account in the transaction that
// creates or deletes the account, so there is never one without the other.
func keepProfiles(_ context.Context, tx storage.Tx, c accounts.Change) error {
	switch c.Kind {
	case accounts.Created:
		return profiles.Insert(tx, &profile{DID: c.Account.DID.String(), Created: c.Account.CreatedAt})
	case accounts.Deleted:
		return profiles.Delete(tx, c.Account.DID.String())
	}
	return nil
}

// me counts and returns the visits of whoever is logged in.
func me(store storage.Store) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		account := gatehouse.Auth(r.Context()).Account
		var p *profile
		err := store.Update(r.Context(), func(tx storage.Tx) (err error) {
			if p, err = profiles.Get(tx, account.DID.String()); err != nil {
				return err
			}
			p.Visits++
			return profiles.Put(tx, p)
		})
		if err != nil {
			http.Error(w, "no profile", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"hello": account.Handle, "visits": p.Visits})
	})
}
