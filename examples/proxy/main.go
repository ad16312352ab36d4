// Proxy is an account server through which clients reach the network's other services, as through
// every PDS: the app view with their timelines, feed generators, moderation services, chat. A
// client names the service in a header,
//
//	atproto-proxy: did:web:api.bsky.app#bsky_appview
//
// and the server passes the request on, with a token that proves whose request it is. The proxy
// itself is in proxy.go and service.go, to be copied into your own server.
//
//	go run ./examples/proxy
//
// With a local host name, which is the default, nobody else can resolve the accounts' DIDs, so the
// network's services refuse them.
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
		cfg.DIDs.Resolver = did.NewNetwork(nil, userAgent).ResolveDID // by default a local server resolves no did:web
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
		WriteTimeout:      timeout + 30*time.Second, // longer than the proxy waits, so that it can say so
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
	// The store may close only when no request uses it any more.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return server.Shutdown(stop)
}

// newServer returns an account server whose Fallback is the proxy. The proxy needs the server, so
// it is made after it.
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
