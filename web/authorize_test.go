package web_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/web"
)

// exchange exchanges a code for tokens.
func (a *app) exchange(code string) map[string]any {
	a.w.t.Helper()
	p := url.Values{
		"client_id": {a.id}, "grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {a.redirect}, "code_verifier": {a.verifier},
	}
	resp := a.w.do(a.w.client(nil), "POST", "/oauth/token", p.Encode(), with(formType, a.proof("/oauth/token")))
	var out map[string]any
	if err := json.Unmarshal([]byte(resp.body), &out); err != nil || resp.StatusCode != http.StatusOK {
		a.w.t.Fatalf("exchanging: %d %s", resp.StatusCode, resp.body)
	}
	return out
}

func TestTheWholeWay(t *testing.T) {
	w := newWorld(t)
	alice := w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	b.get(a.push(map[string]string{"login_hint": "alice.test"})).want(200, "Sign in", "app.test", "calls itself Example App")
	before := b.cookies()[deviceCookie]
	if before == "" {
		t.Fatalf("no cookie: %v", b.cookies())
	}
	if _, form := b.page.form("sign-in"); form.Get("identifier") != "alice.test" {
		t.Errorf("the hint isn't filled in: %v", form)
	}
	b.signIn("alice").want(200, "Allow app.test to use your account?", "@alice.test", "Publish, change and delete posts", "See your e-mail address", "Know who you are")
	if after := b.cookies()[deviceCookie]; after == before {
		t.Error("the cookie hasn't changed at the sign-in")
	}
	_, form := b.page.form("accept")
	if !slices.Equal(form["scope"], []string{"repo:app.bsky.feed.post", "transition:email"}) || form.Get("account") != alice.Account.DID.String() {
		t.Errorf("the consent form: %v", form)
	}
	params := b.submit("accept", url.Values{"scope": {"repo:app.bsky.feed.post"}}).wantAnswer(a.redirect)
	if len(params) != 3 || params.Get("state") != "the state" || params.Get("iss") != domaintest.Issuer || params.Get("code") == "" {
		t.Errorf("the answer: %v", params)
	}
	if scope := a.exchange(params.Get("code"))["scope"]; scope != "atproto repo:app.bsky.feed.post" {
		t.Errorf("the scope is %v without the e-mail address", scope)
	}
	// The request is spent, also for the back button.
	b.get(b.page.Request.URL.String()[len(domaintest.Issuer):])
	b.get(a.push(nil)).want(200, "Allow app.test to use your account?") // the browser is signed in
}

func TestDenying(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	b.get(a.push(nil))
	if p := b.submit("deny", nil).wantAnswer(a.redirect); p.Get("error") != "access_denied" || p.Get("state") != "the state" {
		t.Errorf("before signing in: %v", p)
	}
	b.get(a.push(nil))
	b.signIn("alice")
	p := b.submit("deny", nil).wantAnswer(a.redirect)
	if p.Get("error") != "access_denied" || p.Has("code") || p.Get("iss") != domaintest.Issuer {
		t.Errorf("at the consent: %v", p)
	}
}

