package accounts_test

import (
	"errors"
	"testing"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
)

// A password that is changed while a deletion with the old one is looked at saves the account.
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
	if err := s.Accounts.Delete(meanwhile, alice, "password", code); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("with the old password: %v", err)
	}
	if _, err := s.Accounts.Get(ctx, alice); err != nil {
		t.Fatal(err)
	}
	// A refusal leaves the code good.
	if err := s.Accounts.Delete(ctx, alice, "another password", code); err != nil {
		t.Errorf("with the new one: %v", err)
	}
}
