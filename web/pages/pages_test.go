package pages

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/net/html"
)

func newSet(t *testing.T, cfg Config) *Set {
	t.Helper()
	cfg.AssetPath = "/oauth/assets/"
	cfg.Service.Name = "Meadow"
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func render(t *testing.T, s *Set, l Language, c Content) string {
	t.Helper()
	b, err := s.Render(l, c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// texts that sources refer to: in templates as arguments of T, H and Link, in Go as literals.
var (
	inTemplate = regexp.MustCompile(`\.(?:T|H) "([^"]+)"|\.Link \S+ "([^"]+)"`)
	inGo       = regexp.MustCompile(`"((?:[a-z]+)(?:[.-][a-z0-9-]+)+)"`)
)

// TestTextsAreUsed finds texts that no page uses, and those that a page uses and that aren't there.
func TestTextsAreUsed(t *testing.T) {
	b, err := files.ReadFile("text/en.json")
	if err != nil {
		t.Fatal(err)
	}
	var english map[string]text
	if err := json.Unmarshal(b, &english); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	templates, err := filepath.Glob("templates/*.html")
	if err != nil || len(templates) == 0 {
		t.Fatal("no templates", err)
	}
	for _, name := range templates {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inTemplate.FindAllStringSubmatch(string(b), -1) {
			key := m[1] + m[2]
			used[key] = true
			if _, ok := english[key]; !ok {
				t.Errorf("%s uses the text %q, which isn't in the catalogue", name, key)
			}
		}
	}
	sources, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	families := map[string]bool{}
	for key := range english {
		family, _, _ := strings.Cut(key, ".")
		families[family] = true
	}
	for _, name := range slices.Concat(sources, here) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inGo.FindAllStringSubmatch(string(b), -1) {
			family, _, dotted := strings.Cut(m[1], ".")
			if !dotted || !families[family] {
				continue
			}
			used[m[1]] = true
			if _, ok := english[m[1]]; !ok {
				t.Errorf("%s uses the text %q, which isn't in the catalogue", name, m[1])
			}
		}
	}
	for key := range english {
		if !used[key] {
			t.Errorf("no page uses the text %q", key)
		}
	}
}

// TestVisibleTextsAreInTheCatalogue finds words that are written in a template.
func TestVisibleTextsAreInTheCatalogue(t *testing.T) {
	action := regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	templates, err := filepath.Glob("templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range templates {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		z := html.NewTokenizer(strings.NewReader(action.ReplaceAllString(string(b), "")))
		for z.Next() != html.ErrorToken {
			token := z.Token()
			if token.Type == html.TextToken && regexp.MustCompile(`\pL{2}`).MatchString(token.Data) {
				t.Errorf("%s has words of its own: %q", name, strings.TrimSpace(token.Data))
			}
			for _, a := range token.Attr {
				if slices.Contains([]string{"placeholder", "title", "aria-label", "alt"}, a.Key) && strings.TrimSpace(a.Val) != "" {
					t.Errorf("%s has words of its own in %s: %q", name, a.Key, a.Val)
				}
			}
		}
	}
}

// TestPagesAreSoundHTML checks what the Content-Security-Policy and assistive technology rely on.
func TestPagesAreSoundHTML(t *testing.T) {
	s := newSet(t, Config{})
	for _, sample := range Samples() {
		page := render(t, s, s.Language(), sample)
		name := sample.page().template
		doc, err := html.Parse(strings.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		ids, labelled, headings, inputs := map[string]bool{}, map[string]bool{}, 0, []string{}
		var references []string
		var walk func(*html.Node)
		walk = func(n *html.Node) {
			attr := map[string]string{}
			for _, a := range n.Attr {
				attr[a.Key] = a.Val
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
					t.Errorf("%s: %s has an inline %s", name, n.Data, a.Key)
				}
				if (a.Key == "src" || n.Data == "link" && a.Key == "href") && !strings.HasPrefix(a.Val, "/oauth/assets/") {
					t.Errorf("%s: %s loads %q", name, n.Data, a.Val)
				}
				if a.Key == "aria-describedby" || a.Key == "aria-labelledby" {
					references = append(references, strings.Fields(a.Val)...)
				}
			}
			if id, ok := attr["id"]; ok {
				if ids[id] {
					t.Errorf("%s: the id %q occurs twice", name, id)
				}
				ids[id] = true
			}
			switch n.Data {
			case "style":
				t.Errorf("%s: an inline style sheet", name)
			case "script":
				if n.FirstChild != nil {
					t.Errorf("%s: an inline script", name)
				}
			case "h1":
				headings++
			case "ul": // of which Safari tells nobody when the bullets are hidden
				if attr["role"] != "list" {
					t.Errorf("%s: a list without a role", name)
				}
			case "label":
				labelled[attr["for"]] = true
			case "input":
				if attr["type"] != "hidden" {
					inputs = append(inputs, attr["id"])
				}
			}
			for c := n.FirstChild; c != nil; c = c.NextSibling {
				walk(c)
			}
		}
		walk(doc)
		if headings != 1 {
			t.Errorf("%s: %d headings of the first rank", name, headings)
		}
		for _, id := range references {
			if !ids[id] {
				t.Errorf("%s: there is no element %q", name, id)
			}
		}
		for _, id := range inputs {
			if id == "" || !labelled[id] {
				t.Errorf("%s: the field %q has no label", name, id)
			}
		}
		if !strings.Contains(page, `<html lang="en" dir="ltr">`) || strings.Contains(page, "<title> ") {
			t.Errorf("%s: no language or no title", name)
		}
	}
}

// TestNamesAreText renders names that are meant to be more than text.
func TestNamesAreText(t *testing.T) {
	s := newSet(t, Config{})
	evil := `"><script>alert(1)</script>&<img src=x onerror=y>`
	client := &Client{ID: evil, Host: evil, Name: evil, PolicyURI: "javascript:alert(1)", TermsURI: "data:text/html,x"}
	account := Account{DID: evil, Label: evil}
	form := Form{Action: "/x", Hidden: []Hidden{{"csrf", evil}}}
	permission := Permission{ID: "scope-1", Scope: evil, Title: evil, Detail: evil, Parts: []string{evil}, Optional: true}
	for _, c := range []Content{
		&SignIn{Form: form, Client: client, Deny: &form, Identifier: evil, Problem: evil},
		&Code{Form: form, Client: client, Deny: &form, Sent: evil, Identifier: evil, Pending: evil, Problem: evil},
		&Choose{Form: form, Client: client, Deny: &form, Accounts: []Account{account}, Problem: evil},
		&Consent{Form: form, Client: client, Account: account, Dangerous: []Permission{permission}, Problem: evil},
		&Reactivate{Form: form, Client: client, Account: account, Problem: evil},
		&Answer{Form: form, Target: evil},
		&Applications{Form: form, Account: account, Others: []AccountLink{{evil, "/"}}, Applications: []Application{{Client: client, Permissions: []string{evil}}}},
		&Failure{Title: evil, Happened: evil, Help: evil, Code: evil, Description: evil, ClientID: evil, Reference: evil},
	} {
		page := render(t, s, s.Language(), c)
		if strings.Contains(page, "<script>") || strings.Contains(page, "<img src=x") || strings.Contains(page, `href="javascript:`) || strings.Contains(page, `href="data:`) {
			t.Errorf("%s: a name is more than text: %s", c.page().template, page)
		}
	}
}

func TestAnswerFormKeepsSchemesOfPrograms(t *testing.T) {
	s := newSet(t, Config{})
	for action, want := range map[string]string{
		"https://app.example/cb":   `action="https://app.example/cb"`,
		"http://127.0.0.1:8080/cb": `action="http://127.0.0.1:8080/cb"`,
	} {
		if page := render(t, s, s.Language(), &Answer{Form: Form{Action: action}}); !strings.Contains(page, want) {
			t.Errorf("%s isn't in the page", want)
		}
	}
}

func TestLanguages(t *testing.T) {
	s := newSet(t, Config{Texts: fstest.MapFS{
		"de.json": {Data: []byte(`{"sign-in.title": "Anmelden", "problem.limited": {"one": "In einer Minute.", "other": "In %[1]d Minuten."}}`)},
		"ar.json": {Data: []byte(`{"sign-in.title": "تسجيل الدخول"}`)},
		"en.json": {Data: []byte(`{"sign-in.button": "Enter"}`)},
		"README":  {Data: []byte(`for translators`)},
	}})
	if got := s.Languages(); !slices.Equal(got, []string{"en", "ar", "de"}) {
		t.Errorf("languages: %v", got)
	}
	for _, c := range []struct {
		preferences []string
		want        string
	}{
		{nil, "en"},
		{[]string{""}, "en"},
		{[]string{"de-AT"}, "de"},
		{[]string{"fr, de;q=0.5"}, "de"},
		{[]string{"fr"}, "en"},
		{[]string{"en, de"}, "en"},
		{[]string{"de", "en"}, "de"},   // ui_locales before Accept-Language
		{[]string{"!!", "de"}, "de"},   // what isn't a language doesn't count
		{[]string{"zz-zz,,;q="}, "en"}, // nor breaks anything
		{[]string{"ar-EG"}, "ar"},
		{[]string{strings.Repeat("de,", 5000)}, "en"},
	} {
		if got := s.Language(c.preferences...).Tag().String(); got != c.want {
			t.Errorf("%v: %s, want %s", c.preferences, got, c.want)
		}
	}
	german := render(t, s, s.Language("de"), &SignIn{})
	for _, part := range []string{`lang="de" dir="ltr"`, "<h1>Anmelden</h1>", ">Password<", ">Enter<"} {
		if !strings.Contains(german, part) {
			t.Errorf("the German page lacks %s", part)
		}
	}
	if page := render(t, s, s.Language("ar"), &SignIn{}); !strings.Contains(page, `lang="ar" dir="rtl"`) {
		t.Error("Arabic isn't written from right to left")
	}
	for n, want := range map[int]string{1: "In einer Minute.", 3: "In 3 Minuten."} {
		if got := s.Language("de").Text("problem.limited", n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
	if got := s.Language().Moment(time.Date(2026, 3, 4, 5, 6, 0, 0, time.UTC)).Text; got != "4 March 2026, 05:06 UTC" {
		t.Errorf("a time: %q", got)
	}
}

// TestMistakesOfAnEmbedder are told when a Set is made.
func TestMistakesOfAnEmbedder(t *testing.T) {
	one := func(name, content string) fs.FS { return fstest.MapFS{name: {Data: []byte(content)}} }
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"a template that isn't used":     {Config{Templates: one("signin.html", "")}, "no page uses signin.html"},
		"a template with bad syntax":     {Config{Templates: one("code.html", "{{if}}")}, "code.html"},
		"a template with unknown fields": {Config{Templates: one("code.html", "{{.Content.Nothing}}")}, "Nothing"},
		"a template with unknown texts":  {Config{Templates: one("code.html", `{{.T "nothing"}}`)}, `no text "nothing"`},
		"a template with unknown assets": {Config{Templates: one("code.html", `{{.Asset "nothing.css"}}`)}, `no asset "nothing.css"`},
		"an asset that isn't used":       {Config{Assets: one("styles.css", "")}, "no page uses styles.css"},
		"a text that isn't used":         {Config{Texts: one("de.json", `{"nothing": "x"}`)}, "which no page uses"},
		"a text with other arguments":    {Config{Texts: one("de.json", `{"sign-in.title": "Hallo %s"}`)}, "which the English one doesn't"},
		"an empty text":                  {Config{Texts: one("de.json", `{"sign-in.title": " "}`)}, "empty"},
		"a text of the private use area": {Config{Texts: one("de.json", `{"client.claims": "\ue000"}`)}, "private use"},
		"plural forms without other":     {Config{Texts: one("de.json", `{"problem.limited": {"one": "x"}}`)}, "other"},
		"an unknown plural form":         {Config{Texts: one("de.json", `{"problem.limited": {"other": "x", "some": "y"}}`)}, "some"},
		"a language that isn't one":      {Config{Texts: one("german.json", `{}`)}, "isn't named after a language"},
		"a catalogue that isn't JSON":    {Config{Texts: one("de.json", `{`)}, "de.json"},
	} {
		c.cfg.AssetPath = "/a/"
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
	if _, err := New(Config{AssetPath: "assets"}); err == nil {
		t.Error("an asset path without slashes is taken")
	}
}

// TestSetsShareTheDefaults: making a Set is cheap, since tests make a server each.
func TestSetsShareTheDefaults(t *testing.T) {
	a, b := newSet(t, Config{}), newSet(t, Config{Assets: fstest.MapFS{}})
	for name := range a.templates {
		if a.templates[name] != b.templates[name] {
			t.Errorf("the template %s was parsed twice", name)
		}
	}
	if a.texts != b.texts {
		t.Error("the texts were read twice")
	}
	c := newSet(t, Config{
		Templates: fstest.MapFS{"code.html": {Data: []byte(`<h1>Code</h1>`)}}, Texts: fstest.MapFS{"en.json": {Data: []byte(`{"sign-in.title": "Hello"}`)}},
	})
	if page := render(t, c, c.Language(), &SignIn{}); !strings.Contains(page, "<h1>Hello</h1>") {
		t.Error("the text isn't replaced")
	}
	if page := render(t, a, a.Language(), &SignIn{}); !strings.Contains(page, "<h1>Sign in</h1>") {
		t.Error("a text is replaced in another Set")
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := New(Config{AssetPath: "/oauth/assets/"}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestReplacingParts(t *testing.T) {
	s := newSet(t, Config{
		Templates: fstest.MapFS{"answer.html": {Data: []byte(`<h1>Moment, {{.Content.Target}}</h1>`)}},
		Assets:    fstest.MapFS{"theme.css": {Data: []byte(`:root { --accent: green }`)}},
	})
	if page := render(t, s, s.Language(), &Answer{Target: "app.example"}); !strings.Contains(page, "<h1>Moment, app.example</h1>") {
		t.Error("the template isn't replaced")
	}
	p, err := s.assets.path("theme.css")
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := s.Asset(p); !ok || string(a.Body) != `:root { --accent: green }` || a.ContentType != "text/css; charset=utf-8" {
		t.Errorf("%s: %q", p, a)
	}
	if before, _ := newSet(t, Config{}).assets.path("theme.css"); before == p {
		t.Error("another content has the same path")
	}
	if _, ok := s.Asset("/oauth/assets/theme.css"); ok {
		t.Error("an asset is there without its hash")
	}
}