func TestResponseModes(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	b.get(a.push(map[string]string{"response_mode": "fragment"}))
	b.signIn("alice")
	if location := b.submit("accept", nil).Header.Get("Location"); !strings.HasPrefix(location, a.redirect+"#") {
		t.Errorf("fragment: %q", location)
	}
	b.get(a.push(map[string]string{"response_mode": "form_post", "state": `"><script>alert(1)</script>`}))
	page := b.submit("accept", nil).want(200, "Back to the app", "app.test", "Continue to the app")
	names := map[string]string{}
	for _, input := range page.all("input") {
		names[input["name"]] = input["value"]
	}
	if len(names) != 3 || names["iss"] != domaintest.Issuer || names["code"] == "" || names["state"] != `"><script>alert(1)</script>` {
		t.Errorf("the form: %v", names)
	}
	scripts := page.all("script")
	if len(scripts) != 1 || !strings.HasPrefix(scripts[0]["src"], "/oauth/assets/submit-") {
		t.Errorf("the scripts: %v", scripts)
	}
	if form := page.all("form"); len(form) != 1 || form[0]["action"] != a.redirect {
		t.Errorf("the form goes to %v", form)
	}
	if csp := page.Header.Get("Content-Security-Policy"); !strings.HasSuffix(csp, "; script-src "+domaintest.Issuer+scripts[0]["src"]) || !strings.Contains(csp, "form-action 'self' https:") {
		t.Errorf("the policy: %s", csp)
	}
	if policy := page.Header.Get("Referrer-Policy"); policy != "strict-origin" {
		t.Errorf("the client isn't told the origin of the form: %q", policy)
	}
	if names["code"] != "" && a.exchange(names["code"])["access_token"] == nil {
		t.Error("the code is worth nothing")
	}
}

// TestAnswersToNativeApplications go to schemes of their own, which the policy of the page lets
// through, and in the URL even if the client asks for a form.
func TestAnswersToNativeApplications(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	const redirect = "test.app:/callback"
	a, b := w.app("app.test", map[string]any{"application_type": "native", "redirect_uris": []string{redirect}}), w.browser()
	a.redirect = redirect
	b.get(a.push(nil))
	b.signIn("alice")
	for _, mode := range []string{"query", "fragment", "form_post"} {
		page := b.get(a.push(map[string]string{"response_mode": mode})).want(200, "Allow app.test")
		if csp := page.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' test.app:;") {
			t.Errorf("%s: the policy: %s", mode, csp)
		}
		location := b.submit("accept", nil).Header.Get("Location")
		if !strings.HasPrefix(location, redirect) || !strings.Contains(location, "code=") || strings.Contains(location, "#") != (mode == "fragment") {
			t.Errorf("%s: %d to %q", mode, b.page.StatusCode, location)
		}
	}
}

func TestSeveralAccounts(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	bob := w.SignUp("bob")
	a, b := w.app("app.test", nil), w.browser()
	b.get(a.push(nil))
	b.signIn("alice").want(200, "@alice.test")
	// Another account signs in beside the first.
	another := ""
	for _, link := range b.page.all("a") {
		if link[""] == "Use another account" {
			another = link["href"]
		}
	}
	b.get(another).want(200, "Sign in", "Choose another account")
	b.signIn("bob").want(200, "Allow app.test", "@bob.test")
	path := a.push(nil)
	choice := b.get(path).want(200, "Choose an account", "@alice.test", "@bob.test", "Use another account")
	var labels []string
	for _, button := range choice.all("button") {
		if button["name"] == "account" || button["name"] == "another" {
			labels = append(labels, button["name"]+"="+button["value"])
		}
	}
	if len(labels) != 3 || labels[0] != "account="+bob.Account.DID.String() || labels[2] != "another=1" {
		t.Errorf("the choice: %v", labels)
	}
	b.get(path+"&account="+url.QueryEscape(bob.Account.DID.String())).want(200, "Allow app.test", "@bob.test")
	for _, link := range b.page.all("a") {
		if link[""] == "Use another account" {
			another = link["href"]
		}
	}
	b.get(another).want(200, "Choose an account", "@alice.test", "@bob.test")
	b.get(path+"&another=1").want(200, "Sign in")
	// A hint chooses, prompt=select_account asks all the same.
	b.get(a.push(map[string]string{"login_hint": "bob.test"})).want(200, "Allow app.test", "@bob.test")
	b.get(a.push(map[string]string{"login_hint": "bob.test", "prompt": "select_account"})).want(200, "Choose an account")
	w.Advance(time.Second)
	b.get(a.push(map[string]string{"login_hint": "bob.test", "prompt": "login"})).want(200, "Sign in", "Please sign in once more")
	b.signIn("bob").want(200, "Allow app.test", "@bob.test")
	// An account that isn't signed in here can't be chosen.
	b.get(path+"&account=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").want(200, "Sign in")
	b.get(path + "&account=nobody").want(400)
}

