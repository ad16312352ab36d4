package handle

import (
	"context"
	"regexp"
	"strings"
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// Slurs, in ROT13 so that nobody has to read them. Those of the first list are refused anywhere in
// a label. Those of the second list are also parts of harmless words, and are only refused as words
// of their own.
const (
	slursAnywhere = "avttre snttbg jrgonpx enturnq gbjryurnq puvatpubat cvpxnavaal wvtnobb fvrturvy urvyuvgyre tnfgurwrjf"
	slursAsWords  = "avttn avtyrg snt xvxr xlxr puvax pbba tbbx fcvp genaal genaavr cnxv xnssve orneare furznyr"
)

// lookalikes are the characters that can stand for a letter in a handle.
var lookalikes = map[rune]string{
	'a': "a4", 'b': "b8", 'e': "e3", 'g': "g9q", 'i': "i1l", 'o': "o0", 's': "s5", 't': "t7",
}

var slurs = sync.OnceValue(func() *regexp.Regexp {
	alternatives := func(list string) string {
		var out []string
		for word := range strings.FieldsSeq(list) {
			out = append(out, lookalikePattern(rot13(word)))
		}
		return strings.Join(out, "|")
	}
	return regexp.MustCompile(alternatives(slursAnywhere) + `|(?:^|-)(?:` + alternatives(slursAsWords) + `)[s5]*(?:-|$)`)
})

// NotOffensive is a [Policy] that refuses handles that contain a slur, on any domain, as an
// [ErrInvalid]. It also finds slurs that are spelled with digits, have repeated letters, or are
// split by hyphens.
func NotOffensive(_ context.Context, c Candidate) error {
	if offensive(c.Handle) {
		return refusal.New(ErrInvalid, "Inappropriate language in handle")
	}
	return nil
}

// offensive reports whether a handle in lower case contains a slur.
func offensive(h syntax.Handle) bool {
	for label := range strings.SplitSeq(string(h), ".") {
		if slurs().MatchString(label) || slurs().MatchString(strings.ReplaceAll(label, "-", "")) {
			return true
		}
	}
	return false
}

// lookalikePattern returns a pattern that matches a word whose letters may be repeated, and
// replaced by lookalikes.
func lookalikePattern(word string) string {
	var b strings.Builder
	var last rune
	for _, c := range word {
		class := lookalikes[c]
		if class == "" {
			class = string(c)
		}
		if c != last {
			b.WriteString("[" + class + "]+")
		} else { // a double letter: at least two of them
			b.WriteString("[" + class + "]")
		}
		last = c
	}
	return b.String()
}

func rot13(s string) string {
	return strings.Map(func(c rune) rune { return 'a' + (c-'a'+13)%26 }, s)
}
