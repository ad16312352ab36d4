package accounts_test

import (
	"errors"
	"testing"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
)

// A change of the password saves the account from a deletion with the old one that is under way.
func TestADeletionNeedsThePasswordOfNow(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	if err := s.Accounts.RequestDelete(ctx, alice); err != nil {
		t.Fatal(err)
	}
	code := s.Code("alice")
	meanwhile := domaintest.Before(ctx, func() {
		if err := s.Accounts.SetPassword(ctx, alice, "another password"); err != nil {
			t.Error(err)
		}
	})
	if err := s.SignIn.DeleteAccount(meanwhile, alice, "password", code); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("with the old password, whose end voids the code: %v", err)
	}
	if _, err := s.Accounts.Get(ctx, alice); err != nil {
		t.Fatal(err)
	}
	// Whoever changes the password may do so because somebody else has the old one, and a code.
	if err := s.SignIn.DeleteAccount(ctx, alice, "another password", code); !errors.Is(err, codes.ErrInvalid) {
		t.Errorf("with the new one, and a code from before: %v", err)
	}
	if err := s.Accounts.RequestDelete(ctx, alice); err != nil {
		t.Fatal(err)
	}
	if err := s.SignIn.DeleteAccount(ctx, alice, "another password", s.Code("alice")); err != nil {
		t.Errorf("with the new one, and a new code: %v", err)
	}
}
