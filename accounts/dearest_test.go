package accounts_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// priced is a hasher whose hashes say what they cost, and that notes the work that is asked for.
type priced struct {
	cost  int64 // of new hashes
	asked int64
}

func (p *priced) Hash(_ context.Context, password string) (string, error) {
	return fmt.Sprintf("%d:%s", p.cost, password), nil
}

func (p *priced) Verify(_ context.Context, encoded, password string, work int64) (ok, rehash bool, err error) {
	p.asked = work
	_, want, _ := strings.Cut(encoded, ":")
	return want == password, false, nil
}

func (p *priced) Dummy(_ context.Context, _ string, work int64) error {
	p.asked = work
	return nil
}

func (p *priced) Work(encoded string) (work int64) {
	_, _ = fmt.Sscanf(encoded, "%d:", &work)
	return work
}

// TestAWrongLoginCostsWhatTheDearestHashDoes, whether there is an account, and whenever its password
// was set.
func TestAWrongLoginCostsWhatTheDearestHashDoes(t *testing.T) {
	store, hasher, now := memory.New(), &priced{cost: 5}, time.Unix(1_800_000_000, 0)
	defer store.Close()
	sealed, err := keys.NewSealed(make([]byte, keys.KeySize), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := accounts.New(ctx, store, accounts.Config{
		HandleDomains: []string{".test"}, DIDs: &did.Web{}, Keys: sealed, Passwords: hasher, Mailer: mail.NewMemory(),
		CodeSecret: make([]byte, 32), Now: func() time.Time { return now },
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
			hasher.asked = -1
			if _, err := s.Authenticate(ctx, name, "wrong"); !errors.Is(err, accounts.ErrBadCredentials) || hasher.asked != work {
				t.Errorf("a wrong password of %s: %v, for the work of %d, want %d", name, err, hasher.asked, work)
			}
		}
	}
	signUp("cheap")
	want(5)
	hasher.cost = 50
	dear := signUp("dear")
	want(50)
	hasher.cost = 20
	if err := s.SetPassword(ctx, dear.DID, "another password"); err != nil {
		t.Fatal(err)
	}
	want(20)
	if err := s.DeleteNow(ctx, dear.DID); err != nil {
		t.Fatal(err)
	}
	want(5)
}
