package invites_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/storage"
)

// create creates codes for an account, or for the admin.
func create(t *testing.T, s *domaintest.Services, n, useCount int, account ...string) []string {
	t.Helper()
	made, err := s.Invites.Create(ctx, n, useCount, account...)
	if err != nil {
		t.Fatal(err)
	}
	return made[0].Codes
}

// redeem uses a code for an account.
func redeem(s *domaintest.Services, code string, did syntax.DID) error {
	return s.Store.Update(ctx, func(tx storage.Tx) error { return s.Invites.Redeem(tx, code, did) })
}

// release takes back a use of a code.
func release(s *domaintest.Services, code string, did syntax.DID) error {
	return s.Store.Update(ctx, func(tx storage.Tx) error { return s.Invites.Release(tx, code, did) })
}

// names returns the texts of codes.
func names(list []*invites.Code) []string {
	var out []string
	for _, c := range list {
		out = append(out, c.Code)
	}
	return out
}

func TestListIsPagedAndSorted(t *testing.T) {
	s := domaintest.New(t)
	var made []string
	for range 5 {
		s.Advance(time.Second)
		made = append(made, create(t, s, 1, 3)[0])
	}
	for code, users := range map[int][]syntax.DID{1: {"did:web:a", "did:web:b"}, 3: {"did:web:c"}} {
		for _, did := range users {
			s.Advance(time.Second)
			if err := redeem(s, made[code], did); err != nil {
				t.Fatal(err)
			}
		}
	}
	for sort, first := range map[invites.Sort][]string{
		invites.SortRecent: {made[4], made[3], made[2], made[1], made[0]},
		invites.SortUsage:  {made[1], made[3]},
	} {
		var got []string
		cursor := ""
		for pages := 1; ; pages++ {
			p, err := s.Invites.List(ctx, sort, cursor, 2)
			if err != nil || len(p.Codes) > 2 || pages > 3 {
				t.Fatalf("%s: page %d: %+v, %v", sort, pages, p, err)
			}
			for _, c := range p.Codes {
				if len(c.Uses) != c.Used {
					t.Errorf("%s: %s shows %d uses of %d", sort, c.Code, len(c.Uses), c.Used)
				}
				if c.Code == made[1] && (c.Uses[0].UsedBy != "did:web:b" || c.Uses[1].UsedBy != "did:web:a") {
					t.Errorf("%s: the uses aren't newest first: %+v", sort, c.Uses)
				}
			}
			got = append(got, names(p.Codes)...)
			if cursor = p.Cursor; cursor == "" {
				break
			}
		}
		if !slices.Equal(got[:len(first)], first) {
			t.Errorf("%s: %v, want first %v", sort, got, first)
		}
		slices.Sort(got)
		if len(slices.Compact(got)) != len(made) {
			t.Errorf("%s: %v, want each of %v once", sort, got, made)
		}
	}
	if _, err := s.Invites.List(ctx, "age", "", 1); !errors.Is(err, invites.ErrInvalidRequest) {
		t.Errorf("an unknown order: %v", err)
	}
	if _, err := s.Invites.List(ctx, invites.SortRecent, "x", 1); !errors.Is(err, invites.ErrInvalidRequest) {
		t.Errorf("a malformed cursor: %v", err)
	}
}

