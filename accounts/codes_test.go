package accounts_test

import (
	"crypto/rand"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/storage"
)

// meanwhile is a source of randomness that calls a function, once, when the next code is generated.
type meanwhile struct{ do atomic.Pointer[func()] }

func (m *meanwhile) Read(b []byte) (int, error) {
	if do := m.do.Swap(nil); do != nil {
		(*do)()
	}
	return rand.Read(b)
}

// TestACodeIsMailedToTheCurrentAddress: if the address changes after a code was requested, the code
// must not be mailed to the old address, since it would be valid although the change has voided all
// codes.
func TestACodeIsMailedToTheCurrentAddress(t *testing.T) {
	var random meanwhile
	s := domaintest.New(t, func(c *domaintest.Config) { c.Rand = &random })
	alice := s.SignUp("alice").Account.DID
	change := func(label string) {
		do := func() {
			if err := s.Accounts.Emails().Set(ctx, alice, label+"@example.com"); err != nil {
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
		for _, m := range s.Mail.Messages() {
			if m.To == c.old+"@example.com" && m.Code != "" {
				t.Errorf("the old address got %q", m.Subject)
			}
		}
	}
}

func TestADeletedAccountGetsNoCode(t *testing.T) {
	var random meanwhile
	s := domaintest.New(t, func(c *domaintest.Config) { c.Rand = &random })
	alice := s.SignUp("alice").Account.DID
	do := func() {
		if err := s.Accounts.DeleteNow(ctx, alice); err != nil {
			t.Error(err)
		}
	}
	random.do.Store(&do)
	if err := s.Accounts.RequestDelete(ctx, alice); !errors.Is(err, accounts.ErrNotFound) {
		t.Errorf("a code for an account that was deleted meanwhile: %v", err)
	}
	if left := records(t, s, "email_codes"); left != 0 {
		t.Errorf("%d codes of an account that was deleted", left)
	}
	if m := s.Mail.Messages(); len(m) != 0 {
		t.Errorf("mailed: %v", m)
	}
}

// fixed is a source of randomness that returns zeros for a number of reads.
type fixed struct{ zeros atomic.Int32 }

func (f *fixed) Read(b []byte) (int, error) {
	if f.zeros.Add(-1) < 0 {
		return rand.Read(b)
	}
	clear(b)
	return len(b), nil
}

// TestACodeWithATakenSelectorIsReplaced: if the code of another account has the selector of a new
// code, a different code is mailed.
func TestACodeWithATakenSelectorIsReplaced(t *testing.T) {
	var random fixed
	s := domaintest.New(t, func(c *domaintest.Config) { c.Rand = &random })
	alice, bob := s.SignUp("alice").Account.DID, s.SignUp("bob").Account.DID
	random.zeros.Store(1)
	if err := s.Accounts.RequestDelete(ctx, alice); err != nil {
		t.Fatal(err)
	}
	first := s.Code("alice")
	// Give alice's code to bob.
	err := s.Store.Update(ctx, func(tx storage.Tx) error {
		for rec, err := range tx.Scan("email_codes", storage.Range{Entries: true}) {
			if err != nil {
				return err
			}
			if err := tx.Delete("email_codes", rec.Key); err != nil {
				return err
			}
			swap := func(s string) string { return strings.ReplaceAll(s, alice.String(), bob.String()) }
			err = tx.Put("email_codes", storage.Document{Key: swap(rec.Key), Value: []byte(swap(string(rec.Value))), Entries: rec.Entries})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	random.zeros.Store(1)
	if err := s.Accounts.RequestDelete(ctx, alice); err != nil {
		t.Fatal(err)
	}
	second := s.Code("alice")
	if second == first {
		t.Error("the code that is bob's was mailed to alice")
	}
	if err := s.SignIn.DeleteAccount(ctx, alice, "password", second); err != nil {
		t.Errorf("the other code: %v", err)
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

// TestAChangeOfAddressVoidsAllCodes, whatever their purpose.
func TestAChangeOfAddressVoidsAllCodes(t *testing.T) {
	for name, change := range map[string]func(s *domaintest.Services, a *accounts.Account) error{
		"by its owner": func(s *domaintest.Services, a *accounts.Account) error {
			return s.Accounts.Emails().Update(ctx, a.DID, accounts.EmailUpdate{Address: "alice2@example.com"})
		},
		"by an admin": func(s *domaintest.Services, a *accounts.Account) error {
			return s.Accounts.Emails().Set(ctx, a.DID, "alice2@example.com")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := domaintest.New(t)
			alice := s.SignUp("alice").Account
			code := func(request error) string {
				t.Helper()
				if request != nil {
					t.Fatal(request)
				}
				return s.Code("alice")
			}
			reset := code(s.Accounts.RequestPasswordReset(ctx, "alice@example.com"))
			deletion := code(s.Accounts.RequestDelete(ctx, alice.DID))
			confirmation := code(s.Accounts.Emails().RequestConfirmation(ctx, alice.DID))
			operation := code(s.Accounts.Identity().RequestPLCSignature(ctx, alice.DID))
			if err := change(s, alice); err != nil {
				t.Fatal(err)
			}
			s.Advance(72 * time.Hour) // until then nothing is signed with an address that isn't trusted
			_, signing := s.Accounts.Identity().SignPLCOperation(ctx, alice.DID, operation, func(*did.Operation) {})
			for what, err := range map[string]error{
				"reset":        s.Accounts.ResetPassword(ctx, accounts.ResetParams{Code: reset, Password: "another password"}),
				"deletion":     s.SignIn.DeleteAccount(ctx, alice.DID, "password", deletion),
				"confirmation": s.Accounts.Emails().Confirm(ctx, alice.DID, "alice2@example.com", confirmation),
				"operation":    signing,
			} {
				if !errors.Is(err, codes.ErrInvalid) {
					t.Errorf("the code for the %s: %v", what, err)
				}
			}
			if n := records(t, s, "email_codes"); n != 0 {
				t.Errorf("%d codes are left", n)
			}
		})
	}
}
