package typed

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// becomes checks the results of a normalizing function.
func becomes(t *testing.T, normal func(string) string, wants map[string]string) {
	t.Helper()
	for raw, want := range wants {
		if got := normal(raw); got != want {
			t.Errorf("%+q: %+q, want %+q", raw, got, want)
		}
	}
}

func TestName(t *testing.T) {
	becomes(t, Name, map[string]string{
		"":                        "",
		"alice":                   "alice",
		" \t\r\nalice\n":          "alice",
		"al ice":                  "al ice", // not a space that can be removed without guessing
		"al\tice":                 "al\tice",
		"Alice":                   "Alice",
		"\u202Aalice\u202C":       "alice", // bidirectional marks, as iOS copies them
		"\u2068alice\u2069":       "alice",
		"\u200E\u200Falice\u061C": "alice",
		"al\u200Bi\u200C\u200Dce": "alice", // zero width
		"\uFEFFalice":             "alice",
		"al\u00ADice":             "alice", // a soft hyphen
		"al\u2060ice":             "alice",
		"alice\uFE0F":             "alice", // variation selectors
		"alice\U000E0100":         "alice",
		"alice\u180B\u034F":       "alice",
		"alice\u3164\uFFA0":       "alice", // fillers
		"\U000E0061alice":         "alice", // a tag
		"\u00A0alice\u00A0":       "alice", // spaces that keyboards don't have
		"al\u202F\u2009ice":       "alice",
		"al\u3000ice":             "alice",
		"al\u2028\u2029\u0085ice": "alice",
		"\uFF41\uFF4C\uFF29ce":    "alIce", // full-width
		"\uFF20\uFF1A\uFF0F":      "@:/",
		"\u200B \u00A0 \u200B":    "",
		"a\x00b":                  "a\x00b",
		"å\u212A☃":                "å\u212A☃", // other letters are kept
	})
}

func TestText(t *testing.T) {
	becomes(t, Text, map[string]string{
		"\u00A0Code:\u00A0ABCDE\u2011FGHIJ\r\n": "Code: ABCDE\u2011FGHIJ",
		"two\nlines\u3000here\u200B":            "two lines here",
		"\uFF21\uFF12":                          "A2",
	})
}

func TestTrim(t *testing.T) {
	becomes(t, Trim, map[string]string{
		"\u200B alice@example.com\u00A0\n": "alice@example.com",
		"al\u200Bice":                      "al\u200Bice",
		"\uFF41":                           "\uFF41",
	})
}

func TestDashes(t *testing.T) {
	// A hyphen, a non-breaking hyphen, a figure dash, an en dash, an em dash, a horizontal bar, a
	// minus sign, and the prolonged sound mark, which shares a key with the dash on Japanese
	// keyboards.
	if got := Dashes("a\u2010b\u2011c\u2012d\u2013e\u2014f\u2015g\u2212h\u30FCi-j_k.l"); got != "a-b-c-d-e-f-g-h-i-j_k.l" {
		t.Errorf("%+q", got)
	}
}

func TestCases(t *testing.T) {
	const text = "aZ09\u212A\u0130\u017F\u00DF"
	if got := Lower(text); got != "az09\u212A\u0130\u017F\u00DF" {
		t.Errorf("Lower: %+q", got)
	}
	if got := Upper(text); got != "AZ09\u212A\u0130\u017F\u00DF" {
		t.Errorf("Upper: %+q", got)
	}
}

func FuzzTyped(f *testing.F) {
	for _, s := range []string{"alice.test", " \u200Bal\u00ADice\u3000", "\uFF21\uFF0E\uFF74", "\xFF\xFE", "\uFFA0\uFFE6", "a-b\u2212\u30FC\uFF70"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for name, normal := range map[string]func(string) string{"Name": Name, "Text": Text, "Trim": Trim, "Lower": Lower, "Upper": Upper, "Dashes": Dashes} {
			got := normal(raw)
			if again := normal(got); again != got {
				t.Fatalf("%s is not idempotent: %+q becomes %+q, and then %+q", name, raw, got, again)
			}
			if utf8.ValidString(raw) && !utf8.ValidString(got) {
				t.Fatalf("%s of %+q is %+q, which isn't valid UTF-8", name, raw, got)
			}
		}
		name := Name(raw)
		if i := strings.IndexFunc(name, func(r rune) bool { return invisible(r) || r > 0x7f && unicode.IsSpace(r) }); i >= 0 {
			t.Fatalf("Name of %+q is %+q, which has invisible characters or non-ASCII spaces", raw, name)
		}
		if seen := strings.IndexFunc(raw, func(r rune) bool { return r > 0x7f }) >= 0; !seen && name != strings.TrimSpace(raw) {
			t.Fatalf("Name of %q, which is ASCII, is %q", raw, name)
		}
	})
}
