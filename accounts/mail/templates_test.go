package mail

import (
	"errors"
	"html"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

var testData = Data{
	To: "alice@example.org", Handle: "alice.pds.example.com", ServiceName: "Example PDS",
	Code: "ABCDE-FGHIJ", Expires: 15 * time.Minute,
}

func defaultTemplates(t testing.TB) *Templates {
	t.Helper()
	templates, err := NewTemplates(nil)
	if err != nil {
		t.Fatal(err)
	}
	return templates
}

func TestDefaultMails(t *testing.T) {
	templates := defaultTemplates(t)
	for kind, subject := range map[Kind]string{
		ResetPassword: "Reset your Example PDS password",
		DeleteAccount: "Delete your Example PDS account",
		ConfirmEmail:  "Confirm your e-mail address for Example PDS",
		UpdateEmail:   "Change your e-mail address at Example PDS",
		PLCOperation:  "Change the identity of your Example PDS account",
		SignIn:        "Your Example PDS sign-in code",
	} {
		m, err := templates.Render(kind, testData)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if m.Subject != subject || m.To != testData.To || m.Code != testData.Code {
			t.Errorf("%s: subject %q to %s with code %s", kind, m.Subject, m.To, m.Code)
		}
		if strings.Contains(m.Subject, testData.Code) {
			t.Errorf("%s: the code shows on locked screens", kind)
		}
		if !strings.Contains(m.Text, "\n"+testData.Code+"\n") {
			t.Errorf("%s: the code has no line of its own:\n%s", kind, m.Text)
		}
		if !strings.Contains(m.HTML, ">"+testData.Code+"</p>") || !strings.Contains(m.HTML, "monospace") {
			t.Errorf("%s: the code doesn't stand out:\n%s", kind, m.HTML)
		}
		for _, body := range []string{m.Text, m.HTML} {
			for _, part := range []string{testData.Handle, testData.ServiceName, "15 minutes"} {
				if !strings.Contains(body, part) {
					t.Errorf("%s: no %q in\n%s", kind, part, body)
				}
			}
			if strings.Contains(body, "<no value>") || strings.Contains(body, "http") || strings.Contains(body, "<script") || strings.Contains(body, "<img") {
				t.Errorf("%s: something is missing or fetched from elsewhere:\n%s", kind, body)
			}
		}
	}
}

func TestNotice(t *testing.T) {
	templates := defaultTemplates(t)
	d := testData
	d.Code, d.Subject, d.Body = "", "About your account", "First line\n<b>second</b> line"
	m, err := templates.Render(Notice, d)
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != d.Subject || !strings.Contains(m.Text, d.Body) || !strings.Contains(m.HTML, "First line\n&lt;b&gt;second") {
		t.Errorf("%+v", m)
	}
	d.Subject = ""
	if m, err = templates.Render(Notice, d); err != nil || m.Subject != "A message from Example PDS" {
		t.Errorf("without a subject: %q, %v", m.Subject, err)
	}
}

func TestMinutesAreRoundedUp(t *testing.T) {
	for d, want := range map[time.Duration]int{15 * time.Minute: 15, 90 * time.Second: 2, time.Second: 1, time.Hour: 60} {
		if got := (Data{Expires: d}).Minutes(); got != want {
			t.Errorf("%v: %d; want %d", d, got, want)
		}
	}
}

func TestDataCantInject(t *testing.T) {
	templates := defaultTemplates(t)
	d := testData
	d.Handle, d.ServiceName = "<script>alert(1)</script>", `"><img src=x>`
	m, err := templates.Render(ResetPassword, d)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(m.HTML, "<script") || strings.Contains(m.HTML, "<img") {
		t.Errorf("not escaped:\n%s", m.HTML)
	}
	for name, change := range map[string]func(*Data){
		"OldEmail":    func(d *Data) { d.OldEmail = "a@b.c\r\nBcc: d@e.f" },
		"NewEmail":    func(d *Data) { d.NewEmail = "a@b.c\nx" },
		"To":          func(d *Data) { d.To = "a@b.c\r\nBcc: d@e.f" },
		"Handle":      func(d *Data) { d.Handle = "x\ny" },
		"ServiceName": func(d *Data) { d.ServiceName = "x\r\nBcc: d@e.f" },
		"Subject":     func(d *Data) { d.Subject = "x\r\nBcc: d@e.f" },
		"Body":        func(d *Data) { d.Body = "x\x00y" },
	} {
		d := testData
		d.Code = ""
		change(&d)
		if m, err := templates.Render(Notice, d); !errors.Is(err, ErrInvalidData) || m != (Message{}) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	d = testData
	d.Code = "x\ny"
	if m, err := templates.Render(SignIn, d); !errors.Is(err, ErrInvalidData) || m != (Message{}) {
		t.Errorf("Code: %v, %v", m, err)
	}
}

// noticeData has everything that notices use.
var noticeData = Data{
	To: "alice@example.org", Handle: "alice.pds.example.com", ServiceName: "Example PDS",
	When:        time.Date(2026, 3, 4, 16, 6, 7, 0, time.FixedZone("CET", 3600)),
	DeleteAfter: time.Date(2026, 3, 7, 15, 6, 7, 0, time.UTC),
	OldEmail:    "alice@example.org", NewEmail: "bob@example.net", On: true, Name: "phone",
}

func TestNotices(t *testing.T) {
	templates := defaultTemplates(t)
	off, first := noticeData, noticeData
	off.On, first.OldEmail = false, ""
	const when, deletion = "4 March 2026 at 15:06 UTC", "7 March 2026 at 15:06 UTC"
	tested := map[Kind]bool{}
	for _, c := range []struct {
		kind    Kind
		data    Data
		subject string
		parts   []string
	}{
		{PasswordChanged, noticeData, "Your Example PDS password was changed", []string{when, "password reset"}},
		{EmailChanged, noticeData, "The e-mail address of your Example PDS account was changed",
			[]string{when, "from a…@example.org to b…@example.net", "set your address again"}},
		{EmailChanged, first, "The e-mail address of your Example PDS account was changed", []string{"was changed to b…@example.net"}},
		{FactorChanged, noticeData, "Sign-in codes were switched on for your Example PDS account",
			[]string{when, "also takes a code", "change your password"}},
		{FactorChanged, off, "Sign-in codes were switched off for your Example PDS account",
			[]string{when, "password alone", "change your password", "switch the codes on again"}},
		{AppPasswordCreated, noticeData, "A new app password for your Example PDS account",
			[]string{when, "“phone”", "change your password", "revoke"}},
		{AccountDeactivated, noticeData, "Your Example PDS account was deactivated", []string{when, "activate your account again"}},
		{DeletionScheduled, noticeData, "Your Example PDS account is going to be deleted",
			[]string{when, deletion, "log in with your password", "change your password"}},
		{DeletionReminder, noticeData, "Your Example PDS account will be deleted soon",
			[]string{deletion, "log in with your password", "change your password"}},
		{PLCOperationSigned, noticeData, "A change to the identity of your Example PDS account was signed",
			[]string{when, "contact the people who run Example PDS", "change your password"}},
		{KeysChanged, noticeData, "The keys of your Example PDS account were changed",
			[]string{when, "people who run Example PDS", "change your password"}},
	} {
		tested[c.kind] = true
		m, err := templates.Render(c.kind, c.data)
		if err != nil {
			t.Errorf("%s: %v", c.kind, err)
			continue
		}
		if m.Kind != c.kind || m.Subject != c.subject || m.To != noticeData.To || m.Code != "" {
			t.Errorf("%s: subject %q to %s, as %s with code %q", c.kind, m.Subject, m.To, m.Kind, m.Code)
		}
		for _, body := range []string{m.Text, m.HTML} {
			for _, part := range append(c.parts, noticeData.Handle, noticeData.ServiceName) {
				if !strings.Contains(body, part) {
					t.Errorf("%s: no %q in\n%s", c.kind, part, body)
				}
			}
			for _, part := range []string{"<no value>", "://", "href", "<img", "bob@", "within", "0001"} {
				if strings.Contains(body, part) {
					t.Errorf("%s: %q in\n%s", c.kind, part, body)
				}
			}
		}
		if text, page := paragraphs(m.Text), paragraphs(tags.ReplaceAllString(html.UnescapeString(m.HTML), "")); !strings.Contains(page, text) {
			t.Errorf("%s says something else in HTML:\n%s\n%s", c.kind, text, page)
		}
	}
	for _, kind := range Notices() {
		if !tested[kind] {
			t.Errorf("%s isn't tested", kind)
		}
	}
}

var tags = regexp.MustCompile(`<[^>]*>`)

// paragraphs returns a text without its line breaks and its last line, which is the signature.
func paragraphs(text string) string {
	lines := strings.Fields(strings.TrimSuffix(strings.TrimSpace(text), noticeData.ServiceName))
	return strings.Join(lines, " ")
}

func TestKinds(t *testing.T) {
	var names []string
	for _, kind := range Kinds() {
		names = append(names, string(kind)+".html", string(kind)+".txt")
		if notice := slices.Contains(Notices(), kind) || kind == Notice; notice == kind.HasCode() {
			t.Errorf("%s: code %t, notice %t", kind, kind.HasCode(), notice)
		}
	}
	if Kind("birthday").HasCode() || slices.Contains(Notices(), Notice) {
		t.Error("an unknown kind has a code, or an administrator's message is a notice")
	}
	names = append(names, "layout.html", "page.html", "page.txt")
	slices.Sort(names)
	var have []string
	entries, err := defaults.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if !slices.Equal(names, have) {
		t.Errorf("templates of\n%q\nfor kinds with\n%q", have, names)
	}
}

// TestNamesCantInject gives app passwords names by which a thief could write to the owner of an
// account in the name of the server.
func TestNamesCantInject(t *testing.T) {
	templates := defaultTemplates(t)
	for name, want := range map[string]string{
		"phone":         "phone",
		"Алисин 📱":      "Алисин 📱",
		"a\r\nBcc: b@c": "a Bcc b c",
		"\x00\x1b[31m":  "[31m",
		"\n\t\u2028":    "…",
		"phone”\n\nYour account is at risk: go to https://evil.example/login": "phone” Your account is at risk go to https evil.example login",
		"phone\u202egpj\u200b":    "phonegpj",
		"a\xffb":                  "a\ufffdb",
		strings.Repeat("é", 64):   strings.Repeat("é", 64),
		strings.Repeat("é ", 128): strings.Repeat("é ", 32) + "…",
	} {
		d := noticeData
		d.Name = name
		m, err := templates.Render(AppPasswordCreated, d)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if !strings.Contains(m.Text, "name “"+want+"” was made") || !strings.Contains(m.HTML, "name “"+want+"” was made") {
			t.Errorf("%q: no %q in\n%s\n%s", name, want, m.Text, m.HTML)
		}
	}
	d := noticeData
	d.Name = `<script>alert("hi")<img src=x>`
	if m, err := templates.Render(AppPasswordCreated, d); err != nil || strings.Contains(m.HTML, "<script") || strings.Contains(m.HTML, "<img") {
		t.Errorf("not escaped: %v\n%s", err, m.HTML)
	}
	overridden, err := NewTemplates(files(map[string]string{"app_password_created.txt": "New: {{.Name}}\n\nHello"}))
	if err != nil {
		t.Fatal(err)
	}
	d.Name = "my\nphone"
	if m, err := overridden.Render(AppPasswordCreated, d); err != nil || m.Subject != "New: my phone" {
		t.Errorf("in a subject: %q, %v", m.Subject, err)
	}
}

func TestMaskedAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"bob@example.com": "b…@example.com", "b@example.com": "b…@example.com", "éric@example.com": "é…@example.com",
		"@example.com": "…", "bob": "…", "": "…",
	} {
		d := Data{OldEmail: address, NewEmail: address}
		if d.MaskedOldEmail() != want || d.MaskedNewEmail() != want {
			t.Errorf("%q: %q, %q; want %q", address, d.MaskedOldEmail(), d.MaskedNewEmail(), want)
		}
	}
}

