package accounts

import (
	"context"
	"errors"
	"net/mail"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/typed"
)

// checkEmail checks an address by its form and by the default policy.
func checkEmail(raw string) (string, error) {
	s := &Service{cfg: Config{EmailPolicy: DefaultEmailPolicy}}
	return s.Emails().Check(context.Background(), raw)
}

func TestValidAddressesAreNormalized(t *testing.T) {
	for raw, want := range map[string]string{
		"alice@example.com":                      "alice@example.com",
		"Alice@Example.COM":                      "alice@example.com",
		"alice@test":                             "",
		"alice@pds.test":                         "alice@pds.test",
		" alice@example.com ":                    "alice@example.com",
		"alice@example.com\r\n":                  "alice@example.com",
		"\u202Aalice@example.com\u202C":          "alice@example.com",
		"\uFEFF\u00A0alice@example.com\u200B":    "alice@example.com",
		"alice+pds@example.com":                  "alice+pds@example.com",
		"a.l.i.c.e@example.co.uk":                "a.l.i.c.e@example.co.uk",
		"o'brien@example.com":                    "o'brien@example.com",
		"x@xn--bcher-kva.example":                "x@xn--bcher-kva.example",
		"1@1.fr":                                 "1@1.fr",
		strings.Repeat("u", 64) + "@example.com": strings.Repeat("u", 64) + "@example.com",
		"alice@mailinator.com.example.org":       "alice@mailinator.com.example.org",
		"alice@notmailinator2.com":               "alice@notmailinator2.com",
	} {
		got, err := checkEmail(raw)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", raw, got, err, want)
		}
	}
}

func TestInvalidAddressesAreRefused(t *testing.T) {
	for _, raw := range []string{
		"", "alice", "@", "@example.com", "alice@", "alice@@example.com", "alice@bob@example.com",
		"alice@localhost", "alice@example", "alice@.com", "alice@example..com", "alice@example.com.", "alice@-example.com", "alice@exa_mple.com",
		"alice@192.0.2.1", "alice@[192.0.2.1]", "alice@example.123",
		".alice@example.com", "alice.@example.com", "al..ice@example.com",
		"al ice@example.com", "alice@exam ple.com", "alice@example.com\r\nBcc: b@example.com", "al\tice@example.com", "al\x00ice@example.com", "al\x7fice@example.com",
		"Alice <alice@example.com>", "<alice@example.com>", "alice@example.com, bob@example.com", "alice@example.com (Alice)", "alice(comment)@example.com",
		`"alice"@example.com`, `"al ice"@example.com`, `al\ice@example.com`, "al,ice@example.com", "al:ice@example.com", "al;ice@example.com",
		"ålice@example.com", "alice@bücher.example", "\u212Aate@example.com", "alice@example\u3002com", "ali\u200bce@example.com",
		strings.Repeat("u", 65) + "@example.com",
		strings.Repeat("u", 64) + "@" + strings.Repeat("abcdefgh.", 21) + "example.com", // 265 bytes
		"alice@" + strings.Repeat("a", 64) + ".com",
		"al\u00ADice@example.com", "alice\u00A0@example.com", "alice@\u202Eexample.com", "\uFF41lice@example.com", "alice\uFF20example.com", "@alice@example.com",
		"alice@mailinator.com", " alice@mailinator.com\u200B", "ALICE@MAILINATOR.COM", "alice@anything.mailinator.com", "alice@guerrillamail.com", "alice@yopmail.com", "alice@10minutemail.com",
	} {
		got, err := checkEmail(raw)
		if got != "" || !errors.Is(err, ErrInvalidEmail) {
			t.Errorf("%q: %q, %v", raw, got, err)
			continue
		}
		if want := "This email address is not supported, please use a different email."; err.Error() != want {
			t.Errorf("%q: message %q; want %q", raw, err, want)
		}
	}
}

func TestTheListOfDisposableDomainsIsValid(t *testing.T) {
	domains := strings.Split(strings.TrimSuffix(disposableList, "\n"), "\n")
	if !slices.IsSorted(domains) || len(slices.Compact(slices.Clone(domains))) != len(domains) {
		t.Error("the list isn't sorted, or has a domain twice")
	}
	for _, d := range domains {
		if _, err := syntax.ParseHandle(d); err != nil || d != strings.ToLower(d) {
			t.Errorf("%q isn't a domain in lower case", d)
		}
	}
	for _, d := range []string{"gmail.com", "outlook.com", "proton.me", "icloud.com", "gmx.de", "duck.com", "simplelogin.com", "mozmail.com", "fastmail.com", "com", ""} {
		if disposable(d) {
			t.Errorf("%q counts as disposable", d)
		}
	}
}

// TestDisposableAddressesAreRefusedByThePolicy only: they are well formed.
func TestDisposableAddressesAreRefusedByThePolicy(t *testing.T) {
	got, err := NormalizeEmail(" Alice@Anything.Mailinator.com")
	if got != "alice@anything.mailinator.com" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := DefaultEmailPolicy(t.Context(), got); !errors.Is(err, ErrInvalidEmail) {
		t.Errorf("the default policy: %v", err)
	}
}

func FuzzEmail(f *testing.F) {
	for _, s := range []string{"alice@example.com", "Alice@Example.COM", `"a b"@example.com`, "a@b", "a@b.c", "\u212A@example.com", "Alice <alice@example.com>", "a@mailinator.com", "a@b.com\r\nTo: c", "+@a.b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := checkEmail(raw)
		if err != nil {
			if got != "" || !errors.Is(err, ErrInvalidEmail) {
				t.Fatalf("%q: %q, %v", raw, got, err)
			}
			return
		}
		if got != strings.ToLower(typed.Trim(raw)) || len(got) > maxEmail {
			t.Fatalf("%q gives %q", raw, got)
		}
		if again, err := checkEmail(got); again != got || err != nil {
			t.Fatalf("%q gives %q, which gives %q, %v", raw, got, again, err)
		}
		// The standard library must parse it as this one address and nothing else.
		if a, err := mail.ParseAddress(got); err != nil || a.Address != got || a.Name != "" {
			t.Fatalf("%q gives %q, which net/mail reads as %v, %v", raw, got, a, err)
		}
	})
}
