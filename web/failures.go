package web

import (
	"errors"
	"math"
	"net/http"
	"net/url"

	"github.com/google/uuid"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin/device"
	"github.com/gatehouse-at/gatehouse/web/pages"
)

// failure is an error of this package that has a page: the keys of its texts, and what developers
// are told.
type failure struct {
	status            int
	title, text, help string // keys of the catalogue; help may be empty
	code, description string
}

func (f *failure) Error() string { return f.description }

var (
	errMethod      = &failure{http.StatusMethodNotAllowed, "failure.method", "failure.method-text", "", codeInvalidRequest, "the method is not allowed"}
	errBadQuery    = &failure{http.StatusBadRequest, "failure.request", "failure.request-text", "failure.request-help", codeInvalidRequest, "the query is not well-formed"}
	errEmbedded    = &failure{http.StatusBadRequest, "failure.embedded", "failure.embedded-text", "", codeInvalidRequest, "the Sec-Fetch headers are not those of a navigation to a document"}
	errForeignForm = &failure{http.StatusForbidden, "failure.cross-site", "failure.cross-site-text", "", codeInvalidRequest, "the form comes from another origin"}
	errOldForm     = &failure{http.StatusForbidden, "failure.form", "failure.form-text", "failure.form-help", codeInvalidRequest, "the csrf token is missing or not of this browser"}
	errNoCookies   = &failure{http.StatusBadRequest, "failure.cookies", "failure.cookies-text", "failure.cookies-help", codeInvalidRequest, "the request has no cookie of a device"}
	errNoPage      = &failure{http.StatusNotFound, "failure.not-found", "failure.not-found-text", "", codeInvalidRequest, "there is nothing at this path"}
	errAction      = &failure{http.StatusBadRequest, "failure.method", "failure.method-text", "", codeInvalidRequest, "the action is not one of this page"}
)

// serverFailure is the page for errors that are nobody's fault in front of a browser.
var serverFailure = &failure{title: "failure.server", text: "failure.server-text", help: "failure.server-help", code: codeServerError}

// refusedRequest is the page for an authorization request that can't be answered to the client.
var refusedRequest = &failure{title: "failure.request", text: "failure.request-text", help: "failure.request-help"}

// endedRequest is the page for a request that was good when its page was made.
var endedRequest = &failure{title: "failure.ended", text: "failure.ended-text", help: "failure.ended-help"}

// foreignRequest is the page for a request that another browser has opened before.
var foreignRequest = &failure{title: "failure.elsewhere", text: "failure.elsewhere-text", help: "failure.elsewhere-help"}

// faultyClient is the page for a client whose document is faulty or can't be read.
var faultyClient = &failure{title: "failure.client-title", text: "failure.client-text", help: "failure.client-help"}

// refusedClients are the pages for errors about a client itself, by their codes.
var refusedClients = map[string]*failure{
	"invalid_client_metadata": faultyClient,
	"invalid_redirect_uri":    faultyClient,
	"unauthorized_client":     {title: "failure.client-title", text: "failure.client-refused", help: "failure.client-help"},
}

// maxClientID is how much of a client_id an error page shows, in bytes.
const maxClientID = 512

// fail answers with an error page. A browser that nobody has signed in on, and whose person has
// chosen nothing, is never sent on to a client: anybody can be one, and make links that lead
// through this server to wherever they like (source: RFC 9700, section 4.11.2). An answer that the
// error has for the client is a link on the page.
func (v *visit) fail(err error) {
	var (
		own     *failure
		refused *oauth.Error
		body    *bodyError
		page    pages.Failure
		status  int
	)
	switch {
	case errors.As(err, &refused) && refused.Answer != nil:
		status, page = refused.Status(), v.failurePage(foreignRequest)
		page.Code, page.Description, page.Back = refused.Code, refused.Description, v.backWith(refused.Answer)
	case errors.As(err, &own):
		if status, page = own.status, v.failurePage(own); own == errOldForm {
			page.Back = v.again()
		}
	case errors.As(err, &body):
		status, page = body.status, v.failurePage(refusedRequest)
		page.Code, page.Description = codeInvalidRequest, body.text
	case errors.As(err, &refused):
		f := refusedClients[refused.Code]
		ended := v.opened && refused.Code == codeInvalidRequest
		switch {
		case ended:
			f = endedRequest
		case f == nil:
			f = refusedRequest
		}
		status, page = refused.Status(), v.failurePage(f)
		switch {
		case ended:
			page.Back = v.clientHome()
		case f == faultyClient: // the document may be there again in a moment
			page.Back = v.again()
		}
		if status == http.StatusUnauthorized { // a page has no challenge
			status = http.StatusBadRequest
		}
		page.Code, page.Description = refused.Code, refused.Description
	default:
		status, page = v.otherFailure(err)
	}
	if page.ClientID = v.params.Get("client_id"); len(page.ClientID) > maxClientID {
		page.ClientID = page.ClientID[:maxClientID]
	}
	page.ClientID, page.Description = refusal.Clean(page.ClientID), refusal.Clean(page.Description)
	if err := v.render(status, &page, ""); err != nil {
		v.failPlainly(err)
	}
}