func TestWhatAKindNeeds(t *testing.T) {
	templates := defaultTemplates(t)
	for _, kind := range Kinds() {
		d := noticeData
		if !kind.HasCode() {
			d.Code = "ABCDE-FGHIJ"
		}
		if _, err := templates.Render(kind, d); !errors.Is(err, ErrInvalidData) {
			t.Errorf("%s, with a code %q: %v", kind, d.Code, err)
		}
	}
	for _, kind := range Notices() {
		d := noticeData
		d.When = time.Time{}
		if _, err := templates.Render(kind, d); errors.Is(err, ErrInvalidData) != (kind != DeletionReminder) {
			t.Errorf("%s, without the time: %v", kind, err)
		}
		d = noticeData
		d.DeleteAfter = time.Time{}
		deletion := kind == DeletionScheduled || kind == DeletionReminder
		if _, err := templates.Render(kind, d); errors.Is(err, ErrInvalidData) != deletion {
			t.Errorf("%s, without the time of the deletion: %v", kind, err)
		}
	}
}

func TestUnknownKind(t *testing.T) {
	if _, err := defaultTemplates(t).Render("birthday", testData); err == nil {
		t.Error("no error")
	}
}

func files(contents map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, s := range contents {
		m[name] = &fstest.MapFile{Data: []byte(s)}
	}
	return m
}

