package browsertest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// views are the ways in which each page is looked at.
var views = []view{
	desktop, phone, desktop.inDark(), phone.inDark(), desktop.withoutScript(), phone.inDark().withoutScript(),
}

// risky is a scope with permissions of each kind, some of which can do harm.
const risky = "atproto transition:email repo:app.bsky.feed.post repo:* blob:image/* " +
	"rpc:*?aud=did:web:api.example.com%23feed account:email?action=manage identity:*"

// TestThePages goes through all pages in each view: sign in, with a wrong password first and with a
// second step, consent, the account chooser, the applications with access, and an error.
func TestThePages(t *testing.T) {
	for _, v := range views {
		t.Run(v.name, func(t *testing.T) {
			srv := serve(t)
			alice, bob := withFactor(t, srv, "alice.test"), srv.CreateAccount("bob.test")
			back := serveCallback(t)
			c := newSkylark(t, srv.URL, back.url)
			p := open(t, v)

			// Sign in.
			p.visit(c.ask(url.Values{"login_hint": {alice.Handle}}))
			p.must(identifierField, passwordField, rememberBox, signInButton)
			p.reads("Harbour", "skylark.example.com")
			if got := evaluate[string](p, `document.querySelector('#identifier').value`); got != alice.Handle {
				t.Errorf("the identifier is %q, not the one of the hint", got)
			}
			p.check("sign-in")

			// A wrong password.
			p.fill(passwordField, "wrong")
			p.submit(signInButton)
			p.must(alert, identifierField, passwordField)
			if got := evaluate[[]string](p, `[document.querySelector('#identifier').value, document.querySelector('#password').value]`); got[0] != alice.Handle || got[1] != "" {
				t.Errorf("after a wrong password the form has %q", got)
			}
			p.check("wrong-password")

			// The second step.
			p.click(rememberBox)
			p.fill(passwordField, alice.Password)
			p.submit(signInButton)
			p.must(codeField, codeButton)
			if strings.Contains(evaluate[string](p, `document.documentElement.outerHTML`), `"`+alice.Password+`"`) {
				t.Error("the password is in the page of the second step")
			}
			p.check("second-step")
			p.fill(codeField, "AAAAA-AAAAA")
			p.submit(codeButton)
			p.must(alert, codeField)
			p.check("wrong-code")
			p.fill(codeField, srv.Mail.Code(alice.Email))
			p.submit(codeButton)

			// Consent.
			p.must(acceptButton, denyButton, scopeBox)
			p.reads("skylark.example.com", "Skylark", alice.Handle)
			if got := evaluate[bool](p, `[...document.querySelectorAll('input[name=scope]')].every((box) => box.checked)`); !got {
				t.Error("a permission isn't ticked at first")
			}
			p.check("consent")
			unticked := evaluate[string](p, `[...document.querySelectorAll('input[type=checkbox][name=scope]')].map((box) => box.value).find((v) => v.startsWith('account:'))`)
			p.click(scopeBox + "[value^='account:']")
			p.submit(acceptButton)
			p.must("#back")
			granted := c.redeem(back.answer())
			if granted.Subject != alice.DID || !strings.Contains(granted.Scope, "repo:app.bsky.feed.post") || strings.Contains(granted.Scope, unticked) {
				t.Errorf("granted %q to %s, without %q", granted.Scope, granted.Subject, unticked)
			}

			// Another account on this device, and the chooser.
			p.visit(c.ask(url.Values{"prompt": {"select_account"}}))
			p.must(accountChoice(alice), anotherAccount)
			p.submit(anotherAccount)
			p.signIn(bob)
			p.reads(bob.Handle)
			p.submit(denyButton)
			if answer := back.answer(); answer.Get("error") != "access_denied" || answer.Get("code") != "" {
				t.Errorf("a refusal is answered %v", answer)
			}
			p.visit(c.ask(url.Values{"prompt": {"select_account"}}))
			p.must(accountChoice(alice), accountChoice(bob), anotherAccount)
			p.reads(alice.Handle, bob.Handle)
			p.check("account-chooser")
			p.submit(accountChoice(alice))
			p.reads(alice.Handle)
			p.must(acceptButton, denyButton)

			applications(p, srv, alice, func() {
				if got := c.refresh(granted); got.Error != "invalid_grant" {
					t.Errorf("the refresh token of an application that was ended is answered %+v", got)
				}
			})

			// An error that can't be sent to an application.
			p.visit(srv.URL + "/oauth/authorize?" + url.Values{
				"client_id": {c.id}, "request_uri": {"urn:ietf:params:oauth:request_uri:none"},
			}.Encode())
			if p.answered() != http.StatusBadRequest {
				t.Errorf("an unknown request is answered %d", p.answered())
			}
			p.must("details")
			p.check("error")
		})
	}
}

