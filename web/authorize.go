package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/oauth/client"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/signin/device"
	"github.com/gatehouse-at/gatehouse/web/pages"
)

// authorization is an authorization request on its way through the pages.
type authorization struct {
	*visit
	request *oauth.Request
	choice  oauth.Choice
}

// requestURIPrefix is how the URIs of pushed requests begin. A browser isn't given a cookie for
// anything else.
const requestURIPrefix = "urn:ietf:params:oauth:request_uri:"

// openRequest opens the authorization request that the parameters name, for this browser.
func (v *visit) openRequest() (*authorization, error) {
	d := v.device
	if d == nil {
		d = &device.Device{} // nothing is bound to it
	}
	r, err := v.oauth.service.Open(v.ctx, v.params.Get("client_id"), v.params.Get("request_uri"), d)
	if err != nil {
		return nil, err
	}
	if r.UILocales != "" {
		v.lang = v.oauth.pages.Language(strings.Join(strings.Fields(r.UILocales), ","), v.r.Header.Get("Accept-Language"))
	}
	a := &authorization{visit: v, request: r, choice: oauth.Choice{Another: v.params.Get("another") != ""}}
	if picked := v.params.Get("account"); picked != "" {
		did, err := syntax.ParseDID(picked)
		if err != nil {
			return nil, errBadQuery
		}
		a.choice.DID = did
	}
	return a, nil
}

// authorize serves the authorization page (RFC 6749, section 3.1): what a person is asked next, or
// the answer to the client.
func (s *Server) authorize(v *visit) error {
	if strings.HasPrefix(v.params.Get("request_uri"), requestURIPrefix) && v.params.Get("client_id") != "" {
		if err := v.needDevice(); err != nil {
			return err
		}
	}
	a, err := v.openRequest()
	if err != nil {
		return err
	}
	return a.next(http.StatusOK, "")
}

// authorizeForm serves the forms of the authorization page.
func (s *Server) authorizeForm(v *visit) error {
	if v.device == nil {
		return v.noBrowser()
	}
	if err := v.checkForm(v.browser(), requestPurpose(v.params.Get("client_id"), v.params.Get("request_uri"))); err != nil {
		return err
	}
	v.opened = true
	a, err := v.openRequest()
	if err != nil {
		return err
	}
	switch v.params.Get("action") {
	case "sign-in", "code", "resend":
		return a.signInAndGoOn()
	case "accept":
		answer, err := s.oauth.service.Accept(a.ctx, a.request, a.device, a.choice.DID, a.params["scope"])
		return a.answerOr(answer, err)
	case "deny":
		answer, err := s.oauth.service.Deny(a.ctx, a.request, a.device)
		return a.answerOr(answer, err)
	case "reactivate":
		return a.reactivate()
	}
	return errAction
}

// requestPurpose is what the forms of an authorization request are for.
func requestPurpose(clientID, requestURI string) string {
	return "authorize " + url.Values{"c": {clientID}, "r": {requestURI}}.Encode()
}

// self returns a link to the page of the request, with an account that was chosen.
func (a *authorization) self(query ...string) string {
	return link(a.oauth.paths.Authorize, append([]string{"client_id", a.request.Client.ID, "request_uri", a.request.URI}, query...)...)
}

// newForm returns a form of the page.
func (a *authorization) newForm(fields ...string) (pages.Form, error) {
	fields = append([]string{"client_id", a.request.Client.ID, "request_uri", a.request.URI}, fields...)
	return a.form(a.oauth.paths.Authorize, a.browser(), requestPurpose(a.request.Client.ID, a.request.URI), fields...)
}

// next shows what the person is asked next, or answers the client.
func (a *authorization) next(status int, problem string) error {
	if a.params.Get("choose") != "" && len(a.device.SignIns) > 0 && a.request.Prompt != oauth.PromptNone {
		return a.showChoice(status, &oauth.View{SignIns: a.device.SignIns}, problem)
	}
	view, err := a.oauth.service.Next(a.ctx, a.request, a.device, a.choice)
	if err != nil {
		return err
	}
	switch view.Step {
	case oauth.StepAnswer:
		return a.answer(view.Answer)
	case oauth.StepSelect:
		return a.showChoice(status, view, problem)
	case oauth.StepConsent:
		if !view.Chosen.Account.Active() {
			return a.showReactivation(status, view, problem)
		}
		return a.showConsent(status, view, problem)
	}
	place, err := a.signInPlace()
	if err != nil {
		return err
	}
	place.again = view.Again
	return a.showSignIn(place, status, a.known(view.Identifier), false, problem)
}

// known returns the handle of an account that is named by its DID, which people don't know by
// heart.
func (a *authorization) known(identifier string) string {
	did, err := syntax.ParseDID(identifier)
	if err != nil {
		return identifier
	}
	if account, err := a.cfg.Accounts.Get(a.ctx, did); err == nil {
		return account.Handle.String()
	}
	return identifier
}

// signInPlace returns the sign-in page of the request.
func (a *authorization) signInPlace() (*signInPlace, error) {
	form, err := a.newForm()
	p := &signInPlace{
		form: form, client: clientOf(a.request.Client), deny: &form, restart: a.self("another", "1"), target: a.request.RedirectURI,
		browser: a.browser(), purpose: form.Action + " " + a.request.URI,
	}
	if len(a.device.SignIns) > 0 {
		p.others = a.self("choose", "1")
	}
	return p, err
}

