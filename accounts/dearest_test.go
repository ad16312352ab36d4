package accounts_test

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// TestAWrongLoginCostsWhatTheDearestHashDoes, whether there is an account, and whenever its
// password was set.
func TestAWrongLoginCostsWhatTheDearestHashDoes(t *testing.T) {
	store, hasher, now := memory.New(), &domaintest.PricedHasher{Cost: 5}, time.Unix(1_800_000_000, 0)
	defer store.Close()
	sealed, err := keys.NewSealed(make([]byte, keys.KeySize), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	book, err := codes.New(codes.Config{Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := accounts.New(ctx, store, accounts.Config{
		Handles: handle.Config{Domains: []string{".test"}}, DIDs: &did.Registrar{Web: true}, Keys: sealed, Passwords: hasher, Mailer: mail.NewMemory(),
		Codes: book, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	signUp := func(label string) *accounts.Account {
		t.Helper()
		a, err := s.Create(ctx, accounts.CreateParams{Handle: label + ".test", Email: label + "@example.com", Password: "password"})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	want := func(work int64) {
		t.Helper()
		now = now.Add(time.Minute) // for which the dearest is remembered
		for _, name := range []string{"cheap.test", "nobody.test"} {
			hasher.Asked = -1
			if _, err := s.Authenticate(ctx, name, "wrong"); !errors.Is(err, accounts.ErrBadCredentials) || hasher.Asked != work {
				t.Errorf("a wrong password of %s: %v, for the work of %d, want %d", name, err, hasher.Asked, work)
			}
		}
	}
	signUp("cheap")
	want(5)
	hasher.Cost = 50
	dear := signUp("dear")
	want(50)
	hasher.Cost = 20
	if err := s.SetPassword(ctx, dear.DID, "another password"); err != nil {
		t.Fatal(err)
	}
	want(20)
	if err := s.DeleteNow(ctx, dear.DID); err != nil {
		t.Fatal(err)
	}
	want(5)
}
