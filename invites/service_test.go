package invites_test

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/storage"
)

var ctx = context.Background()

func TestCreate(t *testing.T) {
	s := domaintest.New(t)
	made, err := s.Invites.Create(ctx, 3, 2, "did:web:a", "did:web:b")
	if err != nil || len(made) != 2 || made[1].Account != "did:web:b" || len(made[1].Codes) != 3 {
		t.Fatalf("Create: %+v, %v", made, err)
	}
	if !regexp.MustCompile(`^pds-test-[a-z2-7]{5}-[a-z2-7]{5}$`).MatchString(made[0].Codes[0]) {
		t.Errorf("the code is %s", made[0].Codes[0])
	}
	for _, c := range []struct{ codes, uses int }{{0, 1}, {1, 0}, {1, -1}, {-1, 1}, {10_001, 1}, {1, 1 << 40}} {
		if _, err := s.Invites.Create(ctx, c.codes, c.uses); !errors.Is(err, invites.ErrInvalidRequest) {
			t.Errorf("%d codes with %d uses: %v", c.codes, c.uses, err)
		}
	}
}

func TestACodeIsUsedUp(t *testing.T) {
	s := domaintest.New(t, func(c *domaintest.Config) { c.Invites.Required = true })
	made, err := s.Invites.Create(ctx, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	code := made[0].Codes[0]
	for label, want := range map[string]error{"alice": nil, "bob": nil} {
		_, err := s.Accounts.Create(ctx, accounts.CreateParams{
			Handle: label + ".test", Email: label + "@example.com", Password: "password", Ticket: code,
		})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", label, err)
		}
	}
	_, err = s.Accounts.Create(ctx, accounts.CreateParams{Handle: "carol.test", Email: "carol@example.com", Password: "password", Ticket: code})
	if !errors.Is(err, invites.ErrUnavailable) {
		t.Errorf("a third use of two: %v", err)
	}
	_, err = s.Accounts.Create(ctx, accounts.CreateParams{Handle: "carol.test", Email: "carol@example.com", Password: "password"})
	if !errors.Is(err, invites.ErrRequired) {
		t.Errorf("without a code: %v", err)
	}
}

func TestReleaseTakesBackOneUse(t *testing.T) {
	s := domaintest.New(t)
	made, _ := s.Invites.Create(ctx, 1, 1)
	code := made[0].Codes[0]
	do := func(f func(tx storage.Tx) error) error { return s.Store.Update(ctx, f) }
	redeem := func(tx storage.Tx) error { return s.Invites.Redeem(tx, code, "did:web:a") }
	release := func(tx storage.Tx) error { return s.Invites.Release(tx, code, "did:web:a") }
	for _, err := range []error{do(release), do(redeem), do(release), do(release), do(redeem)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := do(redeem); !errors.Is(err, invites.ErrUnavailable) {
		t.Errorf("two uses were taken back: %v", err)
	}
}

func TestEarning(t *testing.T) {
	const day = 24 * time.Hour
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name  string
		epoch time.Time
		steps []time.Duration
		want  []int // earned codes in all, after each step
	}{
		{"a new account", time.Time{}, []time.Duration{0, day - time.Second, time.Second, day, 2 * day}, []int{0, 0, 1, 2, 4}},
		{"at most five unused", time.Time{}, []time.Duration{30 * day, day}, []int{5, 5}},
		{"an epoch after the account was created", start.Add(3 * day), []time.Duration{3 * day, day, 2 * day}, []int{0, 1, 3}},
		{"an epoch before the account was created", start.Add(-10 * day), []time.Duration{2 * day}, []int{2}},
		{"an epoch in the future", start.Add(100 * day), []time.Duration{50 * day}, []int{0}},
	} {
		s := domaintest.New(t, func(cfg *domaintest.Config) {
			cfg.Invites.Required, cfg.Invites.Interval, cfg.Invites.Epoch = true, day, c.epoch
		})
		did := s.SignUp("alice").Account.DID
		if _, err := s.Invites.Create(ctx, 2, 1, did.String()); err != nil { // codes given by admins don't count
			t.Fatal(err)
		}
		for i, step := range c.steps {
			s.Advance(step)
			codes, err := s.Invites.ForAccount(ctx, did, true, true)
			if err != nil || len(codes) != 2+c.want[i] {
				t.Errorf("%s, step %d: %d codes, %v; want 2 given and %d earned", c.name, i, len(codes), err, c.want[i])
			}
		}
	}
}

func TestForAccountOfAnUnknownAccount(t *testing.T) {
	s := domaintest.New(t)
	if _, err := s.Invites.ForAccount(ctx, "did:plc:nobody", true, true); !errors.Is(err, accounts.ErrNotFound) {
		t.Errorf("ForAccount: %v", err)
	}
}
