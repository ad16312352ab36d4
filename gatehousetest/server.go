package gatehousetest

import (
	"context"
	"fmt"
	"log/slog"
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

// AdminPassword is the password of the user "admin" on test servers.
const AdminPassword = "admin-password"

// Server is a running test server.
type Server struct {
	// URL is the server's root: http://127.0.0.1:PORT.
	URL string
	// Gatehouse is the server itself, with its Go APIs.
	Gatehouse *gatehouse.Server
	// Store is where it keeps its data.
	Store storage.Store
	// Clock is the server's time.
	Clock *Clock
	// Mail holds the e-mails that the server sent.
	Mail *Mailbox

	t      testing.TB
	server *httptest.Server
}

// Option changes how a test server is set up.
type Option func(*options)

type options struct {
	store     storage.Store
	configure []func(*gatehouse.Config)
	wrap      func(http.Handler) http.Handler
}

// WithStore keeps the data in another store than a new one in memory. The store
// stays the caller's to close.
func WithStore(s storage.Store) Option { return func(o *options) { o.store = s } }

// WithConfig changes the configuration: host name "localhost", handle domain
// ".test", rate limits off, an admin password of [AdminPassword], passwords of any length, handles
// that are free as soon as an account has another, and no background work: a test that wants it
// calls Gatehouse.Maintain.
func WithConfig(change func(*gatehouse.Config)) Option {
	return func(o *options) { o.configure = append(o.configure, change) }
}

// WithHandler puts something around the server's handler.
func WithHandler(wrap func(http.Handler) http.Handler) Option {
	return func(o *options) { o.wrap = wrap }
}

// NewServer starts a server that ends with the test.
func NewServer(t testing.TB, opts ...Option) *Server {
	t.Helper()
	o := options{wrap: func(h http.Handler) http.Handler { return h }}
	for _, opt := range opts {
		opt(&o)
	}
	if o.store == nil {
		store := memory.New()
		t.Cleanup(func() { store.Close() })
		o.store = store
	}
	s := &Server{t: t, Store: o.store, Clock: NewClock(), Mail: &Mailbox{t: t, Memory: mail.NewMemory()}}
	s.server = httptest.NewUnstartedServer(nil)
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
		t.Fatalf("gatehousetest: %v", err)
	}
	s.Gatehouse = srv
	s.server.Config.Handler = o.wrap(srv.Handler())
	s.server.Start()
	t.Cleanup(s.Close)
	return s
}

// Client returns a client for the server. It keeps no cookies and follows redirects.
func (s *Server) Client() *http.Client { return s.server.Client() }

// Close stops the server. The test's cleanup does it too.
func (s *Server) Close() {
	s.server.Close()
	if err := s.Gatehouse.Close(); err != nil {
		s.t.Errorf("gatehousetest: closing: %v", err)
	}
}

// Account is an account on a test server, with what its owner knows.
type Account struct {
	DID, Handle, Email, Password string
	AccessJWT, RefreshJWT        string
}

// CreateAccount makes an account with the password "password" and the address
// LABEL@example.com, where LABEL is the first part of the handle, whoever may sign up otherwise. It
// may have a reserved handle.
func (s *Server) CreateAccount(handle string) *Account {
	s.t.Helper()
	label, _, _ := strings.Cut(handle, ".")
	a := &Account{Handle: handle, Email: label + "@example.com", Password: "password"}
	tokens, err := s.Gatehouse.SignIn.SignUp(context.Background(), accounts.CreateParams{
		Handle: a.Handle, Email: a.Email, Password: a.Password, AllowReserved: true, Admit: true,
	})
	if err != nil {
		s.t.Fatalf("gatehousetest: creating %s: %v", handle, err)
	}
	a.DID, a.AccessJWT, a.RefreshJWT = tokens.Account.DID.String(), tokens.AccessJWT, tokens.RefreshJWT
	return a
}

// Login opens another session for an account with its password.
func (s *Server) Login(a *Account) *sessions.Tokens {
	s.t.Helper()
	tokens, err := s.Gatehouse.SignIn.SignIn(context.Background(), signin.Attempt{Identifier: a.DID, Password: a.Password})
	if err != nil {
		s.t.Fatalf("gatehousetest: logging in %s: %v", a.Handle, err)
	}
	return tokens
}

// Mailbox holds e-mails.
type Mailbox struct {
	*mail.Memory
	t testing.TB
}

// patience is how long a test waits for an e-mail, on a machine that does other things too.
const patience = time.Minute

// Code returns the code of the last e-mail with one to an address, and forgets it and the codes
// before. Notices that came after it don't matter, and stay. It waits for the e-mail if there is
// none yet, and fails the test if none comes.
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

// Notice returns the oldest e-mail of a kind to an address, and takes it out of the mailbox. It
// waits for the e-mail if there is none yet, and fails the test if none comes.
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

// Clock is a clock that only goes when it is told to. Its methods are safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows the real time, to the second.
func NewClock() *Clock { return &Clock{now: time.Now().Truncate(time.Second)} }

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// String shows the clock's time.
func (c *Clock) String() string { return fmt.Sprint(c.Now()) }
