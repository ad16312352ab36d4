package pages

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Service is what all pages say about the server.
type Service struct {
	// Name is the name of the server.
	Name string
	// PrivacyPolicyURL and TermsOfServiceURL are links, and ContactEmail is an address to write to.
	// Empty ones aren't shown.
	PrivacyPolicyURL, TermsOfServiceURL, ContactEmail string
}

// Config configures a [Set].
type Config struct {
	// Service is what all pages say about the server.
	Service Service
	// AssetPath is the path under which assets are served. It begins and ends with a slash.
	AssetPath string
	// Templates has templates that replace the default ones with the same names. Nil: none.
	//
	// layout.html is the frame of all pages, parts.html has what several pages share, and there is
	// one template for each [Content], such as consent.html. Templates are executed with a [Page].
	Templates fs.FS
	// Assets has files that replace the default ones with the same names: theme.css with the colours
	// and fonts, style.css with everything else about looks, and logo.svg. Nil: none.
	Assets fs.FS
	// Texts has catalogues of texts, one for each language, named after it: de.json, pt-BR.json.
	// They add languages, and replace single texts of those that are there. Texts that a language
	// lacks are shown in English. Nil: none.
	//
	// A catalogue is a JSON object of keys and texts. A text is a string with the verbs of package
	// fmt, whose arguments are those of the English text, or an object with a string for each plural
	// form ("one", "other" and so on) of the text's first argument.
	Texts fs.FS
}

// Set renders pages. Its methods are safe for concurrent use.
type Set struct {
	service   Service
	templates map[string]*template.Template
	assets    *assets
	texts     *texts
}

//go:embed templates assets text
var files embed.FS