func TestSecondFactor(t *testing.T) {
	w := newWorld(t)
	alice := w.SignUp("alice")
	enableFactor(t, w, "alice")
	a, b := w.app("app.test", nil), w.browser()
	b.get(a.push(nil))
	page := b.signIn("alice").want(200, "Enter your code", "We have sent a sign-in code", "alice.test", "app.test")
	if strings.Contains(page.body, "password\"") && strings.Contains(page.body, `value="password"`) {
		t.Error("the password is on the page")
	}
	path, form := page.form("code")
	b.submit("code", url.Values{"code": {"ABCDE-FGHIJ"}}).want(400, "That code is wrong")
	b.submit("code", url.Values{"code": {""}}).want(400, "That code is wrong")
	code := w.Code("alice")
	// What is sealed is of no use to another browser, for another request or much later.
	thief := w.browser()
	thief.get(a.push(nil))
	_, stolen := thief.page.form("sign-in")
	stolen.Set("pending", form.Get("pending"))
	stolen.Set("code", code)
	stolen.Set("action", "code")
	thief.post(path, stolen).want(400, "Signing in took too long")
	b.get(a.push(nil))
	_, other := b.page.form("sign-in")
	other.Set("pending", form.Get("pending"))
	other.Set("code", code)
	other.Set("action", "resend")
	b.post(path, other).want(400, "Signing in took too long")
	other.Set("action", "code")
	b.post(path, other).want(400, "Signing in took too long")
	for name, sealed := range map[string]string{"none": "", "junk": "!!!", "short": "AAAA", "changed": "A" + form.Get("pending")[1:]} {
		wrong := url.Values{"client_id": form["client_id"], "request_uri": form["request_uri"], "csrf": form["csrf"], "action": {"code"}, "code": {code}, "pending": {sealed}}
		b.post(path, wrong).want(400, "Signing in took too long")
		if strings.Contains(b.page.body, "password\" value") {
			t.Errorf("%s: %s", name, b.page.body)
		}
	}
	form.Set("code", code)
	b.post(path, form)
	b.follow().want(200, "Allow app.test", "@alice.test")
	form.Set("code", code)
	b.post(path, form).want(400, "That code is wrong") // once only
	w.Advance(11 * time.Minute)
	b.post(path, form).want(400)
	if b.cookies()[deviceCookie] == "" || alice.Account.DID == "" {
		t.Error("the browser has no cookie")
	}
}

// TestSendingTheCodeAgain doesn't take the password again.
func TestSendingTheCodeAgain(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	enableFactor(t, w, "alice")
	b := w.browser()
	b.get("/account/sign-in")
	b.signIn("alice").want(200, "Enter your code", "Send the e-mail again")
	w.Code("alice")
	b.submit("resend", nil).want(200, "Enter your code", "We have sent a sign-in code")
	w.Code("alice") // which fails the test if there is none
	b.submit("code", url.Values{"code": {"ABCDE-FGHIJ"}}).want(400, "That code is wrong", "Send the e-mail again")
	w.Advance(9 * time.Minute)
	b.submit("resend", url.Values{"code": {"typed in vain"}}).want(200, "Enter your code")
	w.Advance(5 * time.Minute) // the ten minutes begin again with each e-mail
	b.submit("code", url.Values{"code": {w.Code("alice")}}).want(200, "Apps with access", "@alice.test")
}

// enableFactor makes an account ask for mailed codes.
func enableFactor(t *testing.T, w *world, label string) {
	t.Helper()
	ctx := context.Background()
	a, err := w.Accounts.Find(ctx, label+".test")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Accounts.Emails().RequestConfirmation(ctx, a.DID); err != nil {
		t.Fatal(err)
	}
	if err := w.Accounts.Emails().Confirm(ctx, a.DID, a.Email, w.Code(label)); err != nil {
		t.Fatal(err)
	}
	if err := w.Accounts.Emails().Update(ctx, a.DID, accounts.EmailUpdate{Address: a.Email, Factor: accounts.EnableFactor}); err != nil {
		t.Fatal(err)
	}
}

