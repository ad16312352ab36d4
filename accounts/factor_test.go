package accounts_test

import (
	"errors"
	"testing"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
)

// TestDisablingTheFactorTakesACode, and enabling it takes none, as the Bluesky app expects.
func TestDisablingTheFactorTakesACode(t *testing.T) {
	s := domaintest.New(t)
	id := s.SignUp("alice").Account.DID
	const keep, on, off = accounts.KeepFactor, accounts.EnableFactor, accounts.DisableFactor
	update := func(address, code string, factor accounts.FactorChange) error {
		return s.Accounts.Emails().Update(ctx, id, accounts.EmailUpdate{Address: address, Code: code, Factor: factor})
	}
	if err := update("alice@example.com", "", on); !errors.Is(err, accounts.ErrInvalidRequest) {
		t.Errorf("on, with an address that isn't confirmed: %v", err)
	}
	confirm(t, s, "alice")
	if err := s.Accounts.Identity().RequestPLCSignature(ctx, id); err != nil {
		t.Fatal(err)
	}
	other := s.Code("alice")
	if err := update("Alice@example.com", "", on); err != nil {
		t.Errorf("on: %v", err)
	}
	a, err := s.Accounts.Get(ctx, id)
	if err != nil || !a.EmailAuthFactor || a.EmailConfirmedAt == nil {
		t.Errorf("after on: %+v, %v", a, err)
	}
	if _, err := s.Accounts.Identity().SignPLCOperation(ctx, id, other, func(op *did.Operation) { op.SetHandle("alicia.test") }); err != nil {
		t.Errorf("a code for something else: %v", err)
	}
	for name, c := range map[string]struct {
		email  string
		factor accounts.FactorChange
	}{
		"off":                {"alice@example.com", off},
		"nothing":            {"alice@example.com", keep},
		"on with another":    {"other@example.com", on},
		"another address":    {"other@example.com", keep},
		"another's, and off": {"other@example.com", off},
	} {
		if err := update(c.email, "", c.factor); !errors.Is(err, accounts.ErrCodeRequired) {
			t.Errorf("%s, without a code: %v", name, err)
		}
	}
	if required, err := s.Accounts.Emails().RequestUpdate(ctx, id); !required || err != nil {
		t.Fatal(required, err)
	}
	if err := update("alice@example.com", s.Code("alice"), off); err != nil {
		t.Errorf("off: %v", err)
	}
	if a, err := s.Accounts.Get(ctx, id); err != nil || a.EmailAuthFactor {
		t.Errorf("after off: %+v, %v", a, err)
	}
}

// TestATakedownKeepsTheSecondFactor: a login to an account that is taken down needs its second
// factor.
func TestATakedownKeepsTheSecondFactor(t *testing.T) {
	s := domaintest.New(t)
	id := s.SignUp("alice").Account.DID
	confirm(t, s, "alice")
	if err := s.Accounts.Emails().Update(ctx, id, accounts.EmailUpdate{Address: "alice@example.com", Factor: accounts.EnableFactor}); err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts.TakeDown(ctx, id, "case 1"); err != nil {
		t.Fatal(err)
	}
	login := signin.Attempt{Identifier: "alice.test", Password: "password"}
	if _, err := s.SignIn.SignIn(ctx, login); !errors.Is(err, sessions.ErrAccountTakedown) {
		t.Errorf("without allowTakendown: %v", err)
	}
	for _, m := range s.Mail.Messages() {
		if m.Code != "" {
			t.Errorf("a code was mailed for nothing: %s", m.Subject)
		}
	}
	login.AllowTakendown = true
	if _, err := s.SignIn.SignIn(ctx, login); !errors.Is(err, signin.ErrFactorRequired) {
		t.Fatalf("without a code: %v", err)
	}
	login.Code = s.Code("alice")
	tokens, err := s.SignIn.SignIn(ctx, login)
	if err != nil || tokens.AccessJWT == "" {
		t.Errorf("with the code: %v", err)
	}
}

// confirm confirms the address of the account LABEL.test.
func confirm(t *testing.T, s *domaintest.Services, label string) {
	t.Helper()
	a, err := s.Accounts.Find(ctx, label+".test")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts.Emails().RequestConfirmation(ctx, a.DID); err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts.Emails().Confirm(ctx, a.DID, a.Email, s.Code(label)); err != nil {
		t.Fatal(err)
	}
}