// New returns a Set. It tries what the configuration replaces: it is an error if a file has a name
// that isn't used, if a template can't be parsed or executed, or if a text has other arguments than
// its English original.
func New(cfg Config) (*Set, error) {
	if !strings.HasPrefix(cfg.AssetPath, "/") || !strings.HasSuffix(cfg.AssetPath, "/") {
		return nil, fmt.Errorf("pages: AssetPath %q doesn't begin and end with a slash", cfg.AssetPath)
	}
	s := &Set{service: cfg.Service}
	var err error
	if s.texts, err = newTexts(cfg.Texts); err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	if s.assets, err = newAssets(cfg.AssetPath, cfg.Assets); err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	if s.templates, err = newTemplates(cfg.Templates); err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	if cfg.Templates == nil { // those of this package are tried by its tests
		return s, nil
	}
	for _, sample := range Samples() {
		if _, err := s.Render(s.Language(), sample); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// newTemplates returns the templates of all pages. The default ones are parsed once for all Sets,
// since tests make many servers.
func newTemplates(overrides fs.FS) (map[string]*template.Template, error) {
	if overrides == nil {
		return defaultTemplates()
	}
	return parseTemplates(overrides)
}

var defaultTemplates = sync.OnceValues(func() (map[string]*template.Template, error) { return parseTemplates(nil) })

// parseTemplates parses the templates of all pages.
func parseTemplates(overrides fs.FS) (map[string]*template.Template, error) {
	read, err := reader("templates", overrides, ".html")
	if err != nil {
		return nil, err
	}
	shared := template.New("")
	for _, name := range []string{"layout.html", "parts.html"} {
		text, err := read(name)
		if err != nil {
			return nil, err
		}
		if _, err := shared.New(name).Parse(text); err != nil {
			return nil, fmt.Errorf("the template %s: %w", name, err)
		}
	}
	parsed := map[string]*template.Template{}
	for _, sample := range Samples() {
		name := sample.page().template
		if parsed[name] != nil {
			continue
		}
		text, err := read(name + ".html")
		if err != nil {
			return nil, err
		}
		t, err := shared.Clone()
		if err != nil {
			return nil, err
		}
		if _, err := t.New("content").Parse(text); err != nil {
			return nil, fmt.Errorf("the template %s.html: %w", name, err)
		}
		parsed[name] = t.Lookup("layout.html")
	}
	return parsed, nil
}

// reader returns a function that reads a file of a directory of this package, or the one with the
// same name that replaces it. It is an error if a file of one of the given types replaces none.
func reader(dir string, overrides fs.FS, types ...string) (func(name string) (string, error), error) {
	builtin, err := fs.Sub(files, dir)
	if err != nil {
		return nil, err
	}
	if overrides != nil {
		entries, err := fs.ReadDir(overrides, ".")
		if err != nil {
			return nil, fmt.Errorf("reading the %s: %w", dir, err)
		}
		for _, e := range entries {
			if !slices.Contains(types, path.Ext(e.Name())) {
				continue
			}
			if _, err := fs.Stat(builtin, e.Name()); err != nil {
				return nil, fmt.Errorf("no page uses %s among the %s", e.Name(), dir)
			}
		}
	}
	return func(name string) (string, error) {
		if overrides != nil {
			b, err := fs.ReadFile(overrides, name)
			if !errors.Is(err, fs.ErrNotExist) {
				return string(b), err
			}
		}
		b, err := fs.ReadFile(builtin, name)
		return string(b), err
	}, nil
}

// Render makes the HTML of a page in a language.
func (s *Set) Render(l Language, c Content) ([]byte, error) {
	kind := c.page()
	p := &Page{
		Lang: l.tag.String(), Dir: direction(l.tag), Service: s.service, Script: kind.script, Wide: kind.wide, Content: c,
		set: s, language: l,
	}
	if kind.title != "" {
		p.Title = l.Text(kind.title)
	}
	if titled, ok := c.(interface{ title(Language) string }); ok {
		p.Title = titled.title(l)
	}
	if c, ok := c.(interface{ problem() string }); ok && c.problem() != "" {
		p.Title = l.Text("page.problem", p.Title) // which is what a screen reader says first
	}
	var out bytes.Buffer
	if err := s.templates[kind.template].Execute(&out, p); err != nil {
		return nil, fmt.Errorf("pages: %s: %w", kind.template, err)
	}
	return out.Bytes(), nil
}

// Page is what templates are executed with.
type Page struct {
	// Lang is the language of the page as a BCP 47 tag, and Dir the direction of its script, "ltr" or
	// "rtl".
	Lang, Dir string
	// Title is the title of the page, in its language.
	Title string
	// Service says who runs the server.
	Service Service
	// Script is the name of the asset that the page runs as a script, if any.
	Script string
	// Wide is set on pages with much to read.
	Wide bool
	// Content is what is particular to the page, such as a [SignIn].
	Content any

	set      *Set
	language Language
}

// Asset returns the URL path of an asset, such as style.css.
func (p *Page) Asset(name string) (string, error) { return p.set.assets.path(name) }

// T returns a text in the language of the page. It is an error if there is no such text.
func (p *Page) T(key string, args ...any) (string, error) {
	if !p.set.texts.has(key) {
		return "", fmt.Errorf("there is no text %q", key)
	}
	return p.language.Text(key, args...), nil
}

// H returns a text in which some arguments are HTML, such as those of [Page.Strong]. The text
// itself, and arguments of other types, are escaped.
func (p *Page) H(key string, args ...any) (template.HTML, error) {
	plain := slices.Clone(args)
	var pieces []template.HTML
	for i, arg := range args {
		switch arg := arg.(type) {
		case template.HTML:
			pieces = append(pieces, arg)
		case string:
			pieces = append(pieces, template.HTML(template.HTMLEscapeString(arg))) //nolint:gosec // escaped
		default:
			continue // a number, which may choose a plural form
		}
		plain[i] = string(rune(firstMark + len(pieces) - 1))
	}
	text, err := p.T(key, plain...)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, r := range text {
		if i := int(r) - firstMark; i >= 0 && i < len(pieces) {
			out.WriteString(string(pieces[i]))
		} else {
			out.WriteString(template.HTMLEscapeString(string(r)))
		}
	}
	return template.HTML(out.String()), nil //nolint:gosec // built from escaped pieces
}

// firstMark is the first of the characters that stand for HTML while a text is formatted. They are
// of the private use area, and no text of a catalogue has one.
const firstMark = 0xE000

// Strong returns a text in bold. It may be written in either direction.
func (p *Page) Strong(text string) template.HTML { return strong(text) }

func strong(text string) template.HTML {
	return template.HTML("<strong><bdi>" + template.HTMLEscapeString(text) + "</bdi></strong>") //nolint:gosec // escaped
}

// Link returns a link whose text is one of the catalogue.
func (p *Page) Link(url, key string) (template.HTML, error) {
	text, err := p.T(key)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = linkTemplate.Execute(&out, struct{ URL, Text string }{url, text})
	return template.HTML(out.String()), err //nolint:gosec // a template has made it
}

var linkTemplate = template.Must(template.New("link").Parse(`<a href="{{.URL}}">{{.Text}}</a>`))

// With returns a copy of the page whose Content is a part of it, for templates of parts.
func (p *Page) With(part any) *Page {
	q := *p
	q.Content = part
	return &q
}

// Language is a language of a page.
type Language struct {
	tag     language.Tag
	printer *message.Printer
	set     *texts
}

// Tag returns the language as a BCP 47 tag.
func (l Language) Tag() language.Tag { return l.tag }

// Text returns a text of the catalogue. A key that the catalogue lacks is returned as it is, which
// a test of this package rules out.
func (l Language) Text(key string, args ...any) string {
	if !l.set.has(key) {
		return key
	}
	return l.printer.Sprintf(key, args...)
}

// Language returns the language that suits somebody best. Preferences are lists of BCP 47 tags, or
// values of Accept-Language headers (RFC 9110, section 12.5.4), the strongest first. What can't be
// parsed is left out. Without a preference that can be met it is English.
func (s *Set) Language(preferences ...string) Language { return s.texts.match(preferences) }

// Languages returns the languages that there are texts in, as BCP 47 tags, English first.
func (s *Set) Languages() []string {
	all := make([]string, len(s.texts.tags))
	for i, tag := range s.texts.tags {
		all[i] = tag.String()
	}
	return all
}

// Sign returns what stands for somebody's picture: the first letter of a name.
func Sign(name string) string {
	for _, r := range name {
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			return string(unicode.ToUpper(r))
		}
	}
	return "•"
}

// direction returns the direction of the script of a language.
func direction(t language.Tag) string {
	script, _ := t.Script()
	switch script.String() {
	case "Arab", "Hebr", "Syrc", "Thaa", "Nkoo", "Adlm", "Rohg":
		return "rtl"
	}
	return "ltr"
}
