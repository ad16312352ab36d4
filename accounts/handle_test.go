package accounts

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

var testDomains = []string{".test", ".pds.example.com"}

func TestCheckHandleAccepts(t *testing.T) {
	for _, c := range []struct {
		raw    string
		want   syntax.Handle
		hosted bool
	}{
		{"alice.test", "alice.test", true},
		{"ALICE.Test", "alice.test", true},
		{"@alice.test", "alice.test", true},
		{" at://Alice.test. ", "alice.test", true},
		{"https://bsky.app/profile/alice.test", "alice.test", true},
		{"\u202Aal\u00ADice.test\u202C", "alice.test", true},
		{"\uFF41lice\u3002test", "alice.test", true},
		{"bob.test", "bob.test", true},
		{"a-1.test", "a-1.test", true},
		{"eighteen-character.test", "eighteen-character.test", true},
		{"carol.pds.example.com", "carol.pds.example.com", true},
		{"xn--bcher-kva.example.com", "xn--bcher-kva.example.com", false},
		{"alice.example.com", "alice.example.com", false},
		{"pds.example.com", "pds.example.com", false},
		{"admin.example.com", "admin.example.com", false}, // reserved only on the server's own domains
		{"x.com", "x.com", false},
		{"mytest.org", "mytest.org", false},
		{"notpds.example.com", "notpds.example.com", false},
	} {
		h, hosted, err := CheckHandle(c.raw, HandlePolicy{Domains: testDomains, Override: false})
		if err != nil || h != c.want || hosted != c.hosted {
			t.Errorf("%q: %q, hosted %t, %v; want %q, hosted %t", c.raw, h, hosted, err, c.want, c.hosted)
		}
	}
}

func TestCheckHandleRefuses(t *testing.T) {
	slur := rot13("snttbg")
	for _, c := range []struct {
		raw     string
		kind    error
		message string
	}{
		{"", ErrInvalidHandle, "Handle must be a domain name, like alice.example.com"},
		{"alice", ErrInvalidHandle, "Handle must be a domain name, like alice.example.com"},
		{"xn--bcher-kva.test", ErrInvalidHandle, "Internationalized handles (xn--) are not supported"},
		{"XN--bcher-kva.test", ErrInvalidHandle, "Internationalized handles (xn--) are not supported"},
		{"alice..test", ErrInvalidHandle, "Handle must be a domain name, like alice.example.com"},
		{"-alice.test", ErrInvalidHandle, "Handle must be a domain name, like alice.example.com"},
		{"alice-.test", ErrInvalidHandle, "Handle must be a domain name, like alice.example.com"},
		{"alice.test/", ErrInvalidHandle, "Invalid characters in handle"},
		{"al ice.test", ErrInvalidHandle, "Invalid characters in handle"},
		{"alice@example.com", ErrInvalidHandle, "Invalid characters in handle"},
		{"did:web:alice.test", ErrInvalidHandle, "Invalid characters in handle"},
		{"alice.1test", ErrInvalidHandle, "Handle must be a domain name, like alice.example.com"},
		{strings.Repeat("a", 64) + ".test", ErrInvalidHandle, "Handle must be a domain name, like alice.example.com"},
		{strings.Repeat("abc.", 63) + "test", ErrInvalidHandle, "Handle too long"},
		{"alice_b.test", ErrInvalidHandle, "Invalid characters in handle"},
		{"alice.test\x00", ErrInvalidHandle, "Invalid characters in handle"},
		{"ålice.test", ErrInvalidHandle, "Invalid characters in handle"},
		{"\u212Aate.test", ErrInvalidHandle, "Invalid characters in handle"}, // the Kelvin sign lower-cases to k
		{"did:plc:abc", ErrInvalidHandle, "Invalid characters in handle"},
		{"alice.local", ErrInvalidHandle, "Handle TLD is invalid or disallowed"},
		{"alice.ONION", ErrInvalidHandle, "Handle TLD is invalid or disallowed"},
		{"handle.invalid", ErrInvalidHandle, "Handle TLD is invalid or disallowed"},
		{"alice.bob.test", ErrInvalidHandle, "Invalid characters in handle"},
		{"a.b.test", ErrInvalidHandle, "Invalid characters in handle"}, // dots are looked at before length
		{"al.test", ErrInvalidHandle, "Handle too short"},
		{"nineteen-characters.test", ErrInvalidHandle, "Handle too long"},
		{"admin.test", ErrHandleNotAvailable, "Reserved handle"},
		{"AdMin.test", ErrHandleNotAvailable, "Reserved handle"},
		{"ad-min.test", ErrHandleNotAvailable, "Reserved handle"},
		{"did-plc.pds.example.com", ErrHandleNotAvailable, "Reserved handle"},
		{slur + ".test", ErrInvalidHandle, "Inappropriate language in handle"},
		{slur + ".example.com", ErrInvalidHandle, "Inappropriate language in handle"},
		{"a." + slur + ".test", ErrInvalidHandle, "Inappropriate language in handle"}, // before the label's form
		{slur + ".local", ErrInvalidHandle, "Handle TLD is invalid or disallowed"},    // after the domain's
	} {
		h, _, err := CheckHandle(c.raw, HandlePolicy{Domains: testDomains, Override: false})
		if !errors.Is(err, c.kind) || err.Error() != c.message || h != "" {
			t.Errorf("%q: %q, %v; want %v, %q", c.raw, h, err, c.kind, c.message)
		}
	}
}

