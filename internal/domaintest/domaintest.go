// Package domaintest puts the domain services together for their own tests, in
// memory and without a network.
package domaintest

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// Services are the services on one store, with what tests turn and look at.
type Services struct {
	*gatehouse.Server
	Store storage.Store
	Mail  *mail.Memory
	t     testing.TB
	mu    sync.Mutex // e-mails are sent in the background, which reads the clock
	now   time.Time
	hooks []accounts.Hook
}

// New makes the services, whose background work is only done when a test calls Maintain. The
// functions change the configuration.
func New(t testing.TB, change ...func(*gatehouse.Config)) *Services {
	t.Helper()
	s := &Services{Store: interposed{memory.New()}, Mail: mail.NewMemory(), t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	cfg := gatehouse.Config{
		Hostname: "pds.test", HandleDomains: []string{".test"},
		Passwords: gatehouse.Passwords{Memory: 8, Time: 1},
		Mail:      gatehouse.Mail{Mailer: s.Mail}, Logger: slog.New(slog.DiscardHandler),
		Now:           s.Now,
		NoMaintenance: true,
		Hooks:         []accounts.Hook{s.hook},
	}
	for _, c := range change {
		c(&cfg)
	}
	srv, err := gatehouse.New(t.Context(), s.Store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = srv
	t.Cleanup(func() {
		srv.Close()
		problems, err := storage.Check(context.Background(), s.Store, gatehouse.Collections()...)
		if err != nil || len(problems) > 0 {
			t.Errorf("the store: %v, %v", problems, err)
		}
		s.Store.Close()
	})
	return s
}

// OnChange adds a hook for the changes that follow.
func (s *Services) OnChange(h accounts.Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, h)
}

// hook runs the hooks of the test.
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

// Advance moves the clock on.
func (s *Services) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// Now is the clock's time.
func (s *Services) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// SignUp makes the account LABEL.test with the address LABEL@example.com and the password
// "password", whoever may sign up otherwise.
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

// Code returns the code of the last e-mail to LABEL@example.com.
func (s *Services) Code(label string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := s.Mail.TakeCode(ctx, label+"@example.com")
	if err != nil {
		s.t.Fatalf("no e-mail to %s: %v", label, err)
	}
	return m.Code
}

// interposed is a store in memory that lets something happen just before an
// update: before one of its own caller, never one of the background work.
type interposed struct{ *memory.Store }

type beforeKey struct{}

// Before returns a context: what is called with it lets fn happen just before
// its first update of the store.
func Before(ctx context.Context, fn func()) context.Context {
	return context.WithValue(ctx, beforeKey{}, sync.OnceFunc(fn))
}

func (i interposed) Update(ctx context.Context, fn func(storage.Tx) error) error {
	if before, ok := ctx.Value(beforeKey{}).(func()); ok {
		before()
	}
	return i.Store.Update(ctx, fn)
}