// otherFailure returns the page for an error of another package.
func (v *visit) otherFailure(err error) (int, pages.Failure) {
	p := v.describe(err)
	page := v.failurePage(serverFailure)
	page.Code = p.name
	switch {
	case p.status == http.StatusTooManyRequests:
		page.Title, page.Happened, page.Help = v.lang.Text("failure.limited"), v.limitedText(err), ""
	case p.status < http.StatusInternalServerError:
		page.Title, page.Happened, page.Help = v.lang.Text("failure.title"), v.lang.Text("problem.refused", refusal.Clean(p.message)), ""
	default:
		page.Reference, page.Back = uuid.NewString(), v.again()
		v.w.Header().Set("X-Request-Id", page.Reference)
		v.logFailure(v.r, p.status, err, "request", page.Reference)
		if p.status == http.StatusServiceUnavailable {
			v.w.Header().Set("Retry-After", "5")
		}
	}
	return p.status, page
}

// again returns a link to the page whose form can't be used.
func (v *visit) again() *pages.AccountLink {
	return &pages.AccountLink{
		Label: v.lang.Text("failure.back"),
		URL:   link(v.r.URL.Path, "client_id", v.params.Get("client_id"), "request_uri", v.params.Get("request_uri")),
	}
}

// backWith returns a link to the client with an answer, or to its website if it takes no answers
// from links.
func (v *visit) backWith(a *oauth.Answer) *pages.AccountLink {
	u, err := url.Parse(a.RedirectURI)
	if err != nil || !isWebURL(a.RedirectURI) || a.Mode == "form_post" {
		return v.clientHome()
	}
	return &pages.AccountLink{Label: v.lang.Text("failure.ended-back", u.Host), URL: a.URL()}
}

// clientHome returns a link to the website of the client whose request this is, if it has one.
func (v *visit) clientHome() *pages.AccountLink {
	u, err := url.Parse(v.params.Get("client_id"))
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil
	}
	return &pages.AccountLink{Label: v.lang.Text("failure.ended-back", u.Host), URL: "https://" + u.Host + "/"}
}

func (v *visit) failurePage(f *failure) pages.Failure {
	page := pages.Failure{Title: v.lang.Text(f.title), Happened: v.lang.Text(f.text), Code: f.code, Description: f.description}
	if f.help != "" {
		page.Help = v.lang.Text(f.help)
	}
	return page
}

// failPlainly answers if not even the error page can be made.
func (v *visit) failPlainly(err error) {
	v.logFailure(v.r, http.StatusInternalServerError, err)
	http.Error(v.w, "Internal Server Error", http.StatusInternalServerError)
}

// problem returns what is wrong with what a person has typed or chosen, in words for the page that
// they came from, and the status of that page. It reports false for errors with a page of their
// own.
func (v *visit) problem(err error) (status int, text string, ok bool) {
	status = http.StatusBadRequest
	switch {
	case isOneOf(err, accounts.ErrBadCredentials, accounts.ErrNotFound):
		return status, v.lang.Text("problem.credentials"), true
	case isOneOf(err, sessions.ErrAccountTakedown, accounts.ErrTakenDown):
		return status, v.lang.Text("problem.taken-down"), true
	case errors.Is(err, codes.ErrInvalid):
		return status, v.lang.Text("problem.code"), true
	case errors.Is(err, codes.ErrExpired):
		return status, v.lang.Text("problem.code-expired"), true
	case errors.Is(err, errPending):
		return status, v.lang.Text("problem.pending"), true
	case errors.Is(err, device.ErrNotSignedIn):
		return status, v.lang.Text("problem.signed-out"), true
	case errors.Is(err, ratelimit.ErrLimited):
		return http.StatusTooManyRequests, v.limitedText(err), true
	case errors.Is(err, ratelimit.ErrBusy):
		v.w.Header().Set("Retry-After", "5")
		return http.StatusServiceUnavailable, v.lang.Text("problem.busy"), true
	case errors.Is(err, oauth.ErrRefused):
		return 0, "", false
	}
	// What else has a message for people comes from the embedding program.
	if p := v.describe(err); p.status < http.StatusInternalServerError {
		return p.status, v.lang.Text("problem.refused", refusal.Clean(p.message)), true
	}
	return 0, "", false
}

// limitedText says when somebody may try again.
func (v *visit) limitedText(err error) string {
	minutes := 1
	if limited, ok := errors.AsType[*ratelimit.LimitedError](err); ok {
		minutes = max(1, int(math.Ceil(limited.State.Reset.Sub(v.cfg.Now()).Minutes())))
	}
	return v.lang.Text("problem.limited", minutes)
}
