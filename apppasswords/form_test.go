package apppasswords_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/apppasswords"
)

func TestNormalize(t *testing.T) {
	const password = "abcd-efgh-2345-mnop"
	for _, raw := range []string{
		password, "ABCD-EFGH-2345-MNOP", "Abcd-efgh-2345-mnop", " " + password + "\n", "\u00A0" + password,
		"abcdefgh2345mnop", "abcd efgh 2345 mnop", "abcd - efgh - 2345 - mnop", "abcdefgh-2345mnop", "abcd efgh-2345mnop",
		"abcd\u2013efgh\u20142345\u2212mnop", "abcd\u2011efgh\u2010" + "2345\uFF0Dmnop", "abcd\u00ADefgh\u200B2345\u2060mnop",
		"\u202A" + password + "\u202C", "\uFF41\uFF22cd-efgh-\uFF12345-mnop",
	} {
		if got, ok := apppasswords.Normalize(raw); !ok || got != password {
			t.Errorf("%+q: %q, %t", raw, got, ok)
		}
	}
	for _, raw := range []string{
		"", "abcd", "abcd-efgh-2345-mno", "abcd-efgh-2345-mnopq", "abcd-efgh-2345-mno1", "abcd-efgh-2345-mno\u017F",
		"abcd_efgh_2345_mnop", "abcd.efgh.2345.mnop", "abc-defgh-2345-mnop", "a b c d e f g h 2 3 4 5 m n o p", "-" + password, password + "-",
		"my password: " + password, "correct horse battery staple",
	} {
		if got, ok := apppasswords.Normalize(raw); ok || got != "" {
			t.Errorf("%+q is taken for %q", raw, got)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"abcd-efgh-2345-mnop", "ABCD EFGH 2345 MNOP", "abcdefgh2345mnop", "abcd\u2013efgh\u30FC2345\u00A0mnop", "\xff"} {
		f.Add(s)
	}
	shown := regexp.MustCompile(`^[a-z2-7]{4}(-[a-z2-7]{4}){3}$`)
	f.Fuzz(func(t *testing.T, raw string) {
		password, ok := apppasswords.Normalize(raw)
		if ok != shown.MatchString(password) {
			t.Fatalf("%+q: %q, %t", raw, password, ok)
		}
		for _, again := range []string{password, strings.ToUpper(password), strings.ReplaceAll(password, "-", "")} {
			if got, good := apppasswords.Normalize(again); good != ok || got != password {
				t.Fatalf("%+q gives %q, and %q gives %q, %t", raw, password, again, got, good)
			}
		}
	})
}