func TestOverrideLetsReservedAndOffensiveHandlesPass(t *testing.T) {
	for _, raw := range []string{"admin.test", rot13("snttbg") + ".test", rot13("xvxr") + ".example.com"} {
		if h, _, err := CheckHandle(raw, HandlePolicy{Domains: testDomains, Override: true}); err != nil || string(h) != raw {
			t.Errorf("%q: %q, %v", raw, h, err)
		}
	}
	for raw, message := range map[string]string{
		"al.test":                  "Handle too short",
		"nineteen-characters.test": "Handle too long",
		"a.b.test":                 "Invalid characters in handle",
		"admin.local":              "Handle TLD is invalid or disallowed",
	} {
		if _, _, err := CheckHandle(raw, HandlePolicy{Domains: testDomains, Override: true}); !errors.Is(err, ErrInvalidHandle) || err.Error() != message {
			t.Errorf("%q: %v; want %q", raw, err, message)
		}
	}
}

func TestTheLongestDomainCounts(t *testing.T) {
	for _, domains := range [][]string{{".test", ".pds.test"}, {".pds.test", ".test"}, {"pds.test", "TEST"}} {
		if h, hosted, err := CheckHandle("alice.pds.test", HandlePolicy{Domains: domains, Override: false}); h != "alice.pds.test" || !hosted || err != nil {
			t.Errorf("%q: %q, %t, %v", domains, h, hosted, err)
		}
	}
}

func TestReservedWords(t *testing.T) {
	words := strings.Split(strings.TrimSuffix(reservedList, "\n"), "\n")
	if !slices.IsSorted(words) || len(slices.Compact(slices.Clone(words))) != len(words) {
		t.Error("the list isn't sorted, or has a word twice")
	}
	for _, w := range words {
		if len(w) < minLabel || len(w) > maxLabel || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Errorf("%q can't be a label without hyphens", w)
		}
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

func FuzzHandle(f *testing.F) {
	for _, s := range []string{"alice.test", "ALICE.TEST", "a.b.test", "admin.test", "x.local", "alice.pds.example.com", "\u212Aate.test", "", "a..b", "a.b.c.d.e", "xn--a.test"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, raw string, override bool) {
		h, hosted, err := CheckHandle(raw, HandlePolicy{Domains: testDomains, Override: override})
		if err != nil {
			if h != "" || !errors.Is(err, ErrInvalidHandle) && !errors.Is(err, ErrHandleNotAvailable) {
				t.Fatalf("%q: %q, %v", raw, h, err)
			}
			return
		}
		if _, err := syntax.ParseHandle(string(h)); err != nil {
			t.Fatalf("%q gives %q: %v", raw, h, err)
		}
		if string(h) != NormalizeIdentifier(raw) || !h.AllowedTLD() {
			t.Fatalf("%q gives %q", raw, h)
		}
		if again, stillHosted, err := CheckHandle(string(h), HandlePolicy{Domains: testDomains, Override: override}); again != h || stillHosted != hosted || err != nil {
			t.Fatalf("%q gives %q, which gives %q, %t, %v", raw, h, again, stillHosted, err)
		}
		if _, _, err := CheckHandle(raw, HandlePolicy{Domains: testDomains, Override: true}); err != nil {
			t.Fatalf("%q is refused only with an override: %v", raw, err)
		}
		label, onDomain := hostedLabel(h, testDomains)
		if onDomain != hosted || hosted && (strings.Contains(label, ".") || len(label) < minLabel || len(label) > maxLabel || !override && reserved(label)) {
			t.Fatalf("%q: label %q, hosted %t", h, label, hosted)
		}
	})
}

func TestPunycodeIsForWhoeverAllowsIt(t *testing.T) {
	for name, p := range map[string]HandlePolicy{
		"allowed":     {Domains: testDomains, AllowPunycode: true},
		"by an admin": {Domains: testDomains, Override: true},
	} {
		if h, hosted, err := CheckHandle("xn--bcher-kva.test", p); h != "xn--bcher-kva.test" || !hosted || err != nil {
			t.Errorf("%s: %q, %t, %v", name, h, hosted, err)
		}
	}
}
