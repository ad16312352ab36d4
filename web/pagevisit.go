package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/signin/device"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/web/pages"
)

// visit is a request for a page, or a form that was sent from one.
type visit struct {
	*Server
	w    http.ResponseWriter
	r    *http.Request
	ctx  context.Context
	lang pages.Language
	// params are the query of a request for a page, and the fields of a form.
	params url.Values
	// device is the browser, and cookie the value that its cookie has by now. Both are empty for a
	// browser that isn't known.
	device *device.Device
	cookie string
	// opened is set for a form of an authorization request, from whose token is known that this
	// browser was shown the request of the client that the form names.
	opened bool
}

// page returns a handler for a page, with a function for those who look at it and one for its
// forms. It refuses requests by which other websites could make use of a person's browser.
func (s *Server) page(show, form func(*visit) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Server: s, w: w, r: r, lang: s.oauth.pages.Language(r.Header.Get("Accept-Language"))}
		if err := v.serve(show, form); err != nil {
			v.fail(err)
		}
	}
}

func (v *visit) serve(show, form func(*visit) error) (err error) {
	isForm := v.r.Method == http.MethodPost
	if !isForm && v.r.Method != http.MethodGet {
		v.w.Header().Set("Allow", "GET, POST")
		return errMethod
	}
	if err := v.charge(v.w, v.r, ""); err != nil {
		return err
	}
	if v.ctx = v.withAddress(v.w, v.r); isForm {
		v.params, err = readForm(v.r)
	} else if v.params, err = url.ParseQuery(v.r.URL.RawQuery); err != nil {
		err = errBadQuery
	}
	switch {
	case err != nil:
		return err
	case isForm && v.oauth.guard.foreign(v.r):
		return errForeignForm
	case v.oauth.guard.embedded(v.r):
		return errEmbedded
	}
	for name, values := range v.params {
		if len(values) > 1 && (name != "scope" || !isForm) {
			return errDoubled
		}
	}
	if err := v.findDevice(); err != nil {
		return err
	}
	if isForm {
		return form(v)
	}
	return show(v)
}

// findDevice looks up the browser, and gives it the next value of its cookie when it is due.
func (v *visit) findDevice() error {
	shown := v.oauth.cookies.get(v.r, deviceCookie)
	if shown == "" {
		return nil
	}
	d, renewed, err := v.oauth.devices.Find(v.ctx, shown)
	if err != nil || d == nil {
		return err
	}
	if v.device, v.cookie = d, shown; renewed != "" {
		v.setDevice(d, renewed)
	}
	return nil
}

// setDevice gives the browser a cookie.
func (v *visit) setDevice(d *device.Device, cookie string) {
	v.device, v.cookie = d, cookie
	v.oauth.cookies.setDevice(v.w, cookie, d)
}

// needDevice makes a record of the browser if there is none.
func (v *visit) needDevice() error {
	if v.device != nil {
		return nil
	}
	if err := v.charge(v.w, v.r, "oauth-device", deviceLimit...); err != nil {
		return err
	}
	d, cookie, err := v.oauth.devices.Create(v.ctx)
	if err == nil {
		v.setDevice(d, cookie)
	}
	return err
}

// as returns a context in which the store is changed only while an account is signed in on the
// browser.
func (v *visit) as(did syntax.DID) context.Context {
	id := v.device.ID
	return storage.WithPrecondition(v.ctx, func(tx storage.Tx) error {
		_, err := v.oauth.devices.SignedInTx(tx, id, did)
		return err
	})
}

// checkForm checks that a form comes from a page that this browser was shown.
func (v *visit) checkForm(browser, purpose string) error {
	if browser == "" || !v.oauth.tokens.valid(v.params.Get("csrf"), browser, purpose) {
		return errOldForm
	}
	return nil
}

// noBrowser returns the error for a form of a browser that isn't known: it has sent no cookie, or
// one of a browser that the server has forgotten.
func (v *visit) noBrowser() error {
	if v.oauth.cookies.get(v.r, deviceCookie) != "" {
		return errOldForm
	}
	return errNoCookies
}

// form returns a form with hidden fields, given as names and values, and a token.
func (v *visit) form(action, browser, purpose string, fields ...string) (pages.Form, error) {
	token, err := v.oauth.tokens.issue(browser, purpose)
	f := pages.Form{Action: action, Hidden: []pages.Hidden{{Name: "csrf", Value: token}}}
	for i := 0; i+1 < len(fields); i += 2 {
		f.Hidden = append(f.Hidden, pages.Hidden{Name: fields[i], Value: fields[i+1]})
	}
	return f, err
}

// render answers with a page. Its forms lead to this server and, if target isn't empty, on to a
// redirect URI.
func (v *visit) render(status int, c pages.Content, target string) error {
	body, err := v.oauth.pages.Render(v.lang, c)
	if err != nil {
		return err
	}
	h := v.w.Header()
	secure(h, v.pagePolicy(c, target))
	// The Origin of a form is hidden with no-referrer, and it is what old browsers are judged by.
	h.Set("Referrer-Policy", "same-origin")
	if _, leaves := c.(*pages.Answer); leaves { // with a form, whose origin the client may want to know
		h.Set("Referrer-Policy", "strict-origin")
	}
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.lang.Tag().String())
	h.Set("Content-Length", strconv.Itoa(len(body)))
	v.w.WriteHeader(status)
	_, _ = v.w.Write(body)
	return nil
}

// pagePolicy returns the Content-Security-Policy of a page. Its script is named by its URL, since
// what else is on this origin isn't all of this server: the files of accounts, for example.
func (v *visit) pagePolicy(c pages.Content, target string) string {
	policy := "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
	if source := formSource(target); source != "" {
		policy += " " + source
	}
	if script := v.oauth.pages.Script(c); script != "" {
		policy += "; script-src " + v.oauth.origin + script
	}
	return policy
}

// formSource returns what a form-action directive has to allow so that a form can lead to a
// redirect URI: its scheme. Browsers apply the directive to each redirect that follows on a form,
// also to those by which the client goes on to another host of its own, which can't be known.
func formSource(redirectURI string) string {
	scheme, _, found := strings.Cut(redirectURI, ":")
	if !found || strings.ContainsFunc(scheme, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("+-.", r))
	}) {
		return ""
	}
	return scheme + ":"
}

// redirect sends the browser to one of the server's own pages, or to the URL of an answer.
func (v *visit) redirect(location string) error {
	h := v.w.Header()
	h.Set("Location", location)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin")
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// link returns the path of a page with a query, given as names and values. Empty values are left
// out.
func link(path string, query ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		if query[i+1] != "" {
			values.Set(query[i], query[i+1])
		}
	}
	if len(values) == 0 {
		return path
	}
	return path + "?" + values.Encode()
}

// isOneOf reports whether an error is one of some.
func isOneOf(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