func TestWrongPasswords(t *testing.T) {
	w := newWorld(t)
	alice := w.SignUp("alice")
	_, appPassword, err := w.AppPasswords.Create(context.Background(), alice.Account.DID, "phone", false)
	if err != nil {
		t.Fatal(err)
	}
	b := w.browser()
	b.get(w.app("app.test", nil).push(nil))
	for name, c := range map[string]struct{ identifier, password string }{
		"a wrong password": {"alice.test", "wrong"},
		"nobody":           {"nobody.test", "password"},
		"an app password":  {"alice.test", appPassword},
		"a name":           {"alice", "password"},
		"markup":           {`"><script>alert(1)</script>`, "password"},
	} {
		page := b.submit("sign-in", url.Values{"identifier": {c.identifier}, "password": {c.password}, "remember": {"1"}})
		page.want(400, "Problem: Sign in", "The handle, the e-mail address or the password is wrong")
		_, form := page.form("sign-in")
		if form.Get("identifier") != c.identifier || form.Get("password") != "" || form.Get("remember") != "1" {
			t.Errorf("%s: the form is %v", name, form)
		}
		if strings.Contains(page.body, "<script>") || strings.Contains(page.body, appPassword) {
			t.Errorf("%s: %s", name, page.body)
		}
	}
	b.submit("sign-in", url.Values{"identifier": {" "}, "password": {"x"}}).want(400, "Enter your handle")
	b.signIn("alice").want(200, "Allow app.test")
}

func TestTooManyGuesses(t *testing.T) {
	w := newWorld(t, func(c *domaintest.Config) {})
	w.SignUp("alice")
	b := w.browser()
	b.get(w.app("app.test", nil).push(nil))
	for range 200 {
		if b.submit("sign-in", url.Values{"identifier": {"alice.test"}, "password": {"wrong"}}); b.page.StatusCode != http.StatusBadRequest {
			break
		}
	}
	b.page.want(429, "Too many attempts. Try again in")
	if b.page.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if _, form := b.page.form("sign-in"); form.Get("identifier") != "alice.test" {
		t.Errorf("the form: %v", form)
	}
}

func TestAccountsThatCantBeUsed(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	alice, bob, carol := w.SignUp("alice").Account.DID, w.SignUp("bob").Account.DID, w.SignUp("carol").Account.DID
	a, b := w.app("app.test", nil), w.browser()
	if err := w.Accounts.TakeDown(ctx, alice, "1"); err != nil {
		t.Fatal(err)
	}
	b.get(a.push(nil))
	b.signIn("alice").want(400, "This account has been taken down")
	// The owner of a deactivated account is asked whether to reactivate it.
	later := w.Now().Add(time.Hour)
	if err := w.Accounts.Deactivate(ctx, bob, &later); err != nil {
		t.Fatal(err)
	}
	b.signIn("bob").want(200, "Your account is deactivated", "@bob.test")
	_, form := b.page.form("reactivate")
	stranger := url.Values{}
	for name := range form {
		stranger[name] = form[name]
	}
	stranger.Set("account", carol.String())
	if err := w.Accounts.Deactivate(ctx, carol, nil); err != nil {
		t.Fatal(err)
	}
	b.post("/oauth/authorize", stranger).want(400, "Sign in")
	if account, err := w.Accounts.Get(ctx, carol); err != nil || account.Active() {
		t.Errorf("a stranger has reactivated an account: %v", err)
	}
	b.get(a.push(nil)).want(200, "Your account is deactivated")
	b.submit("reactivate", nil).want(200, "Allow app.test", "@bob.test")
	if account, err := w.Accounts.Get(ctx, bob); err != nil || !account.Active() || account.DeleteAfter != nil {
		t.Errorf("the account isn't active: %v", err)
	}
	// An account that is taken down while its owner reads the page gets no code.
	if err := w.Accounts.TakeDown(ctx, bob, "2"); err != nil {
		t.Fatal(err)
	}
	b.submit("accept", nil)
	if b.page.StatusCode == http.StatusSeeOther {
		t.Errorf("a code for an account that is taken down: %s", b.page.Header.Get("Location"))
	}
}