func TestDisable(t *testing.T) {
	s := domaintest.New(t)
	byName, kept := create(t, s, 1, 1)[0], create(t, s, 1, 1)[0]
	alices := create(t, s, 2, 1, "did:web:a")
	near := create(t, s, 1, 1, "did:web:ab")[0]
	if err := s.Invites.Disable(ctx, []string{byName}, []string{invites.Admin}); !errors.Is(err, invites.ErrInvalidRequest) {
		t.Errorf("disabling all codes of the admin: %v", err)
	}
	if err := redeem(s, byName, "did:web:x"); err != nil {
		t.Errorf("a refused call disabled a code: %v", err)
	}
	for range 2 {
		err := s.Invites.Disable(ctx, []string{byName, "unknown", alices[0], "", strings.Repeat("x", storage.MaxKey+1), "\x00"}, []string{"did:web:a", ""})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, code := range append(alices, byName) {
		if err := redeem(s, code, "did:web:y"); !errors.Is(err, invites.ErrUnavailable) {
			t.Errorf("%s was disabled: %v", code, err)
		}
	}
	for _, code := range []string{kept, near} {
		if err := redeem(s, code, "did:web:y"); err != nil {
			t.Errorf("%s wasn't disabled: %v", code, err)
		}
	}
}

func TestMalformedCodesAreUnavailable(t *testing.T) {
	s := domaintest.New(t)
	for _, code := range []string{"", "\x00", "\xff", strings.Repeat("x", storage.MaxKey+1)} {
		if err := redeem(s, code, "did:web:a"); !errors.Is(err, invites.ErrUnavailable) {
			t.Errorf("%.10q: %v", code, err)
		}
	}
}

// TestAnAccountThatComesBackMayUseItsCodeAgain: an account that moves away and comes back has the
// same DID, and may have the same code too.
func TestAnAccountThatComesBackMayUseItsCodeAgain(t *testing.T) {
	s := domaintest.New(t)
	code := create(t, s, 1, 3)[0]
	const did = syntax.DID("did:web:a")
	uses := func(want int) {
		t.Helper()
		p, err := s.Invites.List(ctx, invites.SortRecent, "", 1)
		if err != nil || p.Codes[0].Used != want || len(p.Codes[0].Uses) != want {
			t.Errorf("the code is %+v, %v; want %d uses", p.Codes[0], err, want)
		}
	}
	for n := range 2 {
		if err := redeem(s, code, did); err != nil {
			t.Fatal(err)
		}
		uses(n + 1)
	}
	if err := release(s, code, did); err != nil {
		t.Fatal(err)
	}
	uses(1)
	for range 2 {
		if err := redeem(s, code, did); err != nil {
			t.Fatal(err)
		}
	}
	uses(3)
	if err := redeem(s, code, did); !errors.Is(err, invites.ErrUnavailable) {
		t.Errorf("a fourth use of three: %v", err)
	}
	// The last code that it has used is the one that it was invited with. Keys are random, so the
	// latest use may be anywhere in their order.
	s.Advance(time.Second)
	last := code
	for _, c := range create(t, s, 8, 1) {
		s.Advance(time.Second)
		last = c
		if err := redeem(s, c, did); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := s.Invites.Of(ctx, did)
	if err != nil || sum.InvitedBy == nil || sum.InvitedBy.Code != last {
		t.Errorf("invited by %+v, %v; want %s", sum.InvitedBy, err, last)
	}
}

func TestTheCodesOfAnAccountAreDeletedWithIt(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	mine, gift := create(t, s, 2, 2, alice.String()), create(t, s, 1, 1)[0]
	for code, did := range map[string]syntax.DID{mine[0]: "did:web:guest", gift: alice} {
		if err := redeem(s, code, did); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Invites.SetStanding(ctx, alice, invites.Standing{Disabled: true, Note: "a scraper"}); err != nil {
		t.Fatal(err)
	}
	sum, err := s.Invites.Of(ctx, alice)
	if err != nil || len(sum.Own) != 2 || sum.InvitedBy == nil || sum.InvitedBy.Code != gift || len(sum.InvitedBy.Uses) != 1 ||
		sum.Note != "a scraper" || !sum.Disabled {
		t.Fatalf("Of: %v, %+v, %v", names(sum.Own), sum, err)
	}
	if err := s.Accounts.DeleteNow(ctx, alice); err != nil {
		t.Fatal(err)
	}
	sum, err = s.Invites.Of(ctx, alice)
	if err != nil || len(sum.Own) != 0 || sum.Standing != (invites.Standing{}) {
		t.Errorf("a deleted account has %v, %+v, %v", names(sum.Own), sum.Standing, err)
	}
	if err := s.Invites.SetStanding(ctx, alice, invites.Standing{Disabled: true}); !errors.Is(err, accounts.ErrNotFound) {
		t.Errorf("SetStanding of a deleted account: %v", err)
	}
	for _, code := range []string{mine[0], mine[1], gift} {
		if err := redeem(s, code, "did:web:other"); !errors.Is(err, invites.ErrUnavailable) {
			t.Errorf("%s: %v", code, err)
		}
	}
	if sum, err := s.Invites.Of(ctx, "did:web:guest"); sum.InvitedBy != nil || err != nil {
		t.Errorf("the guest was invited by %+v, %v", sum.InvitedBy, err)
	}
}

// TestAPopularCodeIsShownWithItsNewestUses: however often a code was used, an answer that contains it
// reads and shows a bounded number of uses.
func TestAPopularCodeIsShownWithItsNewestUses(t *testing.T) {
	s := domaintest.New(t)
	owner, popular := s.SignUp("alice").Account.DID, ""
	for _, code := range create(t, s, 12, 1000, owner.String()) {
		popular = code
		err := s.Store.Update(ctx, func(tx storage.Tx) error {
			for i := range 150 {
				if err := s.Invites.Redeem(tx, code, syntax.DID(fmt.Sprint("did:web:guest", i))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.Advance(time.Minute)
	const last = syntax.DID("did:web:last")
	if err := redeem(s, popular, last); err != nil {
		t.Fatal(err)
	}
	counted := domaintest.Count(s.Store)
	s.Store = counted
	inv := s.Another().Invites
	for name, read := range map[string]func() ([]*invites.Code, error){
		"the list": func() ([]*invites.Code, error) {
			p, err := inv.List(ctx, invites.SortUsage, "", 1)
			return p.Codes, err
		},
		"the guest's invitation": func() ([]*invites.Code, error) {
			sum, err := inv.Of(ctx, last)
			return []*invites.Code{sum.InvitedBy}, err
		},
		"the owner's codes": func() ([]*invites.Code, error) { return inv.ForAccount(ctx, owner, true, false) },
	} {
		counted.Reset()
		codes, err := read()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(codes, func(c *invites.Code) bool { return c.Code == popular })
		if i < 0 || codes[i].Used != 151 || len(codes[i].Uses) == 0 || len(codes[i].Uses) > 100 || codes[i].Uses[0].UsedBy != last {
			t.Errorf("%s: %+v", name, codes)
		}
		if n := counted.Most(); n > 1100 {
			t.Errorf("%s: %d documents were read, of some 1800", name, n)
		}
	}
}
