package accounts_test

import (
	"crypto/rand"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/storage"
)

// meanwhile is a source of randomness that does something, once, when the next code is drawn.
type meanwhile struct{ do atomic.Pointer[func()] }

func (m *meanwhile) Read(b []byte) (int, error) {
	if do := m.do.Swap(nil); do != nil {
		(*do)()
	}
	return rand.Read(b)
}

// A code for the old address, asked for just before the address changed, would be good for the
// account although the change voids all codes.
func TestACodeGoesToTheAddressOfNow(t *testing.T) {
	var random meanwhile
	s := domaintest.New(t, func(c *gatehouse.Config) { c.Rand = &random })
	alice := s.SignUp("alice").Account.DID
	change := func(label string) {
		do := func() {
			if err := s.Accounts.SetEmail(ctx, alice, label+"@example.com"); err != nil {
				t.Error(err)
			}
		}
		random.do.Store(&do)
	}
	for _, c := range []struct {
		old, fresh string
		request    func() error
	}{
		{"alice", "alice2", func() error { return s.Accounts.RequestDelete(ctx, alice) }},
		{"alice2", "alice3", func() error { return s.Accounts.RequestPasswordReset(ctx, "alice2@example.com") }},
	} {
		change(c.fresh)
		if err := c.request(); err != nil {
			t.Fatal(err)
		}
		s.Code(c.fresh)
		if m, ok := s.Mail.Last(c.old + "@example.com"); ok {
			t.Errorf("the old address got %q", m.Subject)
		}
	}
}

func TestADeletedAccountGetsNoCode(t *testing.T) {
	var random meanwhile
	s := domaintest.New(t, func(c *gatehouse.Config) { c.Rand = &random })
	alice := s.SignUp("alice").Account.DID
	do := func() {
		if err := s.Accounts.DeleteNow(ctx, alice); err != nil {
			t.Error(err)
		}
	}
	random.do.Store(&do)
	if err := s.Accounts.RequestDelete(ctx, alice); !errors.Is(err, accounts.ErrNotFound) {
		t.Errorf("a code for an account that went meanwhile: %v", err)
	}
	if left := records(t, s, "email_codes"); left != 0 {
		t.Errorf("%d codes of an account that is gone", left)
	}
	if m := s.Mail.Messages(); len(m) != 0 {
		t.Errorf("mailed: %v", m)
	}
}

// records counts the documents of a table.
func records(t *testing.T, s *domaintest.Services, table string) (n int) {
	t.Helper()
	err := s.Store.View(ctx, func(tx storage.Tx) error {
		n = 0
		for _, err := range tx.Scan(table, storage.Range{}) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
