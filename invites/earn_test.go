package invites_test

import (
	"errors"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/invites"
)

// earning returns a server where accounts earn a code a day, with an account.
func earning(t *testing.T) (*domaintest.Services, *invites.Service, syntax.DID) {
	t.Helper()
	s := domaintest.New(t, func(c *domaintest.Config) {
		c.Invites.Required, c.Invites.Interval = true, 24*time.Hour
	})
	return s, s.Invites, s.SignUp("alice").Account.DID
}

func TestCodesEarnedWhileDisabledStayDisabled(t *testing.T) {
	s, inv, alice := earning(t)
	list := func(want int) {
		t.Helper()
		if got, err := inv.ForAccount(ctx, alice, true, true); err != nil || len(got) != want {
			t.Errorf("%v, %v; want %d codes", names(got), err, want)
		}
	}
	s.Advance(24 * time.Hour)
	list(1)
	if err := s.Invites.SetStanding(ctx, alice, invites.Standing{Disabled: true, Note: "too many"}); err != nil {
		t.Fatal(err)
	}
	s.Advance(2 * 24 * time.Hour)
	list(1)
	sum, err := inv.Of(ctx, alice)
	own := sum.Own
	if err != nil || len(own) != 3 || own[0].Disabled || !own[1].Disabled || !own[2].Disabled {
		t.Fatalf("Of: %+v, %v", own, err)
	}
	if err := redeem(s, own[1].Code, "did:web:x"); !errors.Is(err, invites.ErrUnavailable) {
		t.Errorf("a code earned while disabled: %v", err)
	}
	// What was earned in the meantime isn't earned again.
	if err := s.Invites.SetStanding(ctx, alice, invites.Standing{}); err != nil {
		t.Fatal(err)
	}
	list(1)
	s.Advance(24 * time.Hour)
	list(2)
}

func TestWhatIsListed(t *testing.T) {
	s, inv, alice := earning(t)
	s.Advance(2 * 24 * time.Hour)
	earned, err := inv.ForAccount(ctx, alice, true, true)
	if err != nil || len(earned) != 2 {
		t.Fatalf("earned %v, %v", names(earned), err)
	}
	spent, disabled := earned[0].Code, earned[1].Code
	if spent == disabled || earned[0].CreatedBy != alice.String() || earned[0].ForAccount != alice.String() {
		t.Errorf("earned: %+v", earned[0])
	}
	gift := create(t, s, 1, 2, alice.String())[0]
	for i, did := range []syntax.DID{"did:web:a", "did:web:b"} {
		s.Advance(time.Second)
		if err := redeem(s, []string{spent, gift}[i], did); err != nil {
			t.Fatal(err)
		}
	}
	if err := inv.Disable(ctx, []string{disabled}, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		includeUsed bool
		want        map[string]syntax.DID // by whom each was used
	}{
		{true, map[string]syntax.DID{spent: "did:web:a", gift: "did:web:b"}},
		{false, map[string]syntax.DID{gift: "did:web:b"}},
	} {
		got, err := inv.ForAccount(ctx, alice, c.includeUsed, false)
		if err != nil || len(got) != len(c.want) {
			t.Errorf("includeUsed %v: %v, %v; want %v", c.includeUsed, names(got), err, c.want)
		}
		for _, code := range got {
			if len(code.Uses) != 1 || code.Uses[0].UsedBy != c.want[code.Code] {
				t.Errorf("includeUsed %v: %+v", c.includeUsed, code)
			}
		}
	}
}

func TestCodesOfATakenDownAccountAreUnavailable(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	code := create(t, s, 1, 1, alice.String())[0]
	if err := s.Accounts.TakeDown(ctx, alice, "spam"); err != nil {
		t.Fatal(err)
	}
	if err := redeem(s, code, "did:web:x"); !errors.Is(err, invites.ErrUnavailable) {
		t.Errorf("while the account is taken down: %v", err)
	}
	if err := s.Accounts.Restore(ctx, alice); err != nil {
		t.Fatal(err)
	}
	if err := redeem(s, code, "did:web:x"); err != nil {
		t.Errorf("after it is restored: %v", err)
	}
}
