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

// codePage returns the operator's page for a kind of e-mail. It has a query, as a page that serves
// several purposes or languages would.
func codePage(kind mail.Kind) string {
	return "https://pds.example.com/codes?for=" + string(kind) + "&lang=en"
}

// withPages configures a page for each of the given kinds of e-mail.
func withPages(kinds ...mail.Kind) func(*gatehouse.Config) {
	return func(c *gatehouse.Config) {
		c.Mail.Pages = map[mail.Kind]string{}
		for _, kind := range kinds {
			c.Mail.Pages[kind] = codePage(kind)
		}
	}
}

var (
	// urls matches what mail programs turn into links when they show plain text.
	urls  = regexp.MustCompile(`[a-z]+://\S+`)
	hrefs = regexp.MustCompile(`href="([^"]*)"`)
)

// linksOf returns the links in the plain text of an e-mail and those in its HTML.
func linksOf(m mail.Message) (text, inHTML []string) {
	text = urls.FindAllString(m.Text, -1)
	for _, link := range hrefs.FindAllStringSubmatch(m.HTML, -1) {
		inHTML = append(inHTML, html.UnescapeString(link[1]))
	}
	return text, inHTML
}

// typeInApp is what an e-mail says when there is no page to link to.
const typeInApp = "Type it in the app where it was asked for."

// checkLinks checks that an e-mail has its code on a separate line and links to the given page and
// nothing else, or has no link if page is empty. It returns the code as the page receives it.
func checkLinks(t *testing.T, m mail.Message, page string) string {
	t.Helper()
	if m.Code == "" || !slices.Contains(strings.Split(m.Text, "\n"), m.Code) {
		t.Errorf("%s: the code is not on a separate line:\n%s", m.Kind, m.Text)
	}
	text, inHTML := linksOf(m)
	if page == "" {
		if len(text)+len(inHTML) > 0 || !strings.Contains(m.Text, typeInApp) || !strings.Contains(m.HTML, typeInApp) {
			t.Errorf("%s: the links are %q and %q, want none and %q:\n%s", m.Kind, text, inHTML, typeInApp, m.Text)
		}
		return m.Code
	}
	want := []string{page, page + "#code=" + m.Code}
	if !slices.Equal(text, want) || !slices.Equal(inHTML, want) {
		t.Fatalf("%s: the text links to %q and the HTML to %q, want %q", m.Kind, text, inHTML, want)
	}
	if strings.Contains(m.Text+m.HTML, typeInApp) {
		t.Errorf("%s: links to a page and also asks to type the code in the app:\n%s", m.Kind, m.Text)
	}
	u, err := url.Parse(inHTML[1])
	if err != nil {
		t.Fatal(err)
	}
	if at, err := url.Parse(page); err != nil || u.RequestURI() != at.RequestURI() || u.Host != at.Host {
		t.Errorf("%s: browsers would send the code to the page's server: %s", m.Kind, u.RequestURI())
	}
	fragment, err := url.ParseQuery(u.EscapedFragment())
	if err != nil {
		t.Fatal(err)
	}
	return fragment.Get("code")
}

// TestEmailsLinkToConfiguredPages requests each kind of e-mail that has a code and redeems the code
// as the linked page receives it.
func TestEmailsLinkToConfiguredPages(t *testing.T) {
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
					return checkLinks(t, s.Mail.Notice(kind, alice.Email), c.page(kind))
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

// TestPagesAreConfiguredPerEmailKind checks that a page for one kind of e-mail is not used by
// another kind.
func TestPagesAreConfiguredPerEmailKind(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		me := bearer(alice.AccessJWT)
		s.do(nobody, "server.requestPasswordReset", object{"email": alice.Email}).ok()
		checkLinks(t, s.Mail.Notice(mail.ResetPassword, alice.Email), codePage(mail.ResetPassword))
		s.do(me, "server.requestEmailConfirmation", nil).ok()
		checkLinks(t, s.Mail.Notice(mail.ConfirmEmail, alice.Email), "")
	}, config(withPages(mail.ResetPassword)))
}

// TestNoticesHaveNoLink checks that notices contain no link, whatever pages are configured: owners
// can then tell them from forged ones. What an admin writes is not changed.
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
				t.Errorf("%s: the links are %q and %q, want none:\n%s", kind, text, inHTML, m.Text)
			}
		}
	}, config(withPages(mail.ResetPassword, mail.SignIn)))
}
