// Proxy is an account server that passes requests on to other services of the network, as every PDS
// does: to the app view with timelines, feed generators, moderation services, or chat. A client
// names the service in a header,
//
//	atproto-proxy: did:web:api.bsky.app#bsky_appview
//
// and the server adds a token that proves whose request it is. The proxy is in proxy.go and
// service.go, which you can copy into your own server.
//
//	go run ./examples/proxy
//
// By default the host name is local. Others can't resolve the DIDs of its accounts then, so the
// services of the network refuse their requests.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	file := flag.String("file", "proxy.db", "database file")
	hostname := flag.String("hostname", "localhost", "the server's host name")
	domains := flag.String("handle-domains", ".test", "domains under which accounts take handles, separated by commas")
	appView := flag.String("app-view", "", "service for requests that name none, such as did:web:api.bsky.app#bsky_appview")
	flag.Parse()
	cfg := gatehouse.Config{Hostname: *hostname, HandleDomains: strings.Split(*domains, ",")}
	if gatehouse.IsLocal(*hostname) {
		cfg.PublicURL = "http://" + *addr
		cfg.DIDs.Resolver = did.NewNetwork(nil, userAgent).ResolveDID // a local server resolves no did:web by default
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *addr, *file, *appView, cfg); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr, file, appView string, cfg gatehouse.Config) error {
	store, err := bolt.Open(file)
	if err != nil {
		return err
	}
	defer store.Close()
	handler, srv, err := newServer(store, cfg, appView)
	if err != nil {
		return err
	}
	defer srv.Close()
	server := &http.Server{
		Addr:              addr,
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      timeout + 30*time.Second, // so that the proxy can answer after its own timeout
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

// newServer returns an account server whose Fallback is the proxy. Since the proxy needs the
// server, it is created after it.
func newServer(store storage.Store, cfg gatehouse.Config, appView string) (http.Handler, *gatehouse.Server, error) {
	var p *proxy
	cfg.Fallback = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.ServeHTTP(w, r) })
	srv, err := gatehouse.New(context.Background(), store, cfg)
	if err != nil {
		return nil, nil, err
	}
	if p, err = newProxy(srv, appView); err != nil {
		srv.Close()
		return nil, nil, fmt.Errorf("-app-view: %w", err)
	}
	return srv.Handler(), srv, nil
}
