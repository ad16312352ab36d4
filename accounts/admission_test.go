package accounts_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// countingHasher counts the passwords that it hashes.
type countingHasher struct {
	domaintest.PricedHasher
	hashed int
}

func (h *countingHasher) Hash(ctx context.Context, password string) (string, error) {
	h.hashed++
	return h.PricedHasher.Hash(ctx, password)
}

// bare returns a service without a Gate, whose accounts get a did:web.
func bare(t *testing.T, change func(*accounts.Config)) (*accounts.Service, *countingHasher, error) {
	t.Helper()
	store, hasher := memory.New(), &countingHasher{}
	t.Cleanup(func() { store.Close() })
	sealed, err := keys.NewSealed(make([]byte, keys.KeySize), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	book, err := codes.New(codes.Config{Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	cfg := accounts.Config{
		Handles: handle.Config{Domains: []string{".test"}}, DIDs: &did.Registrar{Web: true}, Keys: sealed, Passwords: hasher, Mailer: mail.NewMemory(), Codes: book,
	}
	change(&cfg)
	s, err := accounts.New(ctx, store, cfg)
	return s, hasher, err
}

func TestEachSignUpModePermitsItsSignUps(t *testing.T) {
	const mover = syntax.DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	applicants := map[string]accounts.CreateParams{}
	add := func(name string, change func(*accounts.CreateParams)) {
		p := params(name)
		change(&p)
		applicants[name] = p
	}
	add("newcomer", func(*accounts.CreateParams) {})
	add("moves", func(p *accounts.CreateParams) { p.DID, p.ProvenDID = mover, mover })
	add("unproven", func(p *accounts.CreateParams) { p.DID = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb" })
	add("of-another", func(p *accounts.CreateParams) { p.DID, p.ProvenDID = "did:plc:cccccccccccccccccccccccc", mover })
	add("only-proof", func(p *accounts.CreateParams) { p.ProvenDID = mover }) // but no DID
	add("with-code", func(p *accounts.CreateParams) { p.Ticket = "made-up" })
	add("by-admin", func(p *accounts.CreateParams) { p.Admit = true })

	closed := map[string]error{}
	for name := range applicants {
		closed[name] = accounts.ErrSignUpClosed
	}
	closed["by-admin"] = nil
	for _, c := range []struct {
		mode accounts.SignUpMode
		want map[string]error // the others are permitted
	}{
		{"", map[string]error{"unproven": accounts.ErrMissingAuth, "of-another": accounts.ErrMissingAuth}},
		{accounts.SignUpOpen, map[string]error{"unproven": accounts.ErrMissingAuth, "of-another": accounts.ErrMissingAuth}},
		{accounts.SignUpMigrations, map[string]error{
			"newcomer": accounts.ErrSignUpClosed, "only-proof": accounts.ErrSignUpClosed, "with-code": accounts.ErrSignUpClosed,
			"unproven": accounts.ErrMissingAuth, "of-another": accounts.ErrMissingAuth,
		}},
		{accounts.SignUpClosed, closed},
	} {
		s, _, err := bare(t, func(cfg *accounts.Config) { cfg.SignUp = c.mode })
		if err != nil {
			t.Fatal(err)
		}
		for name, p := range applicants {
			if _, err := s.Create(ctx, p); !errors.Is(err, c.want[name]) {
				t.Errorf("%q, %s: %v; want %v", c.mode, name, err, c.want[name])
			}
		}
	}
	if _, _, err := bare(t, func(cfg *accounts.Config) { cfg.SignUp = "Closed" }); err == nil {
		t.Error("an unknown mode is accepted")
	}
}

// TestCheckSignUpIsCalledBeforeThePasswordIsHashed: a sign-up that CheckSignUp refuses costs the
// server no hash. With Admit it isn't called.
func TestCheckSignUpIsCalledBeforeThePasswordIsHashed(t *testing.T) {
	errGate := errors.New("refused by CheckSignUp")
	asked := 0
	s, hasher, err := bare(t, func(cfg *accounts.Config) {
		cfg.CheckSignUp = func(context.Context, accounts.Applicant) error { asked++; return errGate }
	})
	if err != nil {
		t.Fatal(err)
	}
	p := params("alice")
	if _, err := s.Create(ctx, p); !errors.Is(err, errGate) || asked != 1 || hasher.hashed != 0 {
		t.Errorf("%v; CheckSignUp was called %d times, and %d passwords were hashed", err, asked, hasher.hashed)
	}
	p.Admit = true
	if _, err := s.Create(ctx, p); err != nil || asked != 1 || hasher.hashed != 1 {
		t.Errorf("an admin: %v; CheckSignUp was called %d times, and %d passwords were hashed", err, asked, hasher.hashed)
	}
}