func TestOverrides(t *testing.T) {
	templates, err := NewTemplates(files(map[string]string{
		"reset_password.txt": "{{.ServiceName}}: hi\n\n{{.Code}}\n",
		"layout.html":        `<html lang="de"><body>{{template "body" .}}</body></html>{{define "code"}}<code>{{.Code}}</code>{{end}}`,
		"README.md":          "not a template",
	}))
	if err != nil {
		t.Fatal(err)
	}
	m, err := templates.Render(ResetPassword, testData)
	if err != nil || m.Subject != "Example PDS: hi" || m.Text != "ABCDE-FGHIJ\n" {
		t.Errorf("%q, %q, %v", m.Subject, m.Text, err)
	}
	if !strings.HasPrefix(m.HTML, `<html lang="de">`) || !strings.Contains(m.HTML, "<code>ABCDE-FGHIJ</code>") {
		t.Errorf("the layout isn't used:\n%s", m.HTML)
	}
	if m, err = templates.Render(DeleteAccount, testData); err != nil || m.Subject != "Delete your Example PDS account" {
		t.Errorf("not overridden: %q, %v", m.Subject, err)
	}
}

func TestBadOverridesShowAtStart(t *testing.T) {
	for name, c := range map[string]struct{ file, content, hint string }{
		"text syntax":     {"sign_in.txt", "Subject\n{{.Code", "sign_in.txt"},
		"html syntax":     {"sign_in.html", "{{if}}", "sign_in.html"},
		"layout syntax":   {"layout.html", "{{end}}", "layout.html"},
		"unknown field":   {"sign_in.txt", "Subject\n{{.Code}} {{.Password}}", "Password"},
		"no code in text": {"sign_in.txt", "Subject\nHello", "code"},
		"no code in html": {"sign_in.html", "<p>Hello</p>", "code"},
		"no body":         {"layout.html", "<html></html>", "code"},
		"no subject":      {"sign_in.txt", "\n\n{{.Code}}", "subject"},
		"code in notice":  {"keys_changed.txt", "Subject\n{{.Code}}", "none"},
		"one branch":      {"factor_changed.html", "{{if not .On}}{{.Off}}{{end}}", "Off"},
		"misspelt name":   {"signin.txt", "Subject\n{{.Code}}", "signin.txt"},
	} {
		if _, err := NewTemplates(files(map[string]string{c.file: c.content})); err == nil || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("%s: %v; want a word on %q", name, err, c.hint)
		}
	}
}
