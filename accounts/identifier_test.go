package accounts_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"pgregory.net/rapid"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
)

const someDID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"

func TestPastedIdentifiersAreNormalized(t *testing.T) {
	for _, id := range []string{"alice.test", "alice-1.pds.example.com", "xn--bcher-kva.example.com", someDID, "did:web:alice.test"} {
		for name, raw := range domaintest.Pasted(id) {
			got := accounts.NormalizeIdentifier(raw)
			if strings.HasPrefix(id, "did:web:") { // its last part may have capitals
				got = strings.ToLower(got)
			}
			if got != id {
				t.Errorf("%s, %+q: %+q, want %q", name, raw, got, id)
			}
		}
	}
	for name, raw := range domaintest.PastedAnywhere("alice+pds@example.com") {
		if got := accounts.NormalizeIdentifier(raw); got != "alice+pds@example.com" {
			t.Errorf("%s, %+q: %+q", name, raw, got)
		}
	}
	for raw, want := range map[string]string{
		// Mistakes aren't corrected.
		"":                           "",
		" @ ":                        "",
		"at://":                      "",
		"https://":                   "",
		"al ice.test":                "al ice.test",
		"alice. test":                "alice. test",
		"alice .test":                "alice .test",
		"alice\t.test":               "alice\t.test",
		"alice":                      "alice",
		"ALICE\u00C5.test":           "alice\u00C5.test",
		"\u212Aate.test":             "\u212Aate.test", // the Kelvin sign is no k
		"\u0130d.test":               "\u0130d.test",
		"https://bsky.app/":          "bsky.app",
		"https://bsky.app/settings":  "https://bsky.app/settings",
		"https://bsky.app/profile/":  "https://bsky.app/profile/",
		"https://bsky.app/profile":   "https://bsky.app/profile",
		"/profile/alice.test":        "/profile/alice.test",
		"a/b/profile/alice.test":     "a/b/profile/alice.test",
		"https://h/x/profile/a.test": "https://h/x/profile/a.test",
		"alice.test/":                "alice.test/",
		"alice..test":                "alice..test",
		"acct:alice.test":            "acct:alice.test",
		// An e-mail address stays one, whatever its user part looks like.
		"bsky.app/profile/alice@example.com": "bsky.app/profile/alice@example.com",
		"bsky.app/profile/@example.com":      "bsky.app/profile/@example.com",
		"at@example.com":                     "at@example.com",
		"did@example.com":                    "did@example.com",
		// The last part of a DID of another method may have capitals and percent signs.
		"DID:WEB:Alice.test":                                            "did:web:Alice.test",
		"at://DID:Web:localhost%3A2583/x":                               "did:web:localhost%3A2583",
		"https://bsky.app/profile/did:web:localhost%3A2583":             "did:web:localhost%3A2583",
		"https://bsky.app/profile/did%3Aweb%3Alocalhost%253A2583":       "did:web:localhost%3A2583",
		"https://bsky.app/profile/%E2%80%8E%EF%BC%A1lice%E3%80%82a":     "alice.a",
		"https://bsky.app/profile/%GG":                                  "%gg",
		"https://a.b/profile/HTTPS%3A%2F%2Fa.b%2Fprofile%2F%40Alice.cd": "alice.cd",
		"DID:":  "did:",
		"DID:X": "did:x",
	} {
		if got := accounts.NormalizeIdentifier(raw); got != want {
			t.Errorf("%+q: %+q, want %+q", raw, got, want)
		}
	}
	long := strings.Repeat("@.", 3000) + "at://alice.test"
	if got := accounts.NormalizeIdentifier(long); got != long {
		t.Errorf("%d bytes were taken for an identifier: %q", len(long), got)
	}
}

func FuzzIdentifier(f *testing.F) {
	for _, id := range []string{"alice.test", "did:web:alice.test", "alice@example.com", "did:plc:A", "@@.@.", "at://at://x", "https://a/profile/%2540%25", "\xff@\xff", "did:x:\uFF21"} {
		f.Add(id)
		for _, raw := range domaintest.Pasted(id) {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := accounts.NormalizeIdentifier(raw)
		if again := accounts.NormalizeIdentifier(got); again != got {
			t.Fatalf("%+q gives %+q, which gives %+q", raw, got, again)
		}
		// Valid identifiers are unchanged, so that every account can be found.
		if h, err := syntax.ParseHandle(raw); err == nil && got != h.Normalize().String() {
			t.Fatalf("the handle %q gives %q", raw, got)
		}
		if email, err := accounts.NormalizeEmail(raw); err == nil && got != email {
			t.Fatalf("the address %+q gives %q, and is %q", raw, got, email)
		}
		if id, err := syntax.ParseDID(raw); err == nil && !strings.EqualFold(got, strings.TrimRight(id.String(), ".")) {
			t.Fatalf("the DID %q gives %q", raw, got)
		}
		h, err := handle.Normalize(raw)
		if (err == nil) != (h != "") || err == nil && h.String() != got {
			t.Fatalf("%+q gives %q, and as a handle %q, %v", raw, got, h, err)
		}
	})
}

// TestNoSpellingMakesASecondAccount signs up with spellings of a few names, and logs in with
// others: there is one account of each name and each address, and all spellings lead to it.
func TestNoSpellingMakesASecondAccount(t *testing.T) {
	s := domaintest.New(t, func(c *domaintest.Config) { c.Accounts.Limits.Limiter = ratelimit.Off{} })
	names := []string{"alice", "bob-1", "carol"}
	owner := map[string]syntax.DID{} // of handles and addresses
	rapid.Check(t, func(t *rapid.T) {
		choose := func(n int, label string) int { return rapid.IntRange(0, n-1).Draw(t, label) }
		name := names[choose(len(names), "name")] + ".test"
		email := names[choose(len(names), "address")] + "@example.com"
		p := accounts.CreateParams{Handle: domaintest.Respell(name, choose), Password: "password"}
		// An e-mail address may be in upper case, and have spaces and invisible characters around
		// it.
		p.Email = []string{"", " ", "\u200B", "\u00A0\u202A"}[choose(4, "before the address")] + []string{email, strings.ToUpper(email)}[choose(2, "its case")] + []string{"", "\n", "\uFEFF"}[choose(3, "after it")]
		a, err := s.Accounts.Create(ctx, p)
		switch {
		case owner[name] != "":
			if !errors.Is(err, handle.ErrNotAvailable) {
				t.Fatalf("%+q was accepted although %s exists: %v", p.Handle, name, err)
			}
		case owner[email] != "":
			if !errors.Is(err, accounts.ErrEmailTaken) {
				t.Fatalf("%+q was accepted although %s exists: %v", p.Email, email, err)
			}
		case err != nil:
			t.Fatalf("%+q, %+q: %v", p.Handle, p.Email, err)
		default:
			if a.Handle.String() != name || a.Email != email {
				t.Fatalf("%+q, %+q made %s, %s", p.Handle, p.Email, a.Handle, a.Email)
			}
			owner[name], owner[email] = a.DID, a.DID
		}
		for id, did := range owner {
			for _, known := range []string{id, did.String()} {
				spelt := domaintest.Respell(known, choose)
				if found, err := s.Accounts.Find(ctx, spelt); err != nil || found.DID != did {
					t.Fatalf("%+q, which is %s, leads to %v, %v", spelt, known, found, err)
				}
			}
		}
	})
}
