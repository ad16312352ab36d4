package interop

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// browser is a browser without JavaScript. It follows redirects as long as they stay at the server.
type browser struct {
	t      testing.TB
	n      *network
	client *http.Client
	at     *url.URL   // of the page that is shown
	page   *html.Node // nil at the application
}

func (n *network) browser() *browser {
	n.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		n.t.Fatal(err)
	}
	b := &browser{t: n.t, n: n}
	b.client = &http.Client{Transport: n.client.Transport, Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Scheme+"://"+r.URL.Host != serverOrigin {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	return b
}

// open loads a page.
func (b *browser) open(at string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, at, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.load(req)
}

func (b *browser) load(req *http.Request) {
	b.t.Helper()
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if b.at, err = resp.Location(); err == nil {
		b.page = nil
		return
	}
	b.at = resp.Request.URL
	if b.page, err = html.Parse(io.LimitReader(resp.Body, 1<<20)); err != nil {
		b.t.Fatal(err)
	}
}

// signIn signs in with the second step.
func (b *browser) signIn(a account) {
	b.t.Helper()
	b.press("sign-in", url.Values{"identifier": {a.Handle}, "password": {a.Password}})
	b.press("code", url.Values{"code": {b.n.srv.Mail.Code(a.Email)}})
}

// press fills in the form that has a button with an action, and presses the button. Checkboxes stay
// as they are.
func (b *browser) press(action string, fill url.Values) {
	b.t.Helper()
	form := b.form(action)
	values := url.Values{"action": {action}}
	for field := range form.Descendants() {
		name := attribute(field, "name")
		if field.Data != "input" || name == "" {
			continue
		}
		if attribute(field, "type") == "checkbox" && !has(field, "checked") {
			continue
		}
		values.Add(name, attribute(field, "value"))
	}
	for name, value := range fill {
		if !values.Has(name) {
			b.t.Fatalf("the form has no field %q", name)
		}
		values[name] = value
	}
	to, err := b.at.Parse(attribute(form, "action"))
	if err != nil {
		b.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, to.String(), strings.NewReader(values.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", serverOrigin)
	b.load(req)
}

// form returns the form that has a button with an action.
func (b *browser) form(action string) *html.Node {
	b.t.Helper()
	if b.page == nil {
		b.t.Fatalf("no page at %s", b.at)
	}
	var text strings.Builder
	for n := range b.page.Descendants() {
		if n.Type == html.TextNode && strings.TrimSpace(n.Data) != "" {
			fmt.Fprintln(&text, strings.TrimSpace(n.Data))
		}
		if n.Data != "button" || attribute(n, "name") != "action" || attribute(n, "value") != action {
			continue
		}
		for up := range n.Ancestors() {
			if up.Data == "form" {
				return up
			}
		}
	}
	b.t.Fatalf("no button %q at %s:\n%s", action, b.at, text.String())
	return nil
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}
