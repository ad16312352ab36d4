package pages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"
)

// texts is the catalogue of all languages.
type texts struct {
	keys    map[string]bool
	tags    []language.Tag // English first
	matcher language.Matcher
	printer map[language.Tag]*message.Printer
}

// text is a text of a catalogue: a format, or one for each plural form of its first argument.
type text struct {
	plain string
	forms map[string]string
}

// UnmarshalJSON reads a text, which is a string or an object of strings.
func (t *text) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte(`"`)) {
		return json.Unmarshal(b, &t.plain)
	}
	if err := json.Unmarshal(b, &t.forms); err != nil {
		return err
	}
	if t.forms["other"] == "" {
		return fmt.Errorf(`a text with plural forms has no form "other"`)
	}
	for form := range t.forms {
		if !slices.Contains([]string{"zero", "one", "two", "few", "many", "other"}, form) {
			return fmt.Errorf("there is no plural form %q", form)
		}
	}
	return nil
}

// strings returns the formats of a text.
func (t text) strings() []string {
	if t.forms == nil {
		return []string{t.plain}
	}
	return slices.Collect(maps.Values(t.forms))
}

// verb matches the arguments that a format uses.
var verb = regexp.MustCompile(`%(\[\d+\])?[a-z]`)

// verbs returns the arguments that a text uses, each once and in order.
func (t text) verbs() []string {
	var all []string
	for _, s := range t.strings() {
		all = append(all, verb.FindAllString(strings.ReplaceAll(s, "%%", ""), -1)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// newTexts returns the texts of this package and those that add to them. Without any of those, all
// Sets share one catalogue.
func newTexts(more fs.FS) (*texts, error) {
	if more == nil {
		return defaultTexts()
	}
	return loadTexts(more)
}

var defaultTexts = sync.OnceValues(func() (*texts, error) { return loadTexts(nil) })

// loadTexts reads the texts of this package and those that add to them.
func loadTexts(more fs.FS) (*texts, error) {
	builtin, err := fs.Sub(files, "text")
	if err != nil {
		return nil, err
	}
	all := map[language.Tag]map[string]text{}
	for _, source := range []fs.FS{builtin, more} {
		if source == nil {
			continue
		}
		if err := readTexts(source, all); err != nil {
			return nil, err
		}
	}
	return build(all)
}

// readTexts adds the catalogues of a directory to all.
func readTexts(source fs.FS, all map[language.Tag]map[string]text) error {
	entries, err := fs.ReadDir(source, ".")
	if err != nil {
		return fmt.Errorf("reading the texts: %w", err)
	}
	for _, e := range entries {
		if path.Ext(e.Name()) != ".json" {
			continue
		}
		tag, err := language.Parse(strings.TrimSuffix(e.Name(), ".json"))
		if err != nil {
			return fmt.Errorf("texts: %s isn't named after a language: %w", e.Name(), err)
		}
		b, err := fs.ReadFile(source, e.Name())
		if err != nil {
			return fmt.Errorf("reading the texts: %w", err)
		}
		var some map[string]text
		if err := json.Unmarshal(b, &some); err != nil {
			return fmt.Errorf("texts: %s: %w", e.Name(), err)
		}
		if all[tag] == nil {
			all[tag] = map[string]text{}
		}
		maps.Copy(all[tag], some)
	}
	return nil
}

// build checks the texts and makes a catalogue of them.
func build(all map[language.Tag]map[string]text) (*texts, error) {
	english := all[language.English]
	set := &texts{keys: map[string]bool{}, tags: []language.Tag{language.English}, printer: map[language.Tag]*message.Printer{}}
	for key := range english {
		set.keys[key] = true
	}
	for tag := range all {
		if tag != language.English {
			set.tags = append(set.tags, tag)
		}
	}
	slices.SortFunc(set.tags[1:], func(a, b language.Tag) int { return strings.Compare(a.String(), b.String()) })
	builder := catalog.NewBuilder(catalog.Fallback(language.English))
	for _, tag := range set.tags {
		for key := range all[tag] {
			if _, ok := english[key]; !ok {
				return nil, fmt.Errorf("texts: %s has a text %q, which no page uses", tag, key)
			}
		}
		for key, original := range english {
			t, ok := all[tag][key]
			if !ok {
				t = original
			}
			if err := t.check(original); err != nil {
				return nil, fmt.Errorf("texts: %s, %q: %w", tag, key, err)
			}
			if err := set.add(builder, tag, key, t); err != nil {
				return nil, fmt.Errorf("texts: %s, %q: %w", tag, key, err)
			}
		}
	}
	for _, tag := range set.tags {
		set.printer[tag] = message.NewPrinter(tag, message.Catalog(builder))
	}
	set.matcher = language.NewMatcher(set.tags)
	return set, nil
}

// check returns an error if a text doesn't fit the original in English.
func (t text) check(original text) error {
	for _, s := range t.strings() {
		if strings.TrimSpace(s) == "" {
			return fmt.Errorf("the text is empty")
		}
		if strings.ContainsFunc(s, func(r rune) bool { return r >= firstMark && r < 0xF900 }) {
			return fmt.Errorf("the text has a character of the private use area")
		}
	}
	// A plural form may leave out arguments, as in "one minute".
	for _, v := range t.verbs() {
		if !slices.Contains(original.verbs(), v) {
			return fmt.Errorf("the text uses %s, which the English one doesn't", v)
		}
	}
	return nil
}

func (*texts) add(builder *catalog.Builder, tag language.Tag, key string, t text) error {
	if t.forms == nil {
		return builder.SetString(tag, key, t.plain)
	}
	var cases []any
	for _, form := range []string{"zero", "one", "two", "few", "many", "other"} {
		if s, ok := t.forms[form]; ok {
			cases = append(cases, form, s)
		}
	}
	return builder.Set(tag, key, plural.Selectf(1, "%d", cases...))
}

func (t *texts) has(key string) bool { return t.keys[key] }

func (t *texts) match(preferences []string) Language {
	var wanted []language.Tag
	for _, p := range preferences {
		if len(p) > 1024 {
			continue
		}
		tags, _, err := language.ParseAcceptLanguage(p)
		if err == nil {
			wanted = append(wanted, tags...)
		}
	}
	tag := language.English
	if _, i, confidence := t.matcher.Match(wanted...); confidence > language.No {
		tag = t.tags[i]
	}
	return Language{tag: tag, printer: t.printer[tag], set: t}
}
