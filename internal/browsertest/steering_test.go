package browsertest

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestOtherPagesCantSteer: the page of somebody else can neither show the consent page in a frame,
// to have people click on what they don't see, nor send its form. The page is on the same host as
// the server, so that the browser sends the cookie with it.
func TestOtherPagesCantSteer(t *testing.T) {
	srv := serve(t)
	alice := srv.CreateAccount("alice.test")
	back := serveCallback(t)
	c := newSkylark(t, srv.URL, back.url)
	p := open(t, desktop)
	at := c.ask(nil)
	p.visit(at)
	p.signIn(alice)
	p.must(acceptButton)
	consent := p.url()

	t.Run("frame", func(t *testing.T) {
		other := p.beside()
		refused := func(one problem) bool { return strings.Contains(one.text, "frame-ancestors") }
		other.expect = func(one problem) bool {
			return refused(one) || one.kind == "network" && strings.HasPrefix(one.url, "chrome-error:") // the frame's
		}
		other.visit(static(t, "default-src *; img-src data:", "", fmt.Sprintf(`<iframe title="x" src="%s"></iframe>`, html.EscapeString(consent))))
		other.await("refusal", func() bool {
			other.mu.Lock()
			defer other.mu.Unlock()
			return slices.ContainsFunc(other.problems, refused)
		})
	})
	for _, action := range []string{"accept", "deny"} {
		t.Run(action, func(t *testing.T) {
			query, err := url.Parse(consent)
			if err != nil {
				t.Fatal(err)
			}
			fields := query.Query()
			fields.Set("account", alice.DID)
			fields.Set("action", action)
			fields.Set("scope", "transition:email")
			var form strings.Builder
			fmt.Fprintf(&form, `<form method="post" action="%s/oauth/authorize">`, srv.URL)
			for name := range fields {
				fmt.Fprintf(&form, `<input type="hidden" name="%s" value="%s">`, name, html.EscapeString(fields.Get(name)))
			}
			other := p.beside()
			other.visit(static(t, "default-src *; img-src data:; form-action *", "", form.String()+`<button id="send">Win a prize</button></form>`))
			other.submit("#send")
			if got := other.answered(); got != http.StatusForbidden {
				t.Errorf("answered %d; %s", got, other.describe())
			}
			other.check("foreign-form")
		})
	}
	t.Run("fetch", func(t *testing.T) {
		other := p.beside()
		other.expect = func(one problem) bool {
			return strings.HasPrefix(one.url, srv.URL) || strings.Contains(one.text, srv.URL)
		}
		other.visit(static(t, "default-src *; img-src data:", "", ""))
		if got := evaluate[string](other, fmt.Sprintf(`fetch(%q, { credentials: 'include' }).then((r) => r.text(), (e) => e.name)`, consent)); got != "TypeError" {
			t.Errorf("a script reads %q", got)
		}
	})

	// The person's own page works still, and the application hears of nothing else.
	p.visit(at)
	p.must(acceptButton)
	p.submit(acceptButton)
	p.must("#back")
	if got := c.redeem(back.answer()); got.Subject != alice.DID {
		t.Errorf("got tokens of %s", got.Subject)
	}
	if len(back.answers) != 0 {
		t.Errorf("the application has also heard %v", <-back.answers)
	}
}

// TestGoingBack: who reloads the consent page, or goes back to it from the application and presses
// the button again, sends nothing twice.
func TestGoingBack(t *testing.T) {
	srv := serve(t)
	alice := srv.CreateAccount("alice.test")
	back := serveCallback(t)
	c := newSkylark(t, srv.URL, back.url)
	p := open(t, desktop)
	p.visit(c.ask(nil))
	p.signIn(alice)
	p.loading(func() { evaluate[any](p, `location.reload()`) })
	p.must(acceptButton)
	consent := p.url()
	p.submit(acceptButton)
	p.must("#back")
	granted := c.redeem(back.answer())
	evaluate[any](p, `history.back()`)
	p.await("former page", func() bool { return p.isAt(consent) })
	if p.has(acceptButton) { // the browser has kept the page
		p.submit(acceptButton)
	}
	if p.has(acceptButton) || p.answered() != http.StatusBadRequest {
		t.Errorf("going back is answered %d; %s", p.answered(), p.describe())
	}
	p.check("used")
	if len(back.answers) != 0 {
		t.Errorf("the application has heard again: %v", <-back.answers)
	}
	if got := c.refresh(granted); got.Access == "" {
		t.Errorf("the session of the application has ended: %+v", got)
	}
}

// TestTheCookieIsOutOfReach: scripts don't see the cookie of the device, and it is gone when the
// browser is closed, unless the person stays signed in.
func TestTheCookieIsOutOfReach(t *testing.T) {
	srv := serve(t)
	alice := srv.CreateAccount("alice.test")
	back := serveCallback(t)
	for _, remember := range []bool{false, true} {
		p := open(t, desktop)
		p.visit(newSkylark(t, srv.URL, back.url).ask(nil))
		first := p.cookie(srv.URL)
		if remember {
			p.click(rememberBox)
		}
		p.signIn(alice)
		if got := evaluate[string](p, `document.cookie`); got != "" {
			t.Errorf("a script sees %q", got)
		}
		c := p.cookie(srv.URL)
		if !c.HTTPOnly || c.SameSite != "Lax" || c.Path != "/" || c.Session == remember {
			t.Errorf("remember %v: the cookie is %+v", remember, c)
		}
		if c.Value == first.Value {
			t.Error("the cookie stays the same when somebody signs in")
		}
	}
}
