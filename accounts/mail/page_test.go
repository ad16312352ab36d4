package mail

import (
	"errors"
	"html"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const testPage = "https://pds.example.com/codes?lang=en&theme=dark"

func TestCheckPage(t *testing.T) {
	for _, page := range []string{
		"https://pds.example.com", "https://pds.example.com/", "http://localhost:2583/reset", testPage, "https://pds.example.com/a%20b;c='d'?e=(f)",
		"https://[::1]/reset", "HTTPS://PDS.example.com/Reset",
	} {
		if err := CheckPage(ResetPassword, page); err != nil {
			t.Errorf("%s: %v", page, err)
		}
	}
	for _, page := range []string{
		"", "/reset", "pds.example.com/reset", "//pds.example.com/reset", "https:///reset", "https:pds.example.com", "ftp://pds.example.com",
		"javascript:alert(1)", "data:text/html,x", "mailto:a@example.com", "https://user@pds.example.com", "https://user:sesame@pds.example.com/reset",
		"https://pds.example.com/#reset", "https://pds.example.com/#", "https://pds.example.com/a b", " https://pds.example.com", "https://pds.example.com/\n",
		`https://pds.example.com/"onclick="x`, "https://pds.example.com/<b>", "https://pds.example.com/zur\u00fcck", "https://pds.example.com/\u202egpj",
		"https://m\u00fcnchen.example.com", "https://pds.example.com/%zz?x",
	} {
		switch err := CheckPage(ResetPassword, page); {
		case err == nil:
			t.Errorf("%q was accepted", page)
		case strings.Contains(err.Error(), "sesame"):
			t.Errorf("a password is shown: %v", err)
		}
	}
	for _, kind := range Kinds() {
		if err := CheckPage(kind, testPage); (err == nil) != kind.HasCode() {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if err := CheckPage("birthday", testPage); err == nil {
		t.Error("an unknown kind has a page")
	}
}

var hrefs = regexp.MustCompile(`href="([^"]*)"`)

// linksOf returns the targets of the links in an HTML page.
func linksOf(page string) (links []string) {
	for _, m := range hrefs.FindAllStringSubmatch(page, -1) {
		links = append(links, html.UnescapeString(m[1]))
	}
	return links
}

func render(t *testing.T, templates *Templates, kind Kind, d Data) Message {
	t.Helper()
	m, err := templates.Render(kind, d)
	if err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	return m
}

func TestMailsNameTheirPage(t *testing.T) {
	templates := defaultTemplates(t)
	d := testData
	d.Page = testPage
	link := testPage + "#code=ABCDE-FGHIJ"
	if d.Link() != link {
		t.Errorf("the link is %s", d.Link())
	}
	for _, kind := range codes {
		m := render(t, templates, kind, d)
		if !strings.Contains(m.Text, "\nType it at "+testPage+"\nor open "+link+"\n") || strings.Contains(m.Text, "in the app") {
			t.Errorf("%s doesn't say where to type the code:\n%s", kind, m.Text)
		}
		if !slices.Contains(strings.Split(m.Text, "\n"), d.Code) {
			t.Errorf("%s: the code has no line of its own:\n%s", kind, m.Text)
		}
		if got := linksOf(m.HTML); !slices.Equal(got, []string{testPage, link}) {
			t.Errorf("%s: the links are %q", kind, got)
		}
		if !strings.Contains(m.HTML, ">"+html.EscapeString(testPage)+"</a>") || strings.Contains(m.HTML, "in the app") {
			t.Errorf("%s doesn't say where to type the code:\n%s", kind, m.HTML)
		}
		for _, body := range []string{m.Text, m.HTML} {
			if before, _, _ := strings.Cut(body, "#code="); strings.Contains(before, "="+d.Code) || strings.Contains(body, "ZgotmplZ") {
				t.Errorf("%s: the code is not just in the fragment, or a URL was refused:\n%s", kind, body)
			}
		}
	}
}

func TestMailsWithoutAPageHaveNoLink(t *testing.T) {
	templates := defaultTemplates(t)
	if testData.Link() != "" {
		t.Errorf("a link without a page: %s", testData.Link())
	}
	for _, kind := range codes {
		m := render(t, templates, kind, testData)
		for _, body := range []string{m.Text, m.HTML} {
			if !strings.Contains(body, "Type it in the app where it was asked for.") || strings.Contains(body, "://") || strings.Contains(body, "href") || strings.Contains(body, "#code") {
				t.Errorf("%s:\n%s", kind, body)
			}
		}
	}
}

// TestOnlyCodesHaveAPage checks that notices have no links, so that those with links are recognized
// as forged.
func TestOnlyCodesHaveAPage(t *testing.T) {
	templates := defaultTemplates(t)
	for _, kind := range Kinds() {
		d := noticeData
		d.Page = testPage
		if kind.HasCode() {
			d.Code = testData.Code
		}
		if _, err := templates.Render(kind, d); errors.Is(err, ErrInvalidData) == kind.HasCode() {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, page := range []string{"javascript:alert(1)", "https://pds.example.com/#x", "https://pds.example.com/\r\nBcc: d@e.f"} {
		d := testData
		d.Page = page
		if _, err := templates.Render(SignIn, d); !errors.Is(err, ErrInvalidData) {
			t.Errorf("%q: %v", page, err)
		}
	}
}

func TestLinksEscapeTheCode(t *testing.T) {
	d := Data{Page: "https://pds.example.com/", Code: "a b&c=d#e\"<é"}
	if got := d.Link(); got != "https://pds.example.com/#code=a+b%26c%3Dd%23e%22%3C%C3%A9" {
		t.Error(got)
	}
}

// TestTemplatesFromBeforeThereWerePages checks that templates that don't mention pages still work,
// and that others may put the link anywhere.
func TestTemplatesFromBeforeThereWerePages(t *testing.T) {
	templates, err := NewTemplates(files(map[string]string{
		"reset_password.txt":  "Hi\n\n{{.Code}}\n",
		"reset_password.html": `<p>{{.Code}}</p>`,
		"sign_in.txt":         "Hi\n\n{{.Code}}{{with .Link}} {{.}}{{end}}\n",
		"sign_in.html":        `{{if .Page}}<a href="{{.Link}}">{{.Code}}</a>{{else}}{{.Code}}{{end}}`,
		"page.txt":            `{{define "x"}}{{end}}At {{or .Page "home"}}.`,
		"layout.html":         `<body>{{template "body" .}}</body>{{define "code"}}<code>{{.Code}}</code>{{end}}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	d := testData
	d.Page = testPage
	m, err := templates.Render(ResetPassword, d)
	if err != nil || m.Text != "ABCDE-FGHIJ\n" || m.HTML != "<body><p>ABCDE-FGHIJ</p></body>" {
		t.Errorf("%+v, %v", m, err)
	}
	m, err = templates.Render(SignIn, d)
	if err != nil || m.Text != "ABCDE-FGHIJ "+d.Link()+"\n" || !slices.Equal(linksOf(m.HTML), []string{d.Link()}) {
		t.Errorf("%+v, %v", m, err)
	}
	m, err = templates.Render(UpdateEmail, d)
	if err != nil || !strings.Contains(m.Text, "\nAt "+testPage+".\n") || !strings.Contains(m.HTML, "<code>ABCDE-FGHIJ</code>") || len(linksOf(m.HTML)) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
	for name, content := range map[string]string{
		"page.txt": "{{.Pages}}", "page.html": "{{if .Page}}{{.Url}}{{end}}", "sign_in.txt": "Hi\n\n{{.Link}}", "sign_in.html": `<a href="{{.Link}}">in</a>`,
	} {
		if _, err := NewTemplates(files(map[string]string{name: content})); err == nil {
			t.Errorf("%s with %s was accepted", name, content)
		}
	}
}
