package web

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/signin/device"
	"github.com/gatehouse-at/gatehouse/web/pages"
)

// signInPlace is a page on which people sign in: that of an authorization request, or that of the
// account's own pages. Both have the same two forms.
type signInPlace struct {
	form   pages.Form
	client *pages.Client
	deny   *pages.Form
	// others is a link to the accounts that are signed in, or empty, and restart one to the page
	// itself.
	others, restart string
	// target is the redirect URI to which a form may lead.
	target string
	// again is set if the account is signed in already, and its owner has to prove it once more.
	again bool
	// browser and purpose are what a second step is bound to.
	browser, purpose string
}

// showSignIn shows the sign-in page.
func (v *visit) showSignIn(p *signInPlace, status int, identifier string, remember bool, problem string) error {
	return v.render(status, &pages.SignIn{
		Form: p.form, Client: p.client, Deny: p.deny, Identifier: shortened(refusal.Clean(identifier)), Remember: remember,
		Again: p.again, OtherAccounts: p.others, Problem: problem,
	}, p.target)
}

// maxShown is the longest input that a page shows again, in bytes.
const maxShown = 2048

func shortened(s string) string {
	if len(s) <= maxShown {
		return s
	}
	s = s[:maxShown]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// signIn signs somebody in with the form of the sign-in page or that of the second step. If that
// takes another step, or didn't work, it answers with a page and returns nil.
func (v *visit) signIn(p *signInPlace) (*device.SignIn, error) {
	var attempt pending
	var code string
	action := v.params.Get("action")
	second := action == "code" || action == "resend"
	if second {
		var err error
		if attempt, err = v.oauth.sealer.open(v.params.Get("pending"), p.browser, p.purpose, v.cfg.Now()); err != nil {
			return nil, v.showSignIn(p, http.StatusBadRequest, "", false, v.lang.Text("problem.pending"))
		}
		if action == "code" {
			if code = strings.TrimSpace(v.params.Get("code")); code == "" { // nothing was tried, so nothing is sent again
				return nil, v.showCode(p, http.StatusBadRequest, attempt, v.lang.Text("problem.code"))
			}
		}
	} else {
		attempt = pending{Identifier: v.params.Get("identifier"), Password: v.params.Get("password"), Remember: v.params.Get("remember") != ""}
		if strings.TrimSpace(attempt.Identifier) == "" || attempt.Password == "" {
			return nil, v.showSignIn(p, http.StatusBadRequest, attempt.Identifier, attempt.Remember, v.lang.Text("problem.missing"))
		}
	}
	d, signedIn, cookie, err := v.oauth.devices.SignIn(v.ctx, v.cookie,
		signin.Attempt{Identifier: attempt.Identifier, Password: attempt.Password, Code: code}, attempt.Remember)
	if err == nil {
		v.setDevice(d, cookie)
		return signedIn, nil
	}
	if wanted, ok := errors.AsType[*signin.FactorRequiredError](err); ok {
		attempt.Sent, attempt.Mailed = v.sentText(wanted)
		attempt.ExpiresAt = v.cfg.Now().Add(pendingLifetime)
		return nil, v.showCode(p, http.StatusOK, attempt, "")
	}
	status, text, ok := v.problem(err)
	switch {
	case !ok:
		return nil, err
	case second && !errors.Is(err, accounts.ErrBadCredentials):
		return nil, v.showCode(p, status, attempt, text)
	}
	return nil, v.showSignIn(p, status, attempt.Identifier, attempt.Remember, text)
}

// showCode shows the page of the second step.
func (v *visit) showCode(p *signInPlace, status int, attempt pending, problem string) error {
	sealed, err := v.oauth.sealer.seal(attempt, p.browser, p.purpose)
	if err != nil {
		return err
	}
	return v.render(status, &pages.Code{
		Form: p.form, Client: p.client, Deny: p.deny, Sent: attempt.Sent, Identifier: shortened(refusal.Clean(attempt.Identifier)),
		Pending: sealed, Resend: attempt.Mailed, Restart: p.restart, Problem: problem,
	}, p.target)
}

// sentText says which code is asked for, and whether it was mailed.
func (v *visit) sentText(wanted *signin.FactorRequiredError) (text string, mailed bool) {
	if len(wanted.Factors) > 0 && wanted.Factors[0] == signin.MethodEmailCode {
		return v.lang.Text("code.mailed"), true
	}
	return refusal.Clean(wanted.PublicMessage()), false
}

// signInPath is the page on which people sign in to see their account's pages.
func (f *oauthFace) signInPath() string { return f.account + "/sign-in" }

// accountPurpose is what the forms of the account's pages are for.
const accountPurpose = "account"

// browser returns what the forms of the account's pages are bound to: the device, or for a browser
// without one a cookie of its own, which needs no record.
func (v *visit) browser() string {
	if v.device != nil {
		return "device " + v.device.ID
	}
	if c := v.oauth.cookies.get(v.r, formCookie); c != "" {
		return "form " + c
	}
	return ""
}

// accountSignInPlace returns the sign-in page of the account's own pages.
func (v *visit) accountSignInPlace(browser string) (*signInPlace, error) {
	form, err := v.form(v.oauth.signInPath(), browser, accountPurpose)
	p := &signInPlace{form: form, restart: v.oauth.signInPath(), browser: browser, purpose: accountPurpose}
	if v.device != nil && len(v.device.SignIns) > 0 {
		p.others = v.oauth.applicationsPath()
	}
	return p, err
}

// accountSignIn shows the sign-in page of the account's own pages.
func (s *Server) accountSignIn(v *visit) error {
	browser := v.browser()
	if browser == "" {
		value, err := v.oauth.tokens.issue("", "form cookie") // as good as any random text
		if err != nil {
			return err
		}
		s.oauth.cookies.set(v.w, formCookie, value, time.Time{})
		browser = "form " + value
	}
	p, err := v.accountSignInPlace(browser)
	if err != nil {
		return err
	}
	return v.showSignIn(p, http.StatusOK, "", false, "")
}

// accountSignInForm serves its forms.
func (s *Server) accountSignInForm(v *visit) error {
	browser := v.browser()
	if browser == "" {
		return v.noBrowser()
	}
	if err := v.checkForm(browser, accountPurpose); err != nil {
		return err
	}
	if !slices.Contains([]string{"sign-in", "code", "resend"}, v.params.Get("action")) {
		return errAction
	}
	p, err := v.accountSignInPlace(browser)
	if err != nil {
		return err
	}
	signedIn, err := v.signIn(p)
	if err != nil || signedIn == nil {
		return err
	}
	return v.redirect(link(s.oauth.applicationsPath(), "account", signedIn.Account.DID.String()))
}