// applications ends an application on the page that lists those with access.
func applications(p *page, srv *gatehousetest.Server, a *gatehousetest.Account, ended func()) {
	p.t.Helper()
	p.visit(srv.URL + "/account/applications")
	if !p.has(endButton) && p.has(accountChoice(a)) {
		p.submit(accountChoice(a))
	}
	p.must(endButton, signOutButton)
	p.reads(a.Handle, "skylark.example.com")
	p.check("applications")
	p.submit(endButton)
	if p.has(endButton) {
		p.t.Errorf("%s: the application is still listed; %s", p.view.name, p.describe())
	}
	p.check("no-applications")
	ended()
	p.submit(signOutButton)
	p.visit(srv.URL + "/account/applications")
	if strings.Contains(p.text(), a.Handle) {
		p.t.Errorf("%s: still signed in; %s", p.view.name, p.describe())
	}
}

// TestOnlyTheKeyboard signs in and consents without a mouse.
func TestOnlyTheKeyboard(t *testing.T) {
	for _, v := range []view{desktop, desktop.inDark().withoutScript()} {
		t.Run(v.name, func(t *testing.T) {
			srv := serve(t)
			alice := withFactor(t, srv, "alice.test")
			back := serveCallback(t)
			c := newSkylark(t, srv.URL, back.url)
			p := open(t, v)
			p.visit(c.ask(nil))
			p.tabTo(identifierField)
			p.press(alice.Handle)
			p.tabTo(passwordField)
			p.press(alice.Password)
			p.tabTo(rememberBox)
			p.press(" ")
			p.tabTo(signInButton)
			p.loading(func() { p.press("\r") })

			p.tabTo(codeField)
			p.press(srv.Mail.Code(alice.Email))
			p.loading(func() { p.press("\r") }) // in the field: it is the form's first button that counts

			unticked := scopeBox + "[value='transition:email']"
			p.tabTo(unticked)
			p.press(" ")
			p.tabTo(acceptButton)
			p.loading(func() { p.press("\r") })
			p.must("#back")
			granted := c.redeem(back.answer())
			if granted.Subject != alice.DID || strings.Contains(granted.Scope, "transition:email") || !strings.Contains(granted.Scope, "repo:app.bsky.feed.post") {
				t.Errorf("granted %q to %s", granted.Scope, granted.Subject)
			}

			// Deny is within reach, too, and the return key in the password field signs in.
			p.visit(c.ask(url.Values{"prompt": {"login"}, "login_hint": {alice.Handle}}))
			p.tabTo(passwordField)
			p.press(alice.Password)
			p.loading(func() { p.press("\r") })
			p.tabTo(codeField)
			p.press(srv.Mail.Code(alice.Email))
			p.loading(func() { p.press("\r") })
			p.tabTo(denyButton)
			p.loading(func() { p.press("\r") })
			if answer := back.answer(); answer.Get("error") != "access_denied" {
				t.Errorf("a refusal is answered %v", answer)
			}
		})
	}
}

// TestResponseModes has answers sent to the application in each way: in the query of its URL, in
// the fragment, and as a form, which the page sends by itself where there is JavaScript.
func TestResponseModes(t *testing.T) {
	for _, v := range []view{desktop, phone.withoutScript()} {
		for _, mode := range []string{"query", "fragment", "form_post"} {
			t.Run(v.name+" "+mode, func(t *testing.T) {
				srv := serve(t)
				alice := srv.CreateAccount("alice.test")
				back := serveCallback(t)
				c := newClient(t, srv.URL, back.url, "atproto")
				p := open(t, v)
				for _, button := range []string{denyButton, acceptButton} {
					p.visit(c.ask(url.Values{"response_mode": {mode}, "login_hint": {alice.Handle}, "prompt": {"login"}}))
					p.signIn(alice)
					p.check("consent-local")
					p.submit(button)
					if mode == "form_post" {
						if v.noScript {
							p.check("form-post")
							p.submit("form button")
						} else {
							p.await("answer", func() bool { return p.isAt(back.url) })
						}
					}
					p.must("#back")
					answer := back.answer()
					if mode == "fragment" {
						if len(answer) != 0 {
							t.Errorf("the server of the application is told %v", answer)
						}
						var err error
						if answer, err = url.ParseQuery(evaluate[string](p, `location.hash.slice(1)`)); err != nil {
							t.Fatal(err)
						}
					}
					if got := p.url(); mode == "form_post" && got != back.url {
						t.Errorf("an answer by form ends at %s", got)
					}
					if button == denyButton {
						if answer.Get("error") != "access_denied" || answer.Get("iss") != srv.URL || answer.Get("state") != c.lastState {
							t.Errorf("a refusal is answered %v", answer)
						}
						continue
					}
					if got := c.redeem(answer); got.Subject != alice.DID || got.Scope != "atproto" {
						t.Errorf("got tokens of %s for %q", got.Subject, got.Scope)
					}
				}
			})
		}
	}
}
