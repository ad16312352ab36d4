package handle

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/typed"
	"github.com/gatehouse-at/gatehouse/storage"
)

func TestCheckAccepts(t *testing.T) {
	s := newService(t, owners{})
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
		h, err := s.Check(t.Context(), c.raw, Claimant{DID: someDID})
		if err != nil || h != c.want || s.Hosted(h) != c.hosted {
			t.Errorf("%q: %q, hosted %t, %v; want %q, hosted %t", c.raw, h, s.Hosted(h), err, c.want, c.hosted)
		}
		// Only handles on the server's domains are for new accounts.
		if _, err := s.Check(t.Context(), c.raw, stranger); (err == nil) != c.hosted || err != nil && !errors.Is(err, ErrUnsupportedDomain) {
			t.Errorf("%q for a new account: %v", c.raw, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	s := newService(t, owners{})
	slur := rot13("snttbg")
	for _, c := range []struct {
		raw     string
		kind    error
		message string
	}{
		{"", ErrInvalid, "Handle must be a domain name, like alice.example.com"},
		{"alice", ErrInvalid, "Handle must be a domain name, like alice.example.com"},
		{"xn--bcher-kva.test", ErrInvalid, "Internationalized handles (xn--) are not supported"},
		{"XN--bcher-kva.test", ErrInvalid, "Internationalized handles (xn--) are not supported"},
		{"alice..test", ErrInvalid, "Handle must be a domain name, like alice.example.com"},
		{"-alice.test", ErrInvalid, "Handle must be a domain name, like alice.example.com"},
		{"alice-.test", ErrInvalid, "Handle must be a domain name, like alice.example.com"},
		{"alice.test/", ErrInvalid, "Invalid characters in handle"},
		{"al ice.test", ErrInvalid, "Invalid characters in handle"},
		{"alice@example.com", ErrInvalid, "Invalid characters in handle"},
		{"did:web:alice.test", ErrInvalid, "Invalid characters in handle"},
		{"alice.1test", ErrInvalid, "Handle must be a domain name, like alice.example.com"},
		{strings.Repeat("a", 64) + ".test", ErrInvalid, "Handle must be a domain name, like alice.example.com"},
		{strings.Repeat("abc.", 63) + "test", ErrInvalid, "Handle too long"},
		{"alice_b.test", ErrInvalid, "Invalid characters in handle"},
		{"alice.test\x00", ErrInvalid, "Invalid characters in handle"},
		{"ålice.test", ErrInvalid, "Invalid characters in handle"},
		{"\u212Aate.test", ErrInvalid, "Invalid characters in handle"}, // the Kelvin sign lower-cases to k
		{"did:plc:abc", ErrInvalid, "Invalid characters in handle"},
		{"alice.local", ErrInvalid, "Handle TLD is invalid or disallowed"},
		{"alice.ONION", ErrInvalid, "Handle TLD is invalid or disallowed"},
		{"handle.invalid", ErrInvalid, "Handle TLD is invalid or disallowed"},
		{"alice.bob.test", ErrInvalid, "Invalid characters in handle"},
		{"a.b.test", ErrInvalid, "Invalid characters in handle"}, // dots are looked at before length
		{"al.test", ErrInvalid, "Handle too short"},
		{"nineteen-characters.test", ErrInvalid, "Handle too long"},
		{"admin.test", ErrNotAvailable, "Reserved handle"},
		{"AdMin.test", ErrNotAvailable, "Reserved handle"},
		{"ad-min.test", ErrNotAvailable, "Reserved handle"},
		{"did-plc.pds.example.com", ErrNotAvailable, "Reserved handle"},
		{slur + ".test", ErrInvalid, "Inappropriate language in handle"},
		{slur + ".example.com", ErrInvalid, "Inappropriate language in handle"},
		{"a." + slur + ".test", ErrInvalid, "Inappropriate language in handle"}, // before the label's form
		{slur + ".local", ErrInvalid, "Handle TLD is invalid or disallowed"},    // after the domain's
	} {
		h, err := s.Check(t.Context(), c.raw, Claimant{DID: someDID})
		if !errors.Is(err, c.kind) || err.Error() != c.message || h != "" {
			t.Errorf("%q: %q, %v; want %v, %q", c.raw, h, err, c.kind, c.message)
		}
	}
}

func TestOverrideLetsReservedAndOffensiveHandlesPass(t *testing.T) {
	s, admin := newService(t, owners{}), Claimant{DID: someDID, Override: true}
	for _, raw := range []string{"admin.test", rot13("snttbg") + ".test", rot13("xvxr") + ".example.com"} {
		if h, err := s.Check(t.Context(), raw, admin); err != nil || string(h) != raw {
			t.Errorf("%q: %q, %v", raw, h, err)
		}
	}
	for raw, message := range map[string]string{
		"al.test":                  "Handle too short",
		"nineteen-characters.test": "Handle too long",
		"a.b.test":                 "Invalid characters in handle",
		"admin.local":              "Handle TLD is invalid or disallowed",
	} {
		if _, err := s.Check(t.Context(), raw, admin); !errors.Is(err, ErrInvalid) || err.Error() != message {
			t.Errorf("%q: %v; want %q", raw, err, message)
		}
	}
}

func TestTheLongestDomainCounts(t *testing.T) {
	for _, domains := range [][]string{{".test", ".pds.test"}, {".pds.test", ".test"}, {"pds.test", "TEST"}} {
		s := newService(t, owners{}, func(c *Config) { c.Domains = domains })
		if h, err := s.Check(t.Context(), "alice.pds.test", stranger); h != "alice.pds.test" || err != nil {
			t.Errorf("%q: %q, %v", domains, h, err)
		}
	}
}

func FuzzHandle(f *testing.F) {
	for _, s := range []string{"alice.test", "ALICE.TEST", "a.b.test", "admin.test", "x.local", "alice.pds.example.com", "\u212Aate.test", "", "a..b", "a.b.c.d.e", "xn--a.test"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	s := newService(f, owners{})
	f.Fuzz(func(t *testing.T, raw string, override bool) {
		who := Claimant{DID: someDID, Override: override}
		h, err := s.Check(t.Context(), raw, who)
		if err != nil {
			if h != "" || !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrNotAvailable) {
				t.Fatalf("%q: %q, %v", raw, h, err)
			}
			return
		}
		if _, err := syntax.ParseHandle(string(h)); err != nil {
			t.Fatalf("%q gives %q: %v", raw, h, err)
		}
		if string(h) != typed.Identifier(raw) || !h.AllowedTLD() {
			t.Fatalf("%q gives %q", raw, h)
		}
		if again, err := s.Check(t.Context(), string(h), who); again != h || err != nil {
			t.Fatalf("%q gives %q, which gives %q, %v", raw, h, again, err)
		}
		if _, err := s.Check(t.Context(), raw, Claimant{DID: someDID, Override: true}); err != nil {
			t.Fatalf("%q is refused only with an override: %v", raw, err)
		}
		c := s.candidate(h, "")
		words := slices.Contains(ReservedWords(), strings.ReplaceAll(c.Label, "-", ""))
		if c.Hosted() && (c.Label+c.Domain != string(h) || strings.Contains(c.Label, ".") || len(c.Label) < minLabel || len(c.Label) > maxLabel || !override && words) {
			t.Fatalf("%q: %+v", h, c)
		}
		if !c.Hosted() && (c.Label != "" || strings.HasSuffix(string(h), ".test")) {
			t.Fatalf("%q: %+v", h, c)
		}
	})
}

func TestPunycodeIsForWhoeverAllowsIt(t *testing.T) {
	allowing := newService(t, owners{}, func(c *Config) { c.AllowPunycode = true })
	for name, check := range map[string]func() (syntax.Handle, error){
		"allowed": func() (syntax.Handle, error) { return allowing.Check(t.Context(), "xn--bcher-kva.test", stranger) },
		"by an admin": func() (syntax.Handle, error) {
			return newService(t, owners{}).Check(t.Context(), "xn--bcher-kva.test", Claimant{New: true, Override: true})
		},
	} {
		if h, err := check(); h != "xn--bcher-kva.test" || err != nil {
			t.Errorf("%s: %q, %v", name, h, err)
		}
	}
}

// TestAForeignHandleIsItsOwners: it has to resolve to the DID of the account that asks for it.
func TestAForeignHandleIsItsOwners(t *testing.T) {
	const other syntax.DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	s := newService(t, owners{}, func(c *Config) { c.Resolver = resolver{"other.example.com": other} })
	none := newService(t, owners{}, func(c *Config) { c.Resolver = nil })
	for _, c := range []struct {
		s    *Service
		raw  string
		who  Claimant
		want error
	}{
		{s, "alice.example.com", Claimant{DID: someDID}, nil},
		{s, "alice.example.com", Claimant{DID: someDID, New: true}, nil},
		{s, "other.example.com", Claimant{DID: someDID}, ErrUnresolved},
		{s, "other.example.com", Claimant{DID: someDID, Override: true}, ErrUnresolved},
		{s, "other.example.com", Claimant{DID: other}, nil},
		{s, "other.example.com", stranger, ErrUnsupportedDomain},
		{none, "alice.example.com", Claimant{DID: someDID}, ErrUnresolved},
	} {
		if _, err := c.s.Check(t.Context(), c.raw, c.who); !errors.Is(err, c.want) {
			t.Errorf("%s for %+v: %v, want %v", c.raw, c.who, err, c.want)
		}
	}
}

// TestWhoGetsAHandle asks for handles in every state, for everybody who may ask.
func TestWhoGetsAHandle(t *testing.T) {
	const alice, bob syntax.DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
	now := time.Unix(1_800_000_000, 0)
	s := newService(t, owners{of: map[syntax.Handle]syntax.DID{"alices.test": alice}}, func(c *Config) { c.Now = func() time.Time { return now } })
	if err := s.Reserve(t.Context(), "@Reserved.test"); err != nil {
		t.Fatal(err)
	}
	err := s.store.Update(t.Context(), func(tx storage.Tx) error {
		return s.Exchange(tx, alice, "held.test", "alices.test", true)
	})
	if err != nil {
		t.Fatal(err)
	}
	free := func(h syntax.Handle, who Claimant) (text string) {
		err := s.store.View(t.Context(), func(tx storage.Tx) error { return s.CheckFree(tx, h, who) })
		if err != nil {
			if !errors.Is(err, ErrNotAvailable) {
				t.Errorf("%s for %+v: %v", h, who, err)
			}
			text = err.Error()
		}
		return text
	}
	const reserved = "Reserved handle"
	newcomer, moving := stranger, Claimant{DID: alice, New: true}
	for _, c := range []struct {
		h    syntax.Handle
		who  Claimant
		want string
	}{
		{"free.test", newcomer, ""},
		{"free.test", Claimant{DID: bob}, ""},
		{"reserved.test", newcomer, reserved},
		{"reserved.test", Claimant{DID: bob}, reserved},
		{"reserved.test", Claimant{DID: bob, Override: true}, ""},
		{"alices.test", newcomer, "Handle already taken: alices.test"},
		{"alices.test", moving, "Handle already taken: alices.test"}, // there is an account already
		{"alices.test", Claimant{DID: alice}, ""},
		{"alices.test", Claimant{DID: bob}, "Handle already taken: alices.test"},
		{"alices.test", Claimant{DID: bob, Override: true}, "Handle already taken: alices.test"},
		{"held.test", newcomer, "Handle already taken: held.test"},
		{"held.test", moving, ""},
		{"held.test", Claimant{DID: alice}, ""},
		{"held.test", Claimant{DID: bob}, "Handle already taken: held.test"},
		{"held.test", Claimant{DID: bob, Override: true}, ""},
	} {
		if got := free(c.h, c.who); got != c.want {
			t.Errorf("%s for %+v: %q, want %q", c.h, c.who, got, c.want)
		}
	}
	now = now.Add(30 * 24 * time.Hour)
	if got := free("held.test", Claimant{DID: bob}); got != "" {
		t.Errorf("after the hold: %q", got)
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Error(err)
	}
	err = s.store.View(t.Context(), func(tx storage.Tx) error {
		_, err := heldHandles.Get(tx, "held.test")
		return err
	})
	if !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a hold that has ended is still there: %v", err)
	}
}
