package accounts

import (
	"regexp"
	"strings"
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Slurs, in ROT13 so that nobody has to read them. Those of the first list are refused
// wherever they stand; those of the second, which are also parts of harmless words,
// only as a word of their own.
const (
	slursAnywhere = "avttre snttbg jrgonpx enturnq gbjryurnq puvatpubat cvpxnavaal wvtnobb fvrturvy urvyuvgyre tnfgurwrjf"
	slursAsWords  = "avttn avtyrg snt xvxr xlxr puvax pbba tbbx fcvp genaal genaavr cnxv xnssve orneare furznyr"
)

// The characters that stand in for letters in a handle.
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

// offensive reports whether a handle in lower case has a slur in it, also one that is
// spelt with digits, drawn out, or spread over hyphens.
func offensive(h syntax.Handle) bool {
	for label := range strings.SplitSeq(string(h), ".") {
		if slurs().MatchString(label) || slurs().MatchString(strings.ReplaceAll(label, "-", "")) {
			return true
		}
	}
	return false
}

// lookalikePattern matches a word whose letters may be replaced by lookalikes
// and repeated.
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
