package invites_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/invites"
)

func TestNormalize(t *testing.T) {
	const code = "pds-example-com-abcde-23457"
	for _, raw := range []string{
		code, strings.ToUpper(code), " " + code + "\r\n", "\u202A" + code + "\u202C", "\uFEFFpds-example-com-ab\u200Bcde-23457",
		"pds\u2011example\u2013com\u2014abcde\u221223457", "\uFF30ds-example-com-abcde-2345\uFF17", "pds-example-com-abcde-\u00A023457",
	} {
		if got := invites.Normalize(raw); got != code {
			t.Errorf("%+q: %+q", raw, got)
		}
	}
	for _, raw := range []string{"", "pds-example-com-abcde23457", "pds-example-com abcde-23457", "code: " + code} {
		if got := invites.Normalize(raw); got == code || got != raw {
			t.Errorf("%+q: %+q", raw, got)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"pds-example-com-abcde-23457", " PDS\u2011X\u200B\uFF21 ", "\xff-\u30FC"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if got := invites.Normalize(raw); got != invites.Normalize(got) {
			t.Fatalf("%+q gives %+q, which gives %+q", raw, got, invites.Normalize(got))
		}
	})
}

// TestSpellingsOfACode: the uses of a code are counted together, however it was typed.
func TestSpellingsOfACode(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account
	code := create(t, s, 1, 2, alice.DID.String())[0]
	typed := " " + strings.ToUpper(code) + "\u200B"
	for _, did := range []string{"first", "second"} {
		if err := redeem(s, typed, s.SignUp(did).Account.DID); err != nil {
			t.Fatal(err)
		}
	}
	third := s.SignUp("third").Account.DID
	for _, spelt := range []string{typed, code} {
		if err := redeem(s, spelt, third); !errors.Is(err, invites.ErrUnavailable) {
			t.Errorf("a third use of two, of %q: %v", spelt, err)
		}
	}
	second, err := s.Accounts.Find(ctx, "second.test")
	if err != nil {
		t.Fatal(err)
	}
	if err := release(s, typed, second.DID); err != nil {
		t.Fatal(err)
	}
	if err := redeem(s, code, third); err != nil {
		t.Errorf("after a use was released: %v", err)
	}
	hers, err := s.Invites.Of(ctx, alice.DID)
	if err != nil || len(hers.Own) != 1 || hers.Own[0].Used != 2 || len(hers.Own[0].Uses) != 2 {
		t.Errorf("the codes of alice: %+v, %v", hers, err)
	}
	if sum, err := s.Invites.Of(ctx, third); err != nil || sum.InvitedBy == nil || sum.InvitedBy.Code != code {
		t.Errorf("third was invited by %+v, %v", sum.InvitedBy, err)
	}
}

// TestDisableByAnyName: accounts are named by handle, e-mail address or DID, in any spelling, and
// accounts of other servers by DID.
func TestDisableByAnyName(t *testing.T) {
	for _, name := range []string{"%d", "@Alice.test", "alice@EXAMPLE.com ", "https://bsky.app/profile/%d", "DID:PLC:%D"} {
		s := domaintest.New(t)
		alice := s.SignUp("alice").Account.DID.String()
		name = strings.NewReplacer("%d", alice, "DID:PLC:%D", strings.ToUpper(alice)).Replace(name)
		create(t, s, 1, 1, alice)
		made, err := s.Invites.Create(ctx, 1, 1, "did:web:elsewhere.example")
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := made[0].Codes[0]
		if err := s.Invites.Disable(ctx, []string{strings.ToUpper(elsewhere)}, []string{name}); err != nil {
			t.Fatal(err)
		}
		list, err := s.Invites.List(ctx, invites.SortRecent, "", 10)
		if err != nil || len(list.Codes) != 2 || !list.Codes[0].Disabled || !list.Codes[1].Disabled {
			t.Errorf("by %q: %+v, %v", name, list.Codes, err)
		}
	}
	s := domaintest.New(t)
	if err := s.Invites.Disable(ctx, nil, []string{" Admin\u200B"}); !errors.Is(err, invites.ErrInvalidRequest) {
		t.Errorf("disabling all codes of the admin: %v", err)
	}
}