// TestTheSignInEnds while its owner reads the consent page.
func TestTheSignInEnds(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	b.get(a.push(nil))
	b.signIn("alice")
	w.Advance(8 * time.Minute)
	b.get(b.page.Request.URL.RequestURI())
	w.Advance(8 * time.Minute) // sign-ins that aren't remembered last 15 minutes
	page := b.submit("accept", nil).want(400, "your sign-in to that account has ended", "Sign in")
	if _, form := page.form("sign-in"); form.Get("identifier") != "alice.test" {
		t.Errorf("who has to sign in isn't filled in: %v", form)
	}
	b.signIn("alice").want(200, "Allow app.test")
	b.submit("accept", nil).wantAnswer(a.redirect)
}

func TestRememberedBrowsers(t *testing.T) {
	for name, c := range map[string]struct {
		remember url.Values
		age      int
	}{
		"remembered":     {url.Values{"remember": {"1"}}, 7 * 24 * 3600},
		"not remembered": {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.SignUp("alice")
			b := w.browser()
			b.get(w.app("app.test", nil).push(nil))
			path, form := b.page.form("sign-in")
			form.Set("identifier", "alice.test")
			form.Set("password", "password")
			if c.remember != nil {
				form.Set("remember", "1")
			}
			cookies := b.post(path, form).Cookies()
			if len(cookies) != 1 {
				t.Fatalf("%d cookies", len(cookies))
			}
			got := cookies[0]
			if got.Name != deviceCookie || got.MaxAge != c.age || !got.Secure || !got.HttpOnly || got.SameSite != http.SameSiteLaxMode || got.Path != "/" || got.Domain != "" {
				t.Errorf("the cookie: %v", got)
			}
		})
	}
}

// TestTrustedClients: they are marked, and people are asked about them once.
func TestTrustedClients(t *testing.T) {
	w := newWorld(t, func(c *domaintest.Config) { c.TrustedClients = []string{"https://app.test/client.json"} })
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	b.get(a.push(nil)).want(200, "Sign in", "app.test", "Trusted by Meadow")
	b.signIn("alice").want(200, "Allow app.test", "Trusted by Meadow")
	if p := b.submit("accept", nil).wantAnswer(a.redirect); p.Get("code") == "" {
		t.Errorf("the answer: %v", p)
	}
	if p := b.get(a.push(nil)).wantAnswer(a.redirect); p.Get("code") == "" {
		t.Errorf("the second answer: %v", p)
	}
	b.get(a.push(map[string]string{"prompt": "consent"})).want(200, "Allow app.test", "Trusted by Meadow")
}

func TestRiskyPermissions(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	b.get(a.push(map[string]string{"scope": "atproto transition:generic identity:*"}))
	page := b.signIn("alice").want(200, "Do almost everything in your name", "Private or far-reaching", "Control over your account", "Control your identity")
	text := page.text()
	if strings.Index(text, "Know who you are") > strings.Index(text, "Private or far-reaching") ||
		strings.Index(text, "Control your identity") < strings.Index(text, "Control over your account") {
		t.Errorf("the order: %s", text)
	}
}

// TestConsentLongAfterTheSignIn asks for another sign-in if what is granted is dangerous, and
// doesn't claim that the person is signed out.
func TestConsentLongAfterTheSignIn(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	path := a.push(map[string]string{"scope": "atproto identity:*"})
	b.get(path)
	b.signIn("alice")
	w.Advance(5 * time.Minute)
	b.get(path).want(200, "Control your identity")
	w.Advance(6 * time.Minute)
	b.submit("accept", nil).want(400, "Sign in", "is too long ago for this", "Please sign in once more")
	b.signIn("alice").want(200, "Control your identity")
	b.submit("accept", nil).wantAnswer(a.redirect)
}

