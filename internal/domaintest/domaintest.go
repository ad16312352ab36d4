// Package domaintest makes the domain services for their own tests, in memory, without a network
// and without the rest of a server.
package domaintest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/internal/once"
	"github.com/gatehouse-at/gatehouse/internal/secrets"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/signin/device"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// Config configures the services. A test may change what [New] has put into it. What the services
// need of each other is set afterwards.
type Config struct {
	// Accounts are by default those of a server at http://pds.test, with handles on .test.
	Accounts accounts.Config
	// Invites are by default invite codes that aren't required.
	Invites invites.Config
	// Sessions are by default of the server did:web:pds.test.
	Sessions sessions.Config

	// Ways are ways of signing in beside app passwords and, unless Accounts.NoPasswords is set,
	// account passwords.
	Ways []signin.Way
	// Factors are second factors beside mailed codes.
	Factors []signin.Factor

	// OAuth makes the services an authorization server.
	OAuth bool
	// TrustedClients and RefusedClients are client IDs of OAuth.
	TrustedClients, RefusedClients []string

	// Directory keeps did:plc. Default: a local one in the store.
	Directory did.Directory
	// Web makes the DIDs of new accounts did:web.
	Web bool
	// ForeignDIDs resolves other DIDs than did:plc. Default: they are not found.
	ForeignDIDs func(context.Context, syntax.DID) (json.RawMessage, error)

	// Now is the clock of all services. Default: that of [Services].
	Now func() time.Time
	// Rand is the source of randomness of all services. Default [rand.Reader].
	Rand io.Reader
}

// Services are the services on one store, with what tests control and inspect.
type Services struct {
	Accounts     *accounts.Service
	Sessions     *sessions.Service
	SignIn       *signin.Service
	Devices      *device.Service
	Invites      *invites.Service
	AppPasswords *apppasswords.Service
	OAuth        *oauth.Service // nil unless the test configures it
	Directory    *did.Local     // nil if the test configures another

	// Documents are those of OAuth clients, and PermissionSets those that the network has.
	Documents      *Documents
	PermissionSets *PermissionSets

	Store storage.Store
	Mail  *mail.Memory

	t     testing.TB
	cfg   Config
	clock *clock
	mu    sync.Mutex
	hooks []accounts.Hook
}

// clock is a clock that stands still until it is advanced. It is also read in the background.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// New returns the services, which are closed when the test ends. Background work is only done when
// the test calls Maintain. The functions change the configuration.
func New(t testing.TB, change ...func(*Config)) *Services {
	t.Helper()
	s := &Services{
		Store: interposed{memory.New()}, Mail: mail.NewMemory(), t: t,
		Documents: &Documents{}, PermissionSets: &PermissionSets{},
		clock: &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
	t.Cleanup(func() {
		problems, err := storage.Check(context.Background(), s.Store, tables()...)
		if err != nil || len(problems) > 0 {
			t.Errorf("the store: %v, %v", problems, err)
		}
		s.Store.Close()
	})
	s.cfg = Config{
		Accounts: accounts.Config{
			Handles:     handle.Config{Domains: []string{".test"}, Hostnames: []string{"pds.test"}},
			ServiceName: "pds.test", PublicURL: "http://pds.test",
			Mailer: s.Mail, Limits: ratelimit.Meter{Limiter: ratelimit.NewMemory(ratelimit.Config{Now: s.Now})},
		},
		Invites:  invites.Config{Hostname: "pds.test"},
		Sessions: sessions.Config{ServiceDID: "did:web:pds.test", ServiceAuth: serviceAuth},
		Now:      s.Now, Rand: rand.Reader,
	}
	s.start(change)
	return s
}

// serviceAuth has an example of each kind of rule.
var serviceAuth = sessions.ServiceAuthRules{
	Protected:  []string{"com.atproto.server.createAppPassword"},
	Privileged: []string{"com.atproto.server.createAccount", "chat.bsky.*"},
}

// Another returns further services with the same configuration on the same store, as those of
// another process. They have the same clock and mailbox, but not the hooks that [Services.AddHook]
// has added to s.
func (s *Services) Another(change ...func(*Config)) *Services {
	s.t.Helper()
	other := &Services{Store: s.Store, Mail: s.Mail, Documents: s.Documents, PermissionSets: s.PermissionSets, t: s.t, cfg: s.cfg, clock: s.clock}
	other.start(change)
	return other
}

// start changes the configuration and makes the services.
func (s *Services) start(change []func(*Config)) {
	s.t.Helper()
	for _, c := range change {
		c(&s.cfg)
	}
	if err := s.wire(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := s.Accounts.Close(context.Background()); err != nil {
			s.t.Error(err)
		}
	})
}

// tables returns the collections of the services.
func tables() []storage.Definer {
	return slices.Concat(
		accounts.Tables(), handle.Tables(), sessions.Tables(), device.Tables(), apppasswords.Tables(), invites.Tables(), did.Tables(), secrets.Tables(), once.Tables(),
		oauth.Tables(), scope.Tables(),
	)
}

// Maintain does one round of background work.
func (s *Services) Maintain(ctx context.Context) error {
	return errors.Join(
		s.Accounts.Maintain(ctx), s.Accounts.Handles().Maintain(ctx), s.Sessions.Maintain(ctx), s.Devices.Maintain(ctx), once.Purge(ctx, s.Store, s.cfg.Now()),
	)
}

// AddHook adds a hook, which is called for later changes of accounts.
func (s *Services) AddHook(h accounts.Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, h)
}

// hook runs the hooks that the test has added.
func (s *Services) hook(ctx context.Context, tx storage.Tx, c accounts.Change) error {
	s.mu.Lock()
	hooks := slices.Clone(s.hooks)
	s.mu.Unlock()
	for _, h := range hooks {
		if err := h(ctx, tx, c); err != nil {
			return err
		}
	}
	return nil
}

// Advance advances the clock.
func (s *Services) Advance(d time.Duration) {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	s.clock.now = s.clock.now.Add(d)
}

// Now returns the time of the clock.
func (s *Services) Now() time.Time {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	return s.clock.now
}

// SignUp creates the account LABEL.test with the e-mail address LABEL@example.com and the password
// "password", in all modes of sign-up.
func (s *Services) SignUp(label string) *sessions.Tokens {
	s.t.Helper()
	tokens, err := s.SignIn.SignUp(context.Background(), accounts.CreateParams{
		Handle: label + ".test", Email: label + "@example.com", Password: "password", Admit: true,
	})
	if err != nil {
		s.t.Fatalf("signing up %s: %v", label, err)
	}
	return tokens
}

// Code returns the code of the latest e-mail to LABEL@example.com that has one.
func (s *Services) Code(label string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := s.Mail.TakeCode(ctx, label+"@example.com")
	if err != nil {
		s.t.Fatalf("no e-mail with a code to %s: %v", label, err)
	}
	return m.Code
}

// interposed is a store in memory that can run a function just before an update. The function is in
// the context of the update, so it isn't run before those of other callers.
type interposed struct{ *memory.Store }

type beforeKey struct{}

// Before returns a context. The first update of the store with this context runs fn before it
// begins.
func Before(ctx context.Context, fn func()) context.Context {
	return context.WithValue(ctx, beforeKey{}, sync.OnceFunc(fn))
}

func (i interposed) Update(ctx context.Context, fn func(storage.Tx) error) error {
	if before, ok := ctx.Value(beforeKey{}).(func()); ok {
		before()
	}
	return i.Store.Update(ctx, fn)
}
