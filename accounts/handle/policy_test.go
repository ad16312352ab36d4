package handle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

func TestReservedWords(t *testing.T) {
	words := strings.Split(strings.TrimSuffix(reservedList, "\n"), "\n")
	if !slices.Equal(words, ReservedWords()) {
		t.Error("ReservedWords isn't the list")
	}
	if !slices.IsSorted(words) || len(slices.Compact(slices.Clone(words))) != len(words) {
		t.Error("the list isn't sorted, or has a word twice")
	}
	for _, w := range words {
		if len(w) < minLabel || len(w) > maxLabel || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Errorf("%q can't be a label without hyphens", w)
		}
		if strings.HasPrefix(w, "xn") {
			t.Errorf("%q with hyphens could be punycode, whose refusal comes after that of a reserved word", w)
		}
	}
	reserved := func(label string) bool {
		return DefaultPolicy(t.Context(), Candidate{Handle: syntax.Handle(label + ".test"), Label: label, Domain: ".test"}) != nil
	}
	for _, w := range []string{
		"admin", "administrator", "root", "support", "security", "help", "moderator", "official", "staff", // authority
		"abuse", "noc", "postmaster", "hostmaster", "webmaster", "mailer-daemon", // RFC 2142
		"www", "mail", "smtp", "imap", "ns1", "autoconfig", "autodiscover", "mta-sts", "wpad", "isatap", "localhost", // machines
		"did", "plc", "pds", "atproto", "xrpc", "relay", "labeler", "ozone", "well-known", // protocol
		"bsky", "bluesky", "google", "github", "paypal", "twitter", // brands
	} {
		if !reserved(w) {
			t.Errorf("%q isn't reserved", w)
		}
	}
	for _, w := range []string{"alice", "bob", "carol", "dan", "jay", "mercedes", "clara", "administrate", "xn--admin", ""} {
		if reserved(w) {
			t.Errorf("%q is reserved", w)
		}
	}
}

func TestOffensive(t *testing.T) {
	for _, w := range []string{
		"avttre", "avttref", "a-v-t-t-r-e", "avttttre", "qveglavttre", // anywhere, spread out, drawn out
		"snt", "sntf", "ovt-snt", "snt-ynql", "s-n-t", "xvxr", "urvy-uvgyre",
	} {
		plain := strings.Map(func(c rune) rune {
			if c == '-' {
				return c
			}
			return []rune(rot13(string(c)))[0]
		}, w)
		for _, spelt := range []string{plain, strings.NewReplacer("i", "1", "e", "3", "o", "0").Replace(plain), strings.ReplaceAll(plain, "a", "4")} {
			if !offensive(syntax.Handle(spelt + ".test")) {
				t.Errorf("%s (ROT13) passes", w)
			}
			if !offensive(syntax.Handle("alice." + spelt + ".com")) {
				t.Errorf("%s (ROT13) passes as part of a domain", w)
			}
		}
	}
	for _, h := range []syntax.Handle{
		"alice.test", "scunthorpe.test", "niger.test", "nigeria.test", "nigel.test", "raccoon.test", "tycoon.test",
		"spice.test", "spicy.test", "auspicious.test", "pakistan.test", "kikelomo.test", "faganswer.test", "fagin.test",
		"chinkapin.test", "gooky.test", "cocoon.example.com", "despicable.test", "dagger.test", "trigger.test", "bigger.test", "digger.test",
	} {
		if offensive(h) {
			t.Errorf("%s is refused", h)
		}
	}
}

// TestErrorsOfAPolicyAreNotRefusals: a handle isn't called taken because the policy can't be asked.
func TestErrorsOfAPolicyAreNotRefusals(t *testing.T) {
	errDown := errors.New("the list of words can't be reached")
	asked := 0
	s := newService(t, owners{of: map[syntax.Handle]syntax.DID{"taken.test": someDID}}, func(c *Config) {
		c.Policy = func(_ context.Context, c Candidate) error {
			asked++
			if c.Label == "taken" {
				return nil
			}
			return errDown
		}
	})
	if _, err := s.Available(t.Context(), "alice.test"); !errors.Is(err, errDown) || asked != 1 {
		t.Errorf("%v, asked %d times", err, asked)
	}
	if _, err := s.Available(t.Context(), "taken.test"); !errors.Is(err, errDown) || asked != 3 {
		t.Errorf("when suggestions are made: %v, asked %d times", err, asked)
	}
	if _, err := s.Check(t.Context(), "alice.test", Claimant{New: true, Override: true}); err != nil || asked != 3 {
		t.Errorf("an admin: %v, asked %d times", err, asked)
	}
}

// TestAPolicyHasNoTransactionAroundIt, so it may use the store.
func TestAPolicyHasNoTransactionAroundIt(t *testing.T) {
	var s *Service
	s = newService(t, owners{of: map[syntax.Handle]syntax.DID{"taken.test": someDID}}, func(c *Config) {
		c.Policy = func(ctx context.Context, c Candidate) error {
			return s.store.Update(ctx, func(tx storage.Tx) error { return s.CheckFree(tx, "other.test", stranger) })
		}
	})
	if a, err := s.Available(t.Context(), "taken.test"); err != nil || len(a.Suggestions) != maxSuggestions {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := s.Check(t.Context(), "alice.test", stranger); err != nil {
		t.Error(err)
	}
}

func TestWordsOfAnEmbedder(t *testing.T) {
	words := slices.DeleteFunc(ReservedWords(), func(w string) bool { return w == "academy" })
	if slices.Contains(words, "academy") || !slices.Contains(ReservedWords(), "academy") {
		t.Fatal("the words aren't a copy")
	}
	s := newService(t, owners{}, func(c *Config) { c.Policy = NotReserved(append(words, "My-Brand")...) })
	for raw, want := range map[string]bool{
		"academy.test": true, "admin.test": false, "mybrand.test": false, "my-brand.test": false, "m-ybrand.pds.example.com": false,
		"mybrands.test": true, "mybrand.example.com": true, rot13("snttbg") + ".test": true,
	} {
		if _, err := s.Check(t.Context(), raw, Claimant{DID: someDID}); (err == nil) != want || err != nil && err.Error() != "Reserved handle" {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
