package accounts_test

import (
	"errors"
	"testing"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
)

// TestADeletionNeedsTheCurrentPassword: an account isn't deleted if its password changes between
// the check of the old one and the deletion.
func TestADeletionNeedsTheCurrentPassword(t *testing.T) {
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
	// The password may have been changed because somebody else knew the old one, and had a code.
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
