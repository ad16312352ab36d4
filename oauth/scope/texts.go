package scope

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/language"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// The longest texts of a permission set, in characters. Longer ones are cut.
const (
	maxTitle  = 100
	maxDetail = 500
)

// texts is a text of a permission set in one or several languages. Others have written it: it is
// plain text of one line, and may claim anything.
type texts struct {
	tags  []language.Tag // the first is the text without a language
	texts []string
}

// newTexts returns the text without a language and those of languages.
func newTexts(text string, of map[string]string, limit int) texts {
	var t texts
	t.add(language.Und, text, limit)
	for _, tag := range slices.Sorted(maps.Keys(of)) {
		if parsed, err := language.Parse(tag); err == nil {
			t.add(parsed, of[tag], limit)
		}
	}
	return t
}

func (t *texts) add(tag language.Tag, text string, limit int) {
	if text = tidy(text, limit); text != "" {
		t.tags, t.texts = append(t.tags, tag), append(t.texts, text)
	}
}

// tidy makes a text one line of at most limit characters, without those that can't be seen, or that
// would change the direction of the text around it.
func tidy(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d' { // joiners, which some scripts need
			return -1
		}
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return ' '
		}
		return r
	}, refusal.Clean(text))
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > limit {
		runes = append(runes[:limit-1], '…')
	}
	return string(runes)
}

// in returns the text in the first of some languages that there is, or the text without a language,
// and the language of the text, which is [language.Und] if it isn't known. Without a text it
// returns "".
func (t texts) in(preferred []language.Tag) (string, language.Tag) {
	if len(t.texts) == 0 {
		return "", language.Und
	}
	if _, i, confidence := language.NewMatcher(t.tags).Match(preferred...); confidence >= language.High {
		return t.texts[i], t.tags[i]
	}
	return t.texts[0], t.tags[0]
}
