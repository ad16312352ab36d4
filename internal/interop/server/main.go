// Command server is a server for tests of OAuth clients that have a name in the DNS, which the
// tests don't: it fetches what is below the origin of the clients from another URL. Beside
// Gatehouse it has a route that takes a permission of a repository.
//
//	server MAIL-DIRECTORY ORIGIN URL
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/mail/deliver"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/fetch"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) != 3 {
		return fmt.Errorf("%d arguments; want a directory for e-mails, the origin of the clients, and the URL in its place", len(args))
	}
	mailer, err := deliver.Open("dir:"+args[0], "noreply@localhost.localdomain")
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return err
	}
	store := memory.New()
	defer func() { err = errors.Join(err, store.Close()) }()
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{
		Hostname:      "localhost",
		HandleDomains: []string{".test"},
		PublicURL:     "http://localhost:" + port,
		Mail:          gatehouse.Mail{Mailer: mailer},
		Limits:        gatehouse.Limits{Limiter: ratelimit.Off{}},
		OAuth:         gatehouse.OAuth{Documents: fetch.New(fetch.Config{Transport: inPlace{args[1], args[2]}})},
		Logger:        slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	mux := http.NewServeMux()
	mux.Handle("POST /posts", srv.RequireAuth(sessions.Repo("app.bsky.feed.post", "create"))(http.HandlerFunc(createPost)))
	mux.Handle("/", srv.Handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Printf("listening on http://%s\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// createPost answers with the text of a post and its author.
func createPost(w http.ResponseWriter, r *http.Request) {
	var post struct {
		DID  string `json:"did"`
		Text string `json:"text"`
	}
	if err := json.NewDecoder(r.Body).Decode(&post); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	post.DID = gatehouse.Auth(r.Context()).Account.DID.String()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(post)
}

// inPlace sends requests for an origin to another URL.
type inPlace struct{ origin, url string }

// RoundTrip implements [http.RoundTripper].
func (p inPlace) RoundTrip(r *http.Request) (*http.Response, error) {
	path, ok := strings.CutPrefix(r.URL.String(), p.origin+"/")
	if !ok {
		return nil, fmt.Errorf("%s is not below %s", r.URL, p.origin)
	}
	instead, err := http.NewRequestWithContext(r.Context(), r.Method, p.url+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	instead.Header = r.Header
	return http.DefaultTransport.RoundTrip(instead)
}
