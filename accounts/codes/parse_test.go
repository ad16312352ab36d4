package codes

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const code = "ABCDE-23457"
	for _, raw := range []string{
		code, "abcde-23457", "Abcde-23457", " \t" + code + "\r\n",
		"ABCDE23457", "ABCDE 23457", "ABCDE  23457", "ABCDE - 23457", "abcde\u00A023457", "ABCDE\u300023457", "ABCDE\n23457", "ABCDE--23457",
		"ABCDE\u201023457", "ABCDE\u201123457", "ABCDE\u201323457", "ABCDE\u201423457", "ABCDE\u221223457", "ABCDE\u30FC23457", "ABCDE\uFF0D23457", "ABCDE\uFE6323457",
		"\u202AABCDE-23457\u202C", "AB\u200BCDE-23\u00AD457", "\uFEFF" + code, "ABCDE\u00AD23457",
		"\uFF21\uFF22\uFF23\uFF24\uFF25\uFF0D\uFF12\uFF13\uFF14\uFF15\uFF17",
		"Code: " + code, "Your code is " + code + ".", "code:" + code, "\u00BB" + code + "\u00AB", "- " + code, "\u2014" + code + "\u2014", "(" + code + ")", "**" + code + "**",
		code + " and once more " + strings.ToLower(code),
		"コードは" + code + "です",
		"https://app.example.com/reset#code=" + code, "https://app.example.com/reset#code=abcde-23457", "https://cross-check.example/#code=" + code + "&x=y",
		"https://app.example.com/reset?code=" + code, "Open https://other-words.example.com/#code=" + code + " to go on.",
	} {
		if got, err := Parse(raw); err != nil || got != code {
			t.Errorf("%+q: %q, %v", raw, got, err)
		}
	}
	for _, raw := range []string{
		"", " ", "-", "x", "ABCDE", "ABCDE-", "-23457", "ABCDE-2345", "ABCD-23457", "ABCDE-234577", "ABCDEF-23457", "ABCDE2345", "ABCDE234577",
		"ABCDE-23456-77", "ABCDE_23457", "ABCDE.23457", "AB CD E2 34 57", "ABC-DE23457", "ABCDE/23457",
		"ABCDE-23458", "ABCDE-01111", // digits that no code has
		"\u00C5BCDE-23457", "ABCDE-2345\u00E9", "\u017FBCDE-23457", // letters that no code has
		"ABCDE-23457 FGHIJ-23457", "https://a.example/#code=ABCDE-23457 or FGHIJ-23457", // which of the two
		"Type the code ABCDE 23457", "Type the code ABCDE23457", // words could look like that
		"pds-example-com-abcde-23457", // an invite code
		"https://app.example.com/reset#code=", "code=x",
		"abcd-efgh-2345-ijkl", strings.Repeat("A", 10000), strings.Repeat("ABCDE-", 2000), "☃☃☃☃☃-☃☃☃☃☃",
	} {
		if got, err := Parse(raw); !errors.Is(err, ErrInvalid) || got != "" {
			t.Errorf("%+q is taken for %q (%v)", raw, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"ABCDE-23457", "abcde 23457", "the code ABCDE-23457.", "https://x/#code=ABCDE-23457", "A-B", "ABCDE\u301C23457", "CODE=code=\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		parsed, err := Parse(raw)
		code := string(parsed)
		if (err == nil) != sentForm.MatchString(code) || err != nil && code != "" {
			t.Fatalf("%+q: %q, %v", raw, code, err)
		}
		if err != nil {
			return
		}
		for _, again := range []string{code, strings.ToLower(code), strings.ReplaceAll(code, "-", ""), "code: " + code, "https://x.example/#code=" + code} {
			if got, err := Parse(again); err != nil || got != parsed {
				t.Fatalf("%+q gives %q, and %q gives %q, %v", raw, code, again, got, err)
			}
		}
	})
}
