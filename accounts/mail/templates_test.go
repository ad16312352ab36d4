package mail

import (
	"io/fs"
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
		"To":          func(d *Data) { d.To = "a@b.c\r\nBcc: d@e.f" },
		"Handle":      func(d *Data) { d.Handle = "x\ny" },
		"ServiceName": func(d *Data) { d.ServiceName = "x\r\nBcc: d@e.f" },
		"Code":        func(d *Data) { d.Code = "x\ny" },
		"Subject":     func(d *Data) { d.Subject = "x\r\nBcc: d@e.f" },
		"Body":        func(d *Data) { d.Body = "x\x00y" },
	} {
		d := testData
		change(&d)
		if m, err := templates.Render(Notice, d); err == nil || m != (Message{}) {
			t.Errorf("%s: %v, %v", name, m, err)
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
		"misspelt name":   {"signin.txt", "Subject\n{{.Code}}", "signin.txt"},
	} {
		if _, err := NewTemplates(files(map[string]string{c.file: c.content})); err == nil || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("%s: %v; want a word on %q", name, err, c.hint)
		}
	}
}
