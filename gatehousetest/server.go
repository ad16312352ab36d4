package gatehousetest

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// AdminPassword is the password of the admin "admin" of test servers.
const AdminPassword = "admin-password"

// Server is a running test server.
type Server struct {
	// URL is the server's root: http://127.0.0.1:PORT.
	URL string
	// Gatehouse is the server that is tested, with its Go APIs.
	Gatehouse *gatehouse.Server
	// Store is the store of the server.
	Store storage.Store
	// Clock is the clock of the server.
	Clock *Clock
	// Mail contains the e-mails that the server has sent.
	Mail *Mailbox

	t      testing.TB
	server *httptest.Server
	faults faults
}

// Option configures a test server.
type Option func(*options)

type options struct {
	store     storage.Store
	configure []func(*gatehouse.Config)
	wrap      func(http.Handler) http.Handler
}

// WithStore makes the server use a store, in place of a new one in memory. The caller closes the
// store.
func WithStore(s storage.Store) Option { return func(o *options) { o.store = s } }

// WithConfig changes the configuration of the server. By default a test server has the host name
// "localhost", the handle domain ".test", an admin with the password [AdminPassword], no rate
// limits, no minimum length of passwords, and no holds on handles that accounts have changed. It
// does no background work: a test that needs it calls Gatehouse.Maintain.
func WithConfig(change func(*gatehouse.Config)) Option {
	return func(o *options) { o.configure = append(o.configure, change) }
}

// WithHandler wraps the handler of the server, such as in a middleware.
func WithHandler(wrap func(http.Handler) http.Handler) Option {
	return func(o *options) { o.wrap = wrap }
}

// NewServer starts a server, and closes it when the test ends.
func NewServer(t testing.TB, opts ...Option) *Server {
	t.Helper()
	o := options{wrap: func(h http.Handler) http.Handler { return h }}
	for _, opt := range opts {
		opt(&o)
	}
	closeStore := func() {}
	if o.store == nil {
		store := memory.New()
		closeStore = func() { store.Close() }
		o.store = store
	}
	s := &Server{t: t, Store: o.store, Clock: NewClock(), Mail: &Mailbox{t: t, Memory: mail.NewMemory()}}
	s.server = listen()
	s.URL = "http://" + s.server.Listener.Addr().String()
	cfg := gatehouse.Config{
		Hostname:      "localhost",
		HandleDomains: []string{".test"},
		PublicURL:     s.URL,
		ServiceName:   "Test Server",
		Admins:        xrpc.Passwords{"admin": AdminPassword},
		Handles:       gatehouse.Handles{Hold: -1},
		Passwords:     gatehouse.Passwords{MinLength: 1, Memory: 8, Time: 1},
		Mail:          gatehouse.Mail{Mailer: s.Mail.Memory},
		Limits:        gatehouse.Limits{Limiter: ratelimit.Off{}},
		Logger:        slog.New(slog.DiscardHandler),
		Now:           s.Clock.Now,
		NoMaintenance: true,
	}
	for _, change := range o.configure {
		change(&cfg)
	}
	srv, err := gatehouse.New(t.Context(), o.store, cfg)
	if err != nil {
		s.server.Listener.Close()
		closeStore()
		t.Fatalf("gatehousetest: %v", err)
	}
	s.Gatehouse = srv
	s.server.Config.Handler = s.faults.wrap(s, o.wrap(srv.Handler()))
	s.server.Start()
	t.Cleanup(func() {
		s.Close()
		closeStore()
	})
	return s
}

// listen returns a server that listens on loopback and isn't started. It takes what costs
// httptest.NewUnstartedServer time and is of no use on loopback: multipath TCP, and HTTP/2, which
// takes TLS.
func listen() *httptest.Server {
	if flag.Lookup("httptest.serve") != nil { // says where to listen
		return httptest.NewUnstartedServer(nil)
	}
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(false)
	l, err := cfg.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil { // there is no IPv4
		return httptest.NewUnstartedServer(nil)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Protocols: new(http.Protocols)}}
	server.Config.Protocols.SetHTTP1(true)
	return server
}

// Client returns an HTTP client for the server. It keeps no cookies, and follows redirects.
func (s *Server) Client() *http.Client { return s.server.Client() }

// Close stops the server. It is called when the test ends, and may be called before.
func (s *Server) Close() {
	s.server.Close()
	if err := s.Gatehouse.Close(); err != nil {
		s.t.Errorf("gatehousetest: closing the server: %v", err)
	}
}

// Account is an account on a test server, with what its owner knows.
type Account struct {
	DID, Handle, Email, Password string
	// AccessJWT and RefreshJWT are the tokens of the session that the sign-up opened.
	AccessJWT, RefreshJWT string
}

// Password is the password of the accounts that [Server.CreateAccount] creates.
const Password = "password"

// CreateAccount creates an account with the password [Password] and the e-mail address
// LABEL@example.com, where LABEL is the first label of the handle. It works in all modes of
// sign-up, and with reserved handles.
func (s *Server) CreateAccount(handle string) *Account {
	s.t.Helper()
	label, _, _ := strings.Cut(handle, ".")
	a := &Account{Handle: handle, Email: label + "@example.com", Password: Password}
	tokens, err := s.Gatehouse.SignIn.SignUp(context.Background(), accounts.CreateParams{
		Handle: a.Handle, Email: a.Email, Password: a.Password, AllowReserved: true, Admit: true,
	})
	if err != nil {
		s.t.Fatalf("gatehousetest: creating %s: %v", handle, err)
	}
	a.DID, a.AccessJWT, a.RefreshJWT = tokens.Account.DID.String(), tokens.AccessJWT, tokens.RefreshJWT
	return a
}

// Login opens another session of an account with its password.
func (s *Server) Login(a *Account) *sessions.Tokens {
	s.t.Helper()
	tokens, err := s.Gatehouse.SignIn.SignIn(context.Background(), signin.Attempt{Identifier: a.DID, Password: a.Password})
	if err != nil {
		s.t.Fatalf("gatehousetest: logging in %s: %v", a.Handle, err)
	}
	return tokens
}

// Mailbox contains e-mails.
type Mailbox struct {
	*mail.Memory
	t testing.TB
}

// patience is how long a test waits for an e-mail, which may be long on a busy machine.
const patience = time.Minute

// Code returns the code of the latest e-mail to an address that has one, and removes this e-mail
// and earlier ones with a code. Notices stay. If there is no such e-mail yet, Code waits for it,
// and fails the test if none arrives.
func (m *Mailbox) Code(to string) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	msg, err := m.TakeCode(ctx, to)
	if err != nil {
		m.t.Fatalf("gatehousetest: no e-mail with a code to %s", to)
	}
	return msg.Code
}

// Notice returns the oldest e-mail of a kind to an address, and removes it. If there is no such
// e-mail yet, Notice waits for it, and fails the test if none arrives.
func (m *Mailbox) Notice(kind mail.Kind, to string) mail.Message {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	msg, err := m.TakeOf(ctx, kind, to)
	if err != nil {
		m.t.Fatalf("gatehousetest: no e-mail of kind %s to %s", kind, to)
	}
	return msg
}

// Clock is a clock that stands still until it is advanced. Its methods are safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that is set to the current time, in whole seconds.
func NewClock() *Clock { return &Clock{now: time.Now().Truncate(time.Second)} }

// Now returns the time of the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance advances the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// String returns the time of the clock as text.
func (c *Clock) String() string { return fmt.Sprint(c.Now()) }
