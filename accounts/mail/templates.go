package mail

import (
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"math"
	"path"
	"strings"
	"sync"
	texttemplate "text/template"
	"time"
	"unicode"
)

// Kind is what an e-mail is for. Its codes are good for nothing else.
type Kind string

// The kinds of e-mail.
const (
	ResetPassword Kind = "reset_password"
	DeleteAccount Kind = "delete_account"
	ConfirmEmail  Kind = "confirm_email"
	UpdateEmail   Kind = "update_email"
	PLCOperation  Kind = "plc_operation"
	SignIn        Kind = "sign_in"
	// Notice is a message of the server's administrators, without a code.
	Notice Kind = "notice"
)

var kinds = []Kind{ResetPassword, DeleteAccount, ConfirmEmail, UpdateEmail, PLCOperation, SignIn, Notice}

// Data is what a template can name.
type Data struct {
	// To is the recipient's address.
	To string
	// Handle is the account's.
	Handle string
	// ServiceName is what the server calls itself.
	ServiceName string
	// Code is to be copied by the recipient.
	Code string
	// Expires is how long the code is good for.
	Expires time.Duration
	// Subject and Body are those of a [Notice].
	Subject, Body string
}

// Minutes is Expires in minutes, rounded up.
func (d Data) Minutes() int { return int(math.Ceil(d.Expires.Minutes())) }

//go:embed templates
var defaults embed.FS

// Templates makes messages. For each kind there are KIND.txt, whose first line is the subject
// and the rest the text, and KIND.html; the HTML ones are bodies for layout.html.
type Templates struct {
	text map[Kind]*texttemplate.Template
	html map[Kind]*htmltemplate.Template
}

// NewTemplates returns the default templates, with those files in their place
// that overrides has (a nil overrides has none). A mistake in one shows here rather than when
// a mail is due: each is tried once, codes have to appear in both bodies, and a .txt or .html file
// in overrides whose name means nothing is an error.
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
	layout, err := read("layout.html")
	if err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	t := &Templates{map[Kind]*texttemplate.Template{}, map[Kind]*htmltemplate.Template{}}
	for _, kind := range kinds {
		text, err := read(string(kind) + ".txt")
		if err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
		if t.text[kind], err = texttemplate.New(string(kind) + ".txt").Parse(text); err != nil {
			return nil, fmt.Errorf("mail: %w", err)
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
		m, err := t.Render(kind, Data{
			To: "to@example.com", Handle: "handle.example.com", ServiceName: "Service", Code: "ABCDE-FGHIJ",
			Expires: time.Hour, Subject: "Subject", Body: "Body",
		})
		if err != nil {
			return nil, err
		}
		if kind != Notice && (!strings.Contains(m.Text, "ABCDE-FGHIJ") || !strings.Contains(m.HTML, "ABCDE-FGHIJ")) {
			return nil, fmt.Errorf("mail: the templates of %s don't show the code", kind)
		}
	}
	return t, nil
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
			return fmt.Errorf("mail: no e-mail uses a template %s: there are layout.html, and .txt and .html of %q", e.Name(), kinds)
		}
	}
	return nil
}

// ErrInvalidData says that no message can be made of some data.
var ErrInvalidData = errors.New("mail: invalid data")

// Render makes the message of a kind. Control characters in the data, but for line
// breaks and tabs in Body, and a subject without text are an [ErrInvalidData].
func (t *Templates) Render(kind Kind, d Data) (Message, error) {
	if t.text[kind] == nil {
		return Message{}, fmt.Errorf("mail: no template for %q", kind)
	}
	for _, field := range []string{d.To, d.Handle, d.ServiceName, d.Code, d.Subject} {
		if strings.ContainsFunc(field, unicode.IsControl) {
			return Message{}, fmt.Errorf("%w: for %s, a control character in %q", ErrInvalidData, kind, field)
		}
	}
	if strings.ContainsFunc(d.Body, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\r\n\t", r) }) {
		return Message{}, fmt.Errorf("%w: the body of %s has a control character", ErrInvalidData, kind)
	}
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
	return Message{To: d.To, Subject: subject, Text: strings.TrimLeft(body, "\n"), HTML: html.String(), Code: d.Code}, nil
}
