package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/signin/device"
	"github.com/gatehouse-at/gatehouse/web/pages"
)

// applicationsPath is the page of the applications with access.
func (f *oauthFace) applicationsPath() string { return f.account + "/applications" }

// signedIn returns the account that the page is about: the one of the parameter account, or the one
// that signed in last. It returns nil if it isn't signed in.
func (v *visit) signedIn() *device.SignIn {
	if v.device == nil || len(v.device.SignIns) == 0 {
		return nil
	}
	if !v.params.Has("account") {
		return &v.device.SignIns[0]
	}
	did, err := syntax.ParseDID(v.params.Get("account"))
	if err != nil {
		return nil
	}
	return v.device.SignedIn(did)
}

// applications shows the applications with access to an account.
func (s *Server) applications(v *visit) error {
	who := v.signedIn()
	if who == nil {
		return v.redirect(s.oauth.signInPath())
	}
	ended := v.params.Get("ended")
	if !v.oauth.tokens.valid(v.params.Get("done"), v.browser(), endedPurpose(who.Account.DID, ended)) {
		ended = ""
	}
	return v.showApplications(http.StatusOK, who, ended, "")
}

// endedPurpose is what the parameter is for by which the page knows that this browser has ended an
// application.
func endedPurpose(did syntax.DID, clientID string) string {
	return "ended for " + did.String() + " " + clientID
}

// showApplications shows the applications of an account. It says that one has ended, if ended is
// its ID and it hasn't got access again: the page may be reloaded much later.
func (v *visit) showApplications(status int, who *device.SignIn, ended, problem string) error {
	did := who.Account.DID
	all, err := v.oauth.service.Applications(v.ctx, did)
	if err != nil {
		return err
	}
	form, err := v.form(v.oauth.applicationsPath(), v.browser(), accountPurpose, "account", did.String())
	if err != nil {
		return err
	}
	page := &pages.Applications{
		Form: form, Account: accountOf(who.Account), SignInURL: v.oauth.signInPath(), Problem: problem,
	}
	if ended != "" && !slices.ContainsFunc(all, func(app *oauth.Application) bool { return app.ClientID == ended }) {
		page.Done = v.lang.Text("applications.ended")
	}
	for _, si := range v.device.SignIns {
		if si.Account.DID != did {
			page.Others = append(page.Others, pages.AccountLink{
				Label: accountOf(si.Account).Label, URL: link(v.oauth.applicationsPath(), "account", si.Account.DID.String()),
			})
		}
	}
	for _, app := range all {
		page.Applications = append(page.Applications, v.application(app))
	}
	return v.render(status, page, "")
}

// application returns an application for the page. The documents of its permission sets aren't
// fetched for it.
func (v *visit) application(app *oauth.Application) pages.Application {
	if app.Name == app.Host {
		app.Name = "" // it is shown already
	}
	out := pages.Application{
		Client: &pages.Client{
			ID: app.ClientID, Host: app.Host, Name: tidyName(app.Name), Local: isLocal(app.ClientID),
		},
		Sessions: len(app.Sessions), Since: v.lang.Moment(app.AuthorizedAt), Used: v.lang.Moment(app.LastUsedAt),
	}
	for _, item := range scope.Describe(app.Scope, nil) {
		out.Permissions = append(out.Permissions, v.permission(item).Title)
	}
	return out
}

// applicationsForm ends the access of an application, or signs the account out of the browser.
func (s *Server) applicationsForm(v *visit) error {
	if v.device == nil {
		return v.noBrowser()
	}
	if err := v.checkForm(v.browser(), accountPurpose); err != nil {
		return err
	}
	if !v.params.Has("account") {
		return errAction
	}
	who := v.signedIn()
	if who == nil {
		return v.redirect(s.oauth.signInPath())
	}
	did := who.Account.DID
	switch v.params.Get("action") {
	case "sign-out":
		if err := s.oauth.devices.SignOut(v.ctx, v.cookie, did); err != nil {
			return err
		}
		return v.redirect(s.oauth.applicationsPath())
	case "end":
		client := v.params.Get("client_id")
		if err := s.oauth.service.EndApplication(v.as(did), did, client); err != nil {
			if status, text, ok := v.problem(err); ok {
				return v.showApplications(status, who, "", text)
			}
			return err
		}
		if len(client) > maxClientID { // too long for the URL of a message
			return v.redirect(link(s.oauth.applicationsPath(), "account", did.String()))
		}
		done, err := v.oauth.tokens.issue(v.browser(), endedPurpose(did, client))
		if err != nil {
			return err
		}
		return v.redirect(link(s.oauth.applicationsPath(), "account", did.String(), "ended", client, "done", done))
	}
	return errAction
}

// isLocal reports whether a client is a program on the computer of whoever uses it (source:
// https://atproto.com/specs/oauth, "Localhost Client Development").
func isLocal(clientID string) bool {
	id, _, _ := strings.Cut(clientID, "?")
	return id == "http://localhost" || id == "http://localhost/"
}
