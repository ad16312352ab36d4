package mail

import (
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"
	"sync"
	texttemplate "text/template"
	"time"
	"unicode"
	"unicode/utf8"
)

// Data is what a template can name.
type Data struct {
	// To is the recipient's address.
	To string
	// Handle is the account's.
	Handle string
	// ServiceName is what the server calls itself.
	ServiceName string
	// Code is to be copied by the recipient; see [Kind.HasCode].
	Code string
	// Page is the URL of a page where the recipient enters the code; see [CheckPage]. Without one
	// the code is entered in the app that asked for it, and the message has no link.
	Page string
	// Expires is how long the code is good for.
	Expires time.Duration
	// Subject and Body are those of a [Notice].
	Subject, Body string

	// When is the time at which what a notice tells of happened. All of [Notices] but
	// [DeletionReminder] need it.
	When time.Time
	// DeleteAfter is the time from which the account may be deleted, for [DeletionScheduled] and
	// [DeletionReminder].
	DeleteAfter time.Time
	// OldEmail and NewEmail are the account's addresses before and after [EmailChanged]. Without an
	// OldEmail the account had none. The default templates show neither in full, since the message
	// goes to both, and one of them may be a stranger's.
	OldEmail, NewEmail string
	// On says what a [FactorChanged] did: switch sign-in codes on, or off.
	On bool
	// Name is that of the app password of [AppPasswordCreated]. It may be any text; templates see
	// it in one line of 64 characters at most, without control characters and without the marks of
	// which URLs are made (: / \ @).
	Name string
}

// Minutes is Expires in minutes, rounded up.
func (d Data) Minutes() int { return int(math.Ceil(d.Expires.Minutes())) }

// WhenUTC is When as people write it, in UTC.
func (d Data) WhenUTC() string { return timeText(d.When) }

// DeleteAfterUTC is DeleteAfter as people write it, in UTC.
func (d Data) DeleteAfterUTC() string { return timeText(d.DeleteAfter) }

// MaskedOldEmail is OldEmail with no more than the first letter of what comes before the @.
func (d Data) MaskedOldEmail() string { return masked(d.OldEmail) }

// MaskedNewEmail is NewEmail, masked in the same way.
func (d Data) MaskedNewEmail() string { return masked(d.NewEmail) }

//go:embed templates
var defaults embed.FS

// Templates makes messages. For each kind there are KIND.txt, whose first line is the subject
// and the rest the text, and KIND.html; the HTML ones are bodies for layout.html. Those of kinds
// with a code include page.txt and page.html by {{template "page" .}}, which say where to enter the
// code.
type Templates struct {
	text map[Kind]*texttemplate.Template
	html map[Kind]*htmltemplate.Template
}

// NewTemplates returns the default templates, with those files in their place that overrides has (a
// nil overrides has none). A mistake in one shows here rather than when a mail is due: each is
// tried, codes have to appear in both bodies of the kinds that have one and in none of the others,
// and a .txt or .html file in overrides whose name means nothing is an error.
func NewTemplates(overrides fs.FS) (*Templates, error) {
	if overrides == nil {
		return builtinTemplates()
	}
	return newTemplates(overrides)
}

// builtinTemplates are parsed once: servers in tests start often.
var builtinTemplates = sync.OnceValues(func() (*Templates, error) { return newTemplates(nil) })

