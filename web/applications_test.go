package web_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// authorized makes an application with access to an account, and returns the browser that gave it.
func (w *world) authorized(label string, apps ...*app) *browser {
	w.t.Helper()
	b := w.browser()
	for _, a := range apps {
		b.get(a.push(map[string]string{"login_hint": label + ".test"}))
		if strings.Contains(b.page.title(), "Sign in") {
			b.signIn(label)
		}
		a.exchange(b.submit("accept", nil).wantAnswer(a.redirect).Get("code"))
	}
	return b
}

func TestApplicationsWithAccess(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	alice := w.SignUp("alice").Account.DID
	one, two := w.app("one.test", nil), w.app("two.test", map[string]any{"client_name": "Two"})
	b := w.authorized("alice", one, two)
	page := b.get("/account/applications").want(200, "Apps with access", "@alice.test", "one.test", "two.test", "calls itself Two",
		"1 January 2026", "On one device or browser", "See your e-mail address")
	if strings.Count(page.body, ">End access<") != 2 {
		t.Errorf("the buttons: %s", page.body)
	}
	path, form := page.form("end")
	if form.Get("client_id") != one.id && form.Get("client_id") != two.id {
		t.Errorf("the form: %v", form)
	}
	form.Set("client_id", one.id)
	b.post(path, form)
	message := b.page.Header.Get("Location")
	page = b.follow().want(200, "The access of the app has ended", "two.test")
	if strings.Contains(page.text(), "one.test") {
		t.Errorf("the application is still there: %s", page.text())
	}
	if apps, err := w.OAuth.Applications(ctx, alice); err != nil || len(apps) != 1 || apps[0].ClientID != two.id {
		t.Errorf("applications: %v, %v", apps, err)
	}
	// The message is only shown by the link of this browser's own form.
	if page = b.get("/account/applications?done=" + url.QueryEscape(form.Get("csrf"))); strings.Contains(page.text(), "has ended") {
		t.Error("anybody can have the page say that access has ended")
	}
	b.get(one.push(nil))
	one.exchange(b.submit("accept", nil).wantAnswer(one.redirect).Get("code"))
	if page = b.get(message).want(200, "one.test"); strings.Contains(page.text(), "has ended") {
		t.Error("the page says that access has ended which was given again")
	}
	b.post(path, form)
	b.follow().want(200, "The access of the app has ended")
	b.post(path, form) // twice does no harm
	b.follow().want(200, "two.test")
	b.submit("sign-out", nil).want(200, "Sign in")
	b.get("/account/applications")
	b.follow().want(200, "Sign in")
}

func TestApplicationsAreTheOwners(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	alice, bob := w.SignUp("alice").Account.DID, w.SignUp("bob").Account.DID
	a := w.app("app.test", nil)
	b := w.authorized("alice", a)
	path, form := b.get("/account/applications").form("end")
	stranger := w.authorized("bob", w.app("other.test", nil))
	_, own := stranger.get("/account/applications").form("end")
	own.Set("client_id", a.id)
	for name, account := range map[string]string{"another's": alice.String(), "none": "", "nobody": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "junk": "alice.test"} {
		own.Set("account", account)
		stranger.post(path, own)
		if apps, err := w.OAuth.Applications(ctx, alice); err != nil || len(apps) != 1 {
			t.Errorf("%s: %v, %v", name, apps, err)
		}
		if location := stranger.page.Header.Get("Location"); location != "" && location != "/account/sign-in" {
			t.Errorf("%s: led to %s", name, location)
		}
	}
	stranger.get("/account/applications?account=" + url.QueryEscape(alice.String()))
	stranger.follow().want(200, "Sign in")
	for name, change := range map[string]url.Values{
		"no token": {"csrf": nil}, "no action": {"action": nil}, "another action": {"action": {"erase"}}, "no account": {"account": nil},
		"a token of another page": {"csrf": {own.Get("csrf")}},
	} {
		wrong := url.Values{}
		for field, values := range form {
			wrong[field] = values
		}
		for field, values := range change {
			wrong[field] = values
		}
		if b.post(path, wrong); b.page.StatusCode != 403 && b.page.StatusCode != 400 {
			t.Errorf("%s: %d", name, b.page.StatusCode)
		}
	}
	b.post(path, form, http.Header{"Sec-Fetch-Site": {"cross-site"}}).want(403, "another website")
	// A sign-in that has ended since allows nothing.
	w.Advance(16 * time.Minute)
	b.post(path, form)
	if apps, err := w.OAuth.Applications(ctx, alice); err != nil || len(apps) != 1 {
		t.Errorf("after the sign-in has ended: %v, %v", apps, err)
	}
	if apps, err := w.OAuth.Applications(ctx, bob); err != nil || len(apps) != 1 {
		t.Errorf("the stranger's own: %v, %v", apps, err)
	}
}

func TestSigningInForTheAccountPages(t *testing.T) {
	w := newWorld(t)
	alice := w.SignUp("alice")
	w.SignUp("bob")
	enableFactor(t, w, "alice")
	b := w.browser()
	b.get("/account/applications")
	page := b.follow().want(200, "Sign in to your account at Meadow")
	if cookies := b.cookies(); cookies[deviceCookie] != "" || cookies["__Host-gatehouse-form"] == "" {
		t.Errorf("before anybody has signed in: %v", cookies)
	}
	path, form := page.form("sign-in")
	blind := w.browser()
	blind.post(path, form).want(400, "Cookies are needed")
	other := w.browser()
	other.get("/account/sign-in")
	other.post(path, form).want(403)
	form.Set("action", "accept")
	b.post(path, form).want(400)
	b.get("/account/sign-in")
	b.submit("sign-in", url.Values{"identifier": {"alice.test"}, "password": {"wrong"}}).want(400, "is wrong")
	b.signIn("alice").want(200, "Enter your code")
	b.submit("code", url.Values{"code": {"AAAAA-AAAAA"}}).want(400, "That code is wrong")
	b.submit("code", url.Values{"code": {strings.ToLower(w.Code("alice"))}}).want(200, "Apps with access", "@alice.test", "No app has access")
	b.get("/account/sign-in").want(200, "Choose another account")
	b.signIn("bob").want(200, "@bob.test", "Show the apps of @alice.test")
	b.get("/account/applications?account="+url.QueryEscape(alice.Account.DID.String())).want(200, "@alice.test", "Show the apps of @bob.test")
}
