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

// Data is what templates can refer to.
type Data struct {
	// To is the recipient's address.
	To string
	// Handle is the handle of the account.
	Handle string
	// ServiceName is the name of the server.
	ServiceName string
	// Code is the code that the recipient enters; see [Kind.HasCode].
	Code string
	// Page is the URL of a page where the recipient enters the code; see [CheckPage]. Without a
	// Page the message has no link, and tells the recipient to enter the code in the app that asked
	// for it.
	Page string
	// Expires is how long the code is valid.
	Expires time.Duration
	// Subject and Body are the subject and the text of a [Notice].
	Subject, Body string

	// When is the time of the event that a notice reports. It is required for all [Notices] except
	// [DeletionReminder].
	When time.Time
	// DeleteAfter is the time from which the account may be deleted, for [DeletionScheduled] and
	// [DeletionReminder].
	DeleteAfter time.Time
	// OldEmail and NewEmail are the addresses of the account before and after [EmailChanged].
	// OldEmail is empty if the account had none. The default templates mask both, since the message
	// goes to both addresses, and one of them may be a stranger's.
	OldEmail, NewEmail string
	// On is true if [FactorChanged] reports that sign-in codes were switched on.
	On bool
	// Name is the name of the app password of [AppPasswordCreated]. It may be any text. Templates
	// get it as one line of at most 64 characters, without control characters and without the
	// characters that URLs consist of (: / \ @).
	Name string
}

// Minutes returns Expires in minutes, rounded up.
func (d Data) Minutes() int { return int(math.Ceil(d.Expires.Minutes())) }

// WhenUTC returns When in UTC, in a form for people.
func (d Data) WhenUTC() string { return timeText(d.When) }

// DeleteAfterUTC returns DeleteAfter in UTC, in a form for people.
func (d Data) DeleteAfterUTC() string { return timeText(d.DeleteAfter) }

// MaskedOldEmail returns OldEmail with only the first letter of the part before the @.
func (d Data) MaskedOldEmail() string { return masked(d.OldEmail) }

// MaskedNewEmail returns NewEmail, masked in the same way.
func (d Data) MaskedNewEmail() string { return masked(d.NewEmail) }

//go:embed templates
var defaults embed.FS

// Templates makes messages. For each kind of e-mail there are two templates. KIND.txt has the
// subject in its first line, and the text in the others. KIND.html is the body that layout.html
// includes. The templates of kinds with a code include page.txt and page.html by {{template "page"
// .}}, which say where to enter the code.
type Templates struct {
	text map[Kind]*texttemplate.Template
	html map[Kind]*htmltemplate.Template
}

// NewTemplates returns the default templates, of which the files in overrides replace those with
// the same names; overrides may be nil. So that mistakes show at once and not when an e-mail is
// due, each template is tried. It is an error if a template of a kind with a code doesn't show it
// in both bodies, if a template of another kind shows one, and if overrides has a .txt or .html
// file with a name that no e-mail uses.
func NewTemplates(overrides fs.FS) (*Templates, error) {
	if overrides == nil {
		return builtinTemplates()
	}
	return newTemplates(overrides)
}

// builtinTemplates parses the default templates once, since tests start many servers.
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

// try renders the e-mails of a kind with both outcomes of each condition in its templates.
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

// checkNames returns an error for an override that would never be used, such as a misspelled one.
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

// ErrInvalidData is returned when no message can be made from some data, which is a mistake of the
// caller. Clients are answered 500 InternalServerError.
var ErrInvalidData = errors.New("mail: invalid data")

// Render makes the message of a kind. It returns an [ErrInvalidData] if the data contains control
// characters (except line breaks and tabs in Body, and any in Name), if there is no code for a kind
// with a code or a code for another kind, if [CheckPage] doesn't accept the page, if a time that
// the kind needs is zero, or if the subject is empty.
func (t *Templates) Render(kind Kind, d Data) (Message, error) {
	if t.text[kind] == nil {
		return Message{}, fmt.Errorf("mail: no template for %q", kind)
	}
	if err := d.check(kind); err != nil {
		return Message{}, err
	}
	return t.render(kind, d)
}

// check returns an error if no message of a kind can be made from the data.
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
		return fmt.Errorf("%w: there is a code for %s, which doesn't have one", ErrInvalidData, kind)
	case slices.Contains(notices, kind) && kind != DeletionReminder && d.When.IsZero():
		return fmt.Errorf("%w: When is required for %s", ErrInvalidData, kind)
	case deletion && d.DeleteAfter.IsZero():
		return fmt.Errorf("%w: DeleteAfter is required for %s", ErrInvalidData, kind)
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
		return Message{}, fmt.Errorf("%w: the subject of %s is not a single line of text", ErrInvalidData, kind)
	}
	return Message{
		Kind: kind, To: d.To, Subject: subject, Text: strings.TrimLeft(body, "\n"), HTML: html.String(), Code: d.Code,
	}, nil
}

// timeText formats a time to the minute.
func timeText(t time.Time) string { return t.UTC().Format("2 January 2006 at 15:04 UTC") }

// masked returns enough of an address for its owner to recognize it, and too little to write to it.
func masked(address string) string {
	user, domain, ok := strings.Cut(address, "@")
	if !ok || user == "" {
		return "…"
	}
	_, size := utf8.DecodeRuneInString(user)
	return user[:size] + "…@" + domain
}

// maxName is the most characters of a name that are shown.
const maxName = 64

// harmless makes a name one short line. Otherwise somebody who is signed in to an account could
// send its owner a message of their own with a link in it, in the name of the server.
func harmless(name string) string {
	if name == "" {
		return ""
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r): // such as marks that change the direction of writing
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