// signInAndGoOn signs somebody in, and goes on with the account.
func (a *authorization) signInAndGoOn() error {
	place, err := a.signInPlace()
	if err != nil {
		return err
	}
	signedIn, err := a.signIn(place)
	if err != nil || signedIn == nil {
		return err
	}
	return a.redirect(a.self("account", signedIn.Account.DID.String()))
}

// showChoice shows the accounts that are signed in.
func (a *authorization) showChoice(status int, view *oauth.View, problem string) error {
	deny, err := a.newForm()
	if err != nil {
		return err
	}
	c := &pages.Choose{
		Client: clientOf(a.request.Client), Deny: &deny, Problem: problem,
		Form: pages.Form{Action: a.oauth.paths.Authorize, Hidden: []pages.Hidden{
			{Name: "client_id", Value: a.request.Client.ID}, {Name: "request_uri", Value: a.request.URI},
		}},
	}
	for _, si := range view.SignIns {
		c.Accounts = append(c.Accounts, accountOf(si.Account))
	}
	return a.render(status, c, a.request.RedirectURI)
}

// showConsent asks for consent.
func (a *authorization) showConsent(status int, view *oauth.View, problem string) error {
	did := view.Chosen.Account.DID
	form, err := a.newForm("account", did.String())
	if err != nil {
		return err
	}
	c := &pages.Consent{
		Form: form, Client: clientOf(a.request.Client), Account: accountOf(view.Chosen.Account), OtherAccounts: a.self(a.otherAccounts(view)...),
		Applications: a.oauth.applicationsPath(), Problem: problem,
	}
	for i, item := range a.request.Items {
		p := a.permission(item)
		p.ID, p.Ticked = permissionID(i), true
		switch item.Risk {
		case scope.Dangerous:
			c.Dangerous = append(c.Dangerous, p)
		case scope.Sensitive:
			c.Sensitive = append(c.Sensitive, p)
		default:
			c.Ordinary = append(c.Ordinary, p)
		}
	}
	return a.render(status, c, a.request.RedirectURI)
}

// showReactivation asks whether to reactivate the chosen account.
func (a *authorization) showReactivation(status int, view *oauth.View, problem string) error {
	form, err := a.newForm("account", view.Chosen.Account.DID.String())
	if err != nil {
		return err
	}
	return a.render(status, &pages.Reactivate{
		Form: form, Client: clientOf(a.request.Client), Account: accountOf(view.Chosen.Account),
		Deletion: view.Chosen.Account.DeleteAfter != nil, OtherAccounts: a.self(a.otherAccounts(view)...), Problem: problem,
	}, a.request.RedirectURI)
}

// otherAccounts returns the query of the page on which another account can be chosen.
func (a *authorization) otherAccounts(view *oauth.View) []string {
	if len(view.SignIns) > 1 {
		return []string{"choose", "1"}
	}
	return []string{"another", "1"}
}

// reactivate reactivates the chosen account, which has to be signed in.
func (a *authorization) reactivate() error {
	if a.device.SignedIn(a.choice.DID) == nil {
		return a.next(http.StatusBadRequest, a.lang.Text("problem.signed-out"))
	}
	if err := a.cfg.Accounts.Activate(a.as(a.choice.DID), a.choice.DID); err != nil {
		status, text, ok := a.problem(err)
		if !ok {
			return err
		}
		return a.next(status, text)
	}
	return a.redirect(a.self("account", a.choice.DID.String()))
}

// answerOr answers the client. If the person has to sign in once more, it asks for that.
func (a *authorization) answerOr(answer *oauth.Answer, err error) error {
	if refused, ok := errors.AsType[*oauth.Error](err); ok && refused.Code == "login_required" && refused.Answer == nil {
		return a.next(http.StatusBadRequest, a.lang.Text("problem.signed-out"))
	}
	if err != nil {
		return err
	}
	return a.answer(answer)
}

// answer sends the browser to the client with an answer. The operating system passes no form on to
// an application with a scheme of its own, so that its answers are always in the URL.
func (v *visit) answer(a *oauth.Answer) error {
	if a.Mode != "form_post" || !isWebURL(a.RedirectURI) {
		return v.redirect(a.URL())
	}
	page := &pages.Answer{Form: pages.Form{Action: a.RedirectURI}, Target: a.RedirectURI}
	if u, err := url.Parse(a.RedirectURI); err == nil && u.Host != "" {
		page.Target = u.Host
	}
	for _, name := range []string{"iss", "state", "code", "error", "error_description"} {
		if a.Params.Has(name) {
			page.Form.Hidden = append(page.Form.Hidden, pages.Hidden{Name: name, Value: a.Params.Get(name)})
		}
	}
	return v.render(http.StatusOK, page, a.RedirectURI)
}

func isWebURL(u string) bool {
	return strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://")
}

// clientOf returns a client for a page.
func clientOf(c *client.Client) *pages.Client {
	return &pages.Client{
		ID: c.ID, Host: c.Host, Name: tidyName(c.Metadata.ClientName), Local: c.Local, Trusted: c.Trusted,
		PolicyURI: c.Metadata.PolicyURI, TermsURI: c.Metadata.TermsURI,
	}
}

// accountOf returns an account for a page.
func accountOf(a *accounts.Account) pages.Account {
	label := a.DID.String()
	if a.Handle != "" && a.Handle != syntax.HandleInvalid {
		label = "@" + a.Handle.String()
	}
	return pages.Account{DID: a.DID.String(), Label: label, Deactivated: a.DeactivatedAt != nil}
}
