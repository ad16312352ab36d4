package e2e

import (
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// codePage is an operator's page for a kind of e-mail, with a query, as a page for several purposes
// or languages has.
func codePage(kind mail.Kind) string {
	return "https://pds.example.com/codes?for=" + string(kind) + "&lang=en"
}

// withPages names a page for some kinds of e-mail.
func withPages(kinds ...mail.Kind) func(*gatehouse.Config) {
	return func(c *gatehouse.Config) {
		c.Mail.Pages = map[mail.Kind]string{}
		for _, kind := range kinds {
			c.Mail.Pages[kind] = codePage(kind)
		}
	}
}

var (
	// urls are what a program that shows a text makes links of.
	urls  = regexp.MustCompile(`[a-z]+://\S+`)
	hrefs = regexp.MustCompile(`href="([^"]*)"`)
)

// linksOf returns where an e-mail leads: its text, and its HTML.
func linksOf(m mail.Message) (text, page []string) {
	text = urls.FindAllString(m.Text, -1)
	for _, link := range hrefs.FindAllStringSubmatch(m.HTML, -1) {
		page = append(page, html.UnescapeString(link[1]))
	}
	return text, page
}

const elsewhere = "Type it in the app where it was asked for."

// leadsTo checks that an e-mail has its code on a line of its own, and links to the page and
// nothing else, or has no link if there is no page. It returns the code as the page gets it.
func leadsTo(t *testing.T, m mail.Message, page string) string {
	t.Helper()
	if m.Code == "" || !slices.Contains(strings.Split(m.Text, "\n"), m.Code) {
		t.Errorf("%s: the code has no line of its own:\n%s", m.Kind, m.Text)
	}
	text, inHTML := linksOf(m)
	if page == "" {
		if len(text)+len(inHTML) > 0 || !strings.Contains(m.Text, elsewhere) || !strings.Contains(m.HTML, elsewhere) {
			t.Errorf("%s leads to %q, %q, and there is no page:\n%s", m.Kind, text, inHTML, m.Text)
		}
		return m.Code
	}
	want := []string{page, page + "#code=" + m.Code}
	if !slices.Equal(text, want) || !slices.Equal(inHTML, want) {
		t.Fatalf("%s leads to %q, in HTML to %q; want %q", m.Kind, text, inHTML, want)
	}
	if strings.Contains(m.Text+m.HTML, elsewhere) {
		t.Errorf("%s sends people back to the app as well:\n%s", m.Kind, m.Text)
	}
	u, err := url.Parse(inHTML[1])
	if err != nil {
		t.Fatal(err)
	}
	if at, err := url.Parse(page); err != nil || u.RequestURI() != at.RequestURI() || u.Host != at.Host {
		t.Errorf("%s: browsers would ask for %s", m.Kind, u.RequestURI())
	}
	fragment, err := url.ParseQuery(u.EscapedFragment())
	if err != nil {
		t.Fatal(err)
	}
	return fragment.Get("code")
}

// TestMailsLeadToTheOperatorsPages asks for each e-mail with a code, and uses the code as the page
// gets it.
func TestMailsLeadToTheOperatorsPages(t *testing.T) {
	t.Parallel()
	pages := []mail.Kind{mail.ResetPassword, mail.DeleteAccount, mail.ConfirmEmail, mail.UpdateEmail, mail.PLCOperation, mail.SignIn}
	for name, c := range map[string]struct {
		page  func(mail.Kind) string
		pages []mail.Kind
	}{
		"with pages": {codePage, pages}, "without pages": {func(mail.Kind) string { return "" }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, s *api) {
				alice := s.signUp("alice.test")
				me := bearer(alice.AccessJWT)
				code := func(kind mail.Kind) string {
					t.Helper()
					return leadsTo(t, s.Mail.Notice(kind, alice.Email), c.page(kind))
				}

				s.do(me, "server.requestEmailConfirmation", nil).ok()
				s.do(me, "server.confirmEmail", object{"email": alice.Email, "token": code(mail.ConfirmEmail)}).ok()

				s.do(me, "server.updateEmail", object{"email": alice.Email, "emailAuthFactor": true}).ok()
				in := object{"identifier": alice.Handle, "password": alice.Password}
				s.do(nobody, "server.createSession", in).refused(401, "AuthFactorTokenRequired")
				in["authFactorToken"] = code(mail.SignIn)
				s.do(nobody, "server.createSession", in).ok()

				s.do(me, "server.requestEmailUpdate", nil).ok()
				s.do(me, "server.updateEmail", object{"email": alice.Email, "emailAuthFactor": false, "token": code(mail.UpdateEmail)}).ok()

				s.do(me, "identity.requestPlcOperationSignature", nil).ok()
				s.do(me, "identity.signPlcOperation", object{"token": code(mail.PLCOperation), "alsoKnownAs": []string{"at://alice.test", "https://alice.example.com"}}).ok()

				s.do(nobody, "server.requestPasswordReset", object{"email": alice.Email}).ok()
				s.do(nobody, "server.resetPassword", object{"token": code(mail.ResetPassword), "password": "battery staple"}).ok()

				me = bearer(s.login(alice.Handle, "battery staple").text("accessJwt"))
				s.do(me, "server.requestAccountDelete", nil).ok()
				s.do(nobody, "server.deleteAccount", object{"did": alice.DID, "password": "battery staple", "token": code(mail.DeleteAccount)}).ok()
			}, config(withPages(c.pages...)))
		})
	}
}

// TestEachKindHasAPageOfItsOwn: each kind of e-mail has its own page, or none.
func TestEachKindHasAPageOfItsOwn(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		me := bearer(alice.AccessJWT)
		s.do(nobody, "server.requestPasswordReset", object{"email": alice.Email}).ok()
		leadsTo(t, s.Mail.Notice(mail.ResetPassword, alice.Email), codePage(mail.ResetPassword))
		s.do(me, "server.requestEmailConfirmation", nil).ok()
		leadsTo(t, s.Mail.Notice(mail.ConfirmEmail, alice.Email), "")
	}, config(withPages(mail.ResetPassword)))
}

// TestNoticesHaveNoLink: notices have no link whatever pages there are, since forged ones have.
// What an admin writes isn't changed.
func TestNoticesHaveNoLink(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		me := bearer(alice.AccessJWT)
		s.do(me, "server.createAppPassword", object{"name": "https://evil.example.com/codes"}).ok()
		s.do(me, "server.deactivateAccount", object{}).ok()
		s.do(nobody, "server.requestPasswordReset", object{"email": alice.Email}).ok()
		s.do(nobody, "server.resetPassword", object{"token": s.Mail.Code(alice.Email), "password": "battery staple"}).ok()
		s.do(admin, "admin.sendEmail", object{"recipientDid": alice.DID, "senderDid": alice.DID, "subject": "Hello", "content": "Hello"}).ok()
		for _, kind := range []mail.Kind{mail.AppPasswordCreated, mail.AccountDeactivated, mail.PasswordChanged, mail.Notice} {
			m := s.Mail.Notice(kind, alice.Email)
			if text, inHTML := linksOf(m); len(text)+len(inHTML) > 0 || strings.Contains(m.Text, "Type it") || strings.Contains(m.Text+m.HTML, "#code") {
				t.Errorf("%s leads to %q, %q:\n%s", kind, text, inHTML, m.Text)
			}
		}
	}, config(withPages(mail.ResetPassword, mail.SignIn)))
}