// TestPermissionSets shows the words of whoever published a set as theirs, and what it allows.
func TestPermissionSets(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	w.PermissionSets.Put("com.example.basics", "com.example.note")
	a, b := w.app("app.test", map[string]any{"scope": "atproto include:com.example.basics"}), w.browser()
	b.get(a.push(map[string]string{"scope": "atproto include:com.example.basics"}))
	b.signIn("alice").want(200, "“Example”", "A bundle of permissions that example.com has put together", "“An example of a permission set.”",
		"com.example.basics", "Publish, change and delete “com.example.note” records")
	code := b.submit("accept", nil).wantAnswer(a.redirect).Get("code")
	if scope, _ := a.exchange(code)["scope"].(string); !strings.Contains(scope, "com.example") {
		t.Errorf("the scope is %q", scope)
	}
	b.get("/account/applications").want(200, "“com.example.basics”")
}

// TestLocalClients says that nobody has verified them.
func TestLocalClients(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	a.id, a.redirect = "http://localhost?scope="+url.QueryEscape("atproto transition:email"), "http://127.0.0.1:8080/"
	b.get(a.push(map[string]string{"scope": "atproto transition:email", "redirect_uri": "http://127.0.0.1:8080/"}))
	page := b.signIn("alice").want(200, "An app on your own computer", "Nobody can check who made this program")
	if csp := page.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' http:;") {
		t.Errorf("the policy: %s", csp)
	}
	if p := b.submit("accept", nil).wantAnswer(a.redirect); p.Get("code") == "" {
		t.Errorf("the answer: %v", p)
	}
}

func TestLanguagesOfPages(t *testing.T) {
	german := fstest.MapFS{"de.json": {Data: []byte(`{"sign-in.title": "Anmelden", "failure.request": "Diese Anfrage gilt nicht"}`)}}
	w := newWorldWith(t, func(c *web.Config) { c.OAuth.Pages.Texts = german })
	a, b := w.app("app.test", nil), w.browser()
	b.get(a.push(nil), http.Header{"Accept-Language": {"de-CH, en;q=0.5"}}).want(200, "Anmelden")
	if got := b.page.Header.Get("Content-Language"); got != "de" || b.page.all("html")[0]["lang"] != "de" {
		t.Errorf("the language is %q", got)
	}
	b.get(a.push(map[string]string{"ui_locales": "en de"}), http.Header{"Accept-Language": {"de"}}).want(200, "Sign in")
	b.get(a.push(map[string]string{"ui_locales": "fr de"}), http.Header{"Accept-Language": {"en"}}).want(200, "Anmelden")
	b.get("/oauth/authorize", http.Header{"Accept-Language": {"de"}}).want(400, "Diese Anfrage gilt nicht")
	resp := w.do(w.client(nil), "GET", "/.well-known/oauth-authorization-server", "", nil)
	if !strings.Contains(resp.body, `"ui_locales_supported":["en","de"]`) {
		t.Errorf("the metadata: %s", resp.body)
	}
}

func TestLimitsByAddress(t *testing.T) {
	w := newWorldWith(t, func(c *web.Config) { c.Limiter = nil })
	b := w.browser()
	path := "/oauth/authorize?client_id=https://app.test/client.json&request_uri=urn:ietf:params:oauth:request_uri:x"
	for i := range 301 {
		fresh := w.browser()
		fresh.client = b.client
		fresh.client.Jar = nil
		if fresh.get(path); fresh.page.StatusCode == http.StatusTooManyRequests {
			if i < 300 {
				t.Fatalf("limited after %d browsers", i)
			}
			fresh.page.want(429, "Too many attempts", "Try again in")
			return
		}
	}
	t.Error("any number of browsers may be made")
}