func newTemplates(overrides fs.FS) (*Templates, error) {
	builtin, err := fs.Sub(defaults, "templates")
	if err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	if err := checkNames(overrides, builtin); err != nil {
		return nil, err
	}
	read := func(name string) (string, error) {
		if overrides != nil {
			b, err := fs.ReadFile(overrides, name)
			if !errors.Is(err, fs.ErrNotExist) {
				return string(b), err
			}
		}
		b, err := fs.ReadFile(builtin, name)
		return string(b), err
	}
	var shared [3]string
	for i, name := range []string{"layout.html", "page.html", "page.txt"} {
		if shared[i], err = read(name); err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
	}
	layout, pageHTML, pageText := shared[0], shared[1], shared[2]
	t := &Templates{map[Kind]*texttemplate.Template{}, map[Kind]*htmltemplate.Template{}}
	for _, kind := range Kinds() {
		text, err := read(string(kind) + ".txt")
		if err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
		if t.text[kind], err = texttemplate.New(string(kind) + ".txt").Parse(text); err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
		if t.text[kind].Lookup("page") == nil { // a template may define its own
			if _, err = t.text[kind].New("page").Parse(pageText); err != nil {
				return nil, fmt.Errorf("mail: page.txt: %w", err)
			}
		}
		body, err := read(string(kind) + ".html")
		if err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
		if t.html[kind], err = htmltemplate.New("layout.html").Parse(layout); err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
		if _, err = t.html[kind].New("body").Parse(body); err != nil {
			return nil, fmt.Errorf("mail: %s.html: %w", kind, err)
		}
		if t.html[kind].Lookup("page") == nil {
			if _, err = t.html[kind].New("page").Parse(pageHTML); err != nil {
				return nil, fmt.Errorf("mail: page.html: %w", err)
			}
		}
		if err := t.try(kind); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// try renders the e-mails of a kind, with both outcomes of what its templates can ask about.
func (t *Templates) try(kind Kind) error {
	d := Data{
		To: "to@example.com", Handle: "handle.example.com", ServiceName: "Service", Code: "ABCDE-FGHIJ",
		Expires: time.Hour, Subject: "Subject", Body: "Body", When: time.Unix(0, 0), DeleteAfter: time.Unix(0, 0),
		OldEmail: "old@example.com", NewEmail: "new@example.com", On: true, Name: "Name",
	}
	if kind.HasCode() {
		d.Page = "https://example.com/page"
	}
	bare := d
	bare.Page, bare.Subject, bare.OldEmail, bare.On = "", "", "", false
	for _, d := range []Data{d, bare} {
		m, err := t.render(kind, d)
		if err != nil {
			return err
		}
		for _, body := range []string{m.Text, m.HTML} {
			switch shown := strings.Contains(body, d.Code); {
			case kind.HasCode() && !shown:
				return fmt.Errorf("mail: the templates of %s don't show the code", kind)
			case !kind.HasCode() && shown:
				return fmt.Errorf("mail: the templates of %s show a code, and there is none in such an e-mail", kind)
			}
		}
	}
	return nil
}

// checkNames refuses overrides that would never be used, such as misspelt ones.
func checkNames(overrides, builtin fs.FS) error {
	if overrides == nil {
		return nil
	}
	entries, err := fs.ReadDir(overrides, ".")
	if err != nil {
		return fmt.Errorf("mail: reading the templates: %w", err)
	}
	for _, e := range entries {
		if ext := path.Ext(e.Name()); ext != ".txt" && ext != ".html" {
			continue
		}
		if _, err := fs.Stat(builtin, e.Name()); err != nil {
			return fmt.Errorf("mail: no e-mail uses a template %s: there are layout.html, and .txt and .html of page and of %q", e.Name(), Kinds())
		}
	}
	return nil
}

// ErrInvalidData says that no message can be made of some data.
var ErrInvalidData = errors.New("mail: invalid data")

// Render makes the message of a kind. It is an [ErrInvalidData] if the data holds control
// characters (but for line breaks and tabs in Body, and for Name), if there is no code for a kind
// that has one or a code for another, if [CheckPage] refuses the page, if a notice lacks one of its
// times, or if the subject is empty.
func (t *Templates) Render(kind Kind, d Data) (Message, error) {
	if t.text[kind] == nil {
		return Message{}, fmt.Errorf("mail: no template for %q", kind)
	}
	if err := d.check(kind); err != nil {
		return Message{}, err
	}
	return t.render(kind, d)
}

// check refuses data of which no message of a kind can be made.
func (d Data) check(kind Kind) error {
	for _, field := range []string{d.To, d.Handle, d.ServiceName, d.Code, d.Subject, d.OldEmail, d.NewEmail} {
		if strings.ContainsFunc(field, unicode.IsControl) {
			return fmt.Errorf("%w: for %s, a control character in %q", ErrInvalidData, kind, field)
		}
	}
	if d.Page != "" {
		if err := CheckPage(kind, d.Page); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalidData, err)
		}
	}
	deletion := kind == DeletionScheduled || kind == DeletionReminder
	switch {
	case strings.ContainsFunc(d.Body, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\r\n\t", r) }):
		return fmt.Errorf("%w: the body of %s has a control character", ErrInvalidData, kind)
	case kind.HasCode() && d.Code == "":
		return fmt.Errorf("%w: there is no code for %s", ErrInvalidData, kind)
	case !kind.HasCode() && d.Code != "":
		return fmt.Errorf("%w: there is a code for %s, which has none", ErrInvalidData, kind)
	case slices.Contains(notices, kind) && kind != DeletionReminder && d.When.IsZero():
		return fmt.Errorf("%w: %s doesn't know when it happened", ErrInvalidData, kind)
	case deletion && d.DeleteAfter.IsZero():
		return fmt.Errorf("%w: %s doesn't know the time of the deletion", ErrInvalidData, kind)
	}
	return nil
}

func (t *Templates) render(kind Kind, d Data) (Message, error) {
	d.Name = harmless(d.Name)
	var text, html strings.Builder
	if err := t.text[kind].Execute(&text, d); err != nil {
		return Message{}, fmt.Errorf("mail: %w", err)
	}
	if err := t.html[kind].Execute(&html, d); err != nil {
		return Message{}, fmt.Errorf("mail: %w", err)
	}
	subject, body, _ := strings.Cut(text.String(), "\n")
	subject = strings.TrimSpace(subject)
	if subject == "" || strings.ContainsFunc(subject, unicode.IsControl) {
		return Message{}, fmt.Errorf("%w: the subject of %s is no single line of text", ErrInvalidData, kind)
	}
	return Message{
		Kind: kind, To: d.To, Subject: subject, Text: strings.TrimLeft(body, "\n"), HTML: html.String(), Code: d.Code,
	}, nil
}

// timeText shows a time to the minute.
func timeText(t time.Time) string { return t.UTC().Format("2 January 2006 at 15:04 UTC") }

// masked shows enough of an address for its owner to recognise it, and too little to write to it.
func masked(address string) string {
	user, domain, ok := strings.Cut(address, "@")
	if !ok || user == "" {
		return "…"
	}
	_, size := utf8.DecodeRuneInString(user)
	return user[:size] + "…@" + domain
}

// maxName is how many characters of a name are shown.
const maxName = 64

// harmless makes one short line of a name. Otherwise whoever is signed in to an account could write
// its owner a letter in the name of the server, with a link in it.
func harmless(name string) string {
	if name == "" {
		return ""
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r): // such as those that turn the direction of writing
			return -1
		case !unicode.IsPrint(r), strings.ContainsRune(`:/\@`, r):
			return ' '
		}
		return r
	}, name)
	name = strings.Join(strings.Fields(name), " ")
	switch runes := []rune(name); {
	case len(runes) == 0:
		return "…"
	case len(runes) > maxName:
		return string(runes[:maxName]) + "…"
	}
	return name
}
