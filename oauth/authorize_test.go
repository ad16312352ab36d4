package oauth_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/oauth"
)

// next returns what a browser is shown, without a choice.
func (w *world) next(r *oauth.Request, b *browser, c oauth.Choice) *oauth.View {
	w.t.Helper()
	v, err := w.OAuth.Next(background(), r, b.Device, c)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// TestWhatIsAsked: by who is signed in on the browser, what the client asks for, and what the
// person has chosen.
func TestWhatIsAsked(t *testing.T) {
	w := newWorld(t)
	bob := w.account("bob.test")
	for _, test := range []struct {
		name     string
		signedIn []string
		change   map[string]string
		choice   oauth.Choice
		step     oauth.Step
		who      string // the account that is asked for consent, or to sign in
	}{
		{"nobody is signed in", nil, nil, oauth.Choice{}, oauth.StepSignIn, ""},
		{"one account is", []string{"alice.test"}, nil, oauth.Choice{}, oauth.StepConsent, "alice.test"},
		{"two are", []string{"alice.test", "bob.test"}, nil, oauth.Choice{}, oauth.StepSelect, ""},
		{"one of two is chosen", []string{"alice.test", "bob.test"}, nil, oauth.Choice{DID: bob}, oauth.StepConsent, "bob.test"},
		{"one that isn't signed in is chosen", []string{"alice.test"}, nil, oauth.Choice{DID: bob}, oauth.StepSignIn, bob.String()},
		{"another one is wanted", []string{"alice.test"}, nil, oauth.Choice{Another: true}, oauth.StepSignIn, ""},
		{"a hint of nobody", nil, map[string]string{"login_hint": "carol.test"}, oauth.Choice{}, oauth.StepSignIn, "carol.test"},
		{"a handle as a hint", []string{"alice.test", "bob.test"}, map[string]string{"login_hint": "@Bob.test"}, oauth.Choice{}, oauth.StepConsent, "bob.test"},
		{"a DID as a hint", []string{"alice.test", "bob.test"}, map[string]string{"login_hint": bob.String()}, oauth.Choice{}, oauth.StepConsent, "bob.test"},
		{"an address as a hint", []string{"alice.test", "bob.test"}, map[string]string{"login_hint": "BOB.test@example.com"}, oauth.Choice{}, oauth.StepConsent, "bob.test"},
		{"a hint of another", []string{"alice.test"}, map[string]string{"login_hint": "bob.test"}, oauth.Choice{}, oauth.StepSignIn, "bob.test"},
		{"a hint and another choice", []string{"alice.test", "bob.test"}, map[string]string{"login_hint": "alice.test"}, oauth.Choice{DID: bob}, oauth.StepConsent, "bob.test"},
		{"a selection of one", []string{"alice.test"}, map[string]string{"prompt": "select_account"}, oauth.Choice{}, oauth.StepSelect, ""},
		{"a selection in spite of a hint", []string{"alice.test"}, map[string]string{"prompt": "select_account", "login_hint": "alice.test"}, oauth.Choice{}, oauth.StepSelect, ""},
		{"a login", []string{"alice.test"}, map[string]string{"prompt": "login"}, oauth.Choice{}, oauth.StepSignIn, "alice.test"},
		{"a login of a chosen one", []string{"alice.test"}, map[string]string{"prompt": "login"}, oauth.Choice{DID: w.alice}, oauth.StepSignIn, "alice.test"},
		{"a maximum age of zero", []string{"alice.test"}, map[string]string{"max_age": "0"}, oauth.Choice{}, oauth.StepSignIn, "alice.test"},
		{"a maximum age that has passed", []string{"alice.test"}, map[string]string{"max_age": "119"}, oauth.Choice{}, oauth.StepSignIn, "alice.test"},
		{"a maximum age of a thousand years", []string{"alice.test"}, map[string]string{"max_age": "31536000000"}, oauth.Choice{}, oauth.StepConsent, "alice.test"},
		{"a maximum age that has not", []string{"alice.test"}, map[string]string{"max_age": "121"}, oauth.Choice{}, oauth.StepConsent, "alice.test"},
		{"an account to create", []string{"alice.test"}, map[string]string{"prompt": "create"}, oauth.Choice{}, oauth.StepSignIn, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := w.browser(test.signedIn...)
			w.Advance(2 * minute)
			v := w.next(w.public().open(b, test.change), b, test.choice)
			who := v.Identifier
			if v.Chosen != nil {
				who = v.Chosen.Account.Handle.String()
			}
			if v.Step != test.step || who != test.who {
				t.Errorf("step %s for %q, want %s for %q", v.Step, who, test.step, test.who)
			}
		})
	}
}

func TestALoginIsAskedForOnce(t *testing.T) {
	w := newWorld(t)
	b := w.browser("alice.test")
	w.Advance(minute)
	r := w.public().open(b, map[string]string{"prompt": "login"})
	if _, err := w.OAuth.Accept(t.Context(), r, b.Device, w.alice, r.Scope); err == nil {
		t.Error("accepted without the login that the client asks for")
	}
	w.Advance(minute)
	b.signIn("alice.test")
	if v := w.next(r, b, oauth.Choice{DID: w.alice}); v.Step != oauth.StepConsent {
		t.Errorf("the step after the login is %s", v.Step)
	}
}

// TestDangerousPermissionsNeedARecentLogin, however long the browser is remembered.
func TestDangerousPermissionsNeedARecentLogin(t *testing.T) {
	w := newWorld(t)
	b := w.browser("alice.test")
	w.Advance(11 * minute)
	b.reload()
	a := w.public()
	dangerous := map[string]string{"scope": "atproto identity:*"}
	r := a.open(b, dangerous)
	if v := w.next(r, b, oauth.Choice{}); v.Step != oauth.StepSignIn || !v.Again {
		t.Errorf("the step is %s", v.Step)
	}
	if _, err := w.OAuth.Accept(t.Context(), r, b.Device, w.alice, r.Scope); err == nil {
		t.Error("accepted with an old login")
	}
	if v := w.next(a.open(b, nil), b, oauth.Choice{}); v.Step != oauth.StepConsent {
		t.Errorf("the step for ordinary permissions is %s", v.Step)
	}
	b.signIn("alice.test")
	if v := w.next(a.open(b, dangerous), b, oauth.Choice{}); v.Step != oauth.StepConsent {
		t.Errorf("the step after a login is %s", v.Step)
	}
}

// TestConsentIsAskedForOnce, of clients that prove who they are.
func TestConsentIsAskedForOnce(t *testing.T) {
	w := newWorld(t, func(c *domaintest.Config) { c.TrustedClients = []string{"https://app.test/trusted.json"} })
	b := w.browser("alice.test")
	confidential, public, trusted := w.confidential(), w.public(), w.app("https://app.test/trusted.json", nil)
	steps := func(a *app, change map[string]string) oauth.Step {
		return w.next(a.open(b, change), b, oauth.Choice{}).Step
	}
	if got := steps(confidential, nil); got != oauth.StepConsent {
		t.Errorf("a confidential client at first: %s", got)
	}
	confidential.code(b, map[string]string{"scope": "atproto transition:email"})
	public.code(b, nil)
	if got := steps(trusted, nil); got != oauth.StepConsent {
		t.Errorf("a trusted client at first: %s", got)
	}
	trusted.code(b, nil)
	for name, test := range map[string]struct {
		app    *app
		change map[string]string
		want   oauth.Step
	}{
		"the same again":               {confidential, map[string]string{"scope": "atproto transition:email"}, oauth.StepAnswer},
		"less":                         {confidential, map[string]string{"scope": "atproto"}, oauth.StepAnswer},
		"more":                         {confidential, nil, oauth.StepConsent},
		"when the client wishes":       {confidential, map[string]string{"scope": "atproto", "prompt": "consent"}, oauth.StepConsent},
		"a public client":              {public, nil, oauth.StepConsent},
		"a trusted client":             {trusted, nil, oauth.StepAnswer},
		"a trusted client that wishes": {trusted, map[string]string{"prompt": "consent"}, oauth.StepConsent},
	} {
		t.Run(name, func(t *testing.T) {
			if got := steps(test.app, test.change); got != test.want {
				t.Errorf("the step is %s, want %s", got, test.want)
			}
		})
	}
	if err := w.OAuth.EndApplication(t.Context(), w.alice, confidential.id); err != nil {
		t.Fatal(err)
	}
	if got := steps(confidential, map[string]string{"scope": "atproto"}); got != oauth.StepConsent {
		t.Errorf("after the end of the application: %s", got)
	}
}

func TestPromptNone(t *testing.T) {
	w := newWorld(t)
	w.account("bob.test")
	a := w.confidential()
	none := map[string]string{"prompt": "none", "scope": "atproto"}
	a.code(w.browser("alice.test"), map[string]string{"scope": "atproto"})
	for _, test := range []struct {
		name     string
		signedIn []string
		change   map[string]string
		want     string
	}{
		{"nobody is signed in", nil, nil, "login_required"},
		{"somebody else is signed in", []string{"bob.test"}, map[string]string{"login_hint": "alice.test"}, "login_required"},
		{"an old login", []string{"alice.test"}, map[string]string{"max_age": "0"}, "login_required"},
		{"two accounts", []string{"alice.test", "bob.test"}, nil, "account_selection_required"},
		{"no consent", []string{"bob.test"}, nil, "consent_required"},
		{"less consent", []string{"alice.test"}, map[string]string{"scope": "atproto transition:email"}, "consent_required"},
		{"nothing to ask", []string{"alice.test"}, nil, ""},
		{"a hint for one of two", []string{"alice.test", "bob.test"}, map[string]string{"login_hint": "alice.test"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := w.browser(test.signedIn...)
			w.Advance(minute)
			change := map[string]string{}
			for _, m := range []map[string]string{none, test.change} {
				for k, v := range m {
					change[k] = v
				}
			}
			r := a.open(b, change)
			v := w.next(r, b, oauth.Choice{})
			if v.Step != oauth.StepAnswer || v.Answer.Params.Get("error") != test.want || v.Answer.Params.Has("code") != (test.want == "") {
				t.Errorf("the answer is %v, want the error %q", v.Answer, test.want)
			}
			if _, err := w.OAuth.Open(t.Context(), a.id, r.URI, b.Device); err == nil {
				t.Error("the request can be opened again")
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	w := newWorld(t)
	b := w.browser("alice.test")
	a := w.public()
	for _, mode := range []string{"", "query", "fragment", "form_post"} {
		r := a.open(b, map[string]string{"response_mode": mode})
		accepted, err := w.OAuth.Accept(t.Context(), r, b.Device, w.alice, r.Scope)
		if err != nil {
			t.Fatal(err)
		}
		keys := slices.Sorted(func(yield func(string) bool) {
			for k := range accepted.Params {
				if !yield(k) {
					return
				}
			}
		})
		if want := []string{"code", "iss", "state"}; !slices.Equal(keys, want) || accepted.Params.Get("iss") != issuer || accepted.Params.Get("state") != "the state" {
			t.Errorf("%s: the answer has %v, want %v", mode, accepted.Params, want)
		}
		separator := map[string]string{"": "?", "query": "?", "fragment": "#"}[mode]
		if u := accepted.URL(); separator != "" && !strings.HasPrefix(u, a.redirect+separator+"code=") {
			t.Errorf("%s: the URL is %s", mode, u)
		}
		denied, err := w.OAuth.Deny(t.Context(), a.open(b, map[string]string{"response_mode": mode, "state": ""}), b.Device)
		if err != nil || denied.Params.Get("error") != "access_denied" || denied.Params.Has("state") || denied.Params.Get("iss") != issuer || denied.Params.Has("code") {
			t.Errorf("%s: denied: %v, %v", mode, denied, err)
		}
	}
}

func TestARedirectURIWithAQuery(t *testing.T) {
	w := newWorld(t)
	m := metadata("https://app.test/query.json", nil)
	m["redirect_uris"] = []string{"https://app.test/callback?from=pds"}
	w.publish("https://app.test/query.json", m)
	a := w.public()
	a.id, a.redirect = "https://app.test/query.json", "https://app.test/callback?from=pds"
	b := w.browser("alice.test")
	answer, err := w.OAuth.Deny(t.Context(), a.open(b, map[string]string{"state": "a&b=c#d"}), b.Device)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(answer.URL())
	if err != nil || u.Query().Get("from") != "pds" || u.Query().Get("state") != "a&b=c#d" || u.Fragment != "" {
		t.Errorf("the URL is %s, %v", answer.URL(), err)
	}
}

// TestRequestsAreOfOneBrowserAndOnce checks what others can do with a request.
func TestRequestsAreOfOneBrowserAndOnce(t *testing.T) {
	w := newWorld(t)
	b, other := w.browser("alice.test"), w.browser("alice.test")
	a := w.public()
	r := a.open(b, nil)

	_, err := w.OAuth.Open(t.Context(), a.id, r.URI, other.Device)
	if e := wantCode(t, err, "access_denied"); e.Answer == nil || !strings.HasPrefix(e.Answer.URL(), a.redirect) {
		t.Errorf("the client isn't told: %v", e.Answer)
	}
	for name, open := range map[string][2]string{
		"another client":  {w.confidential().id, r.URI},
		"no client":       {"", r.URI},
		"no request":      {a.id, ""},
		"another request": {a.id, "urn:ietf:params:oauth:request_uri:abc"},
		"a URL":           {a.id, "https://evil.test/request"},
		"a suffix":        {a.id, r.URI + "x"},
	} {
		_, err := w.OAuth.Open(t.Context(), open[0], open[1], b.Device)
		if e := wantCode(t, err, "invalid_request"); e.Answer != nil {
			t.Errorf("%s: the error goes to a client", name)
		}
	}
	if _, err := w.OAuth.Accept(t.Context(), r, other.Device, w.alice, r.Scope); err == nil {
		t.Error("accepted in another browser")
	}
	if _, err := w.OAuth.Deny(t.Context(), r, other.Device); err == nil {
		t.Error("denied in another browser")
	}
	// After all that, the browser that opened it can still answer it, once.
	if _, err := w.OAuth.Accept(t.Context(), r, b.Device, w.alice, r.Scope); err != nil {
		t.Fatal(err)
	}
	_, err = w.OAuth.Accept(t.Context(), r, b.Device, w.alice, r.Scope)
	wantCode(t, err, "invalid_request")
	_, err = w.OAuth.Deny(t.Context(), r, b.Device)
	wantCode(t, err, "invalid_request")
}

// TestAClientThatChangesWhileARequestWaits: its errors go to a redirect URI only if that is still
// its own.
func TestAClientThatChangesWhileARequestWaits(t *testing.T) {
	w := newWorld(t)
	b, other := w.browser("alice.test"), w.browser("alice.test")
	a := w.public()
	r := a.open(b, nil)
	w.Advance(5 * minute)
	if _, err := w.OAuth.Open(t.Context(), a.id, r.URI, b.Device); err != nil { // it lives on
		t.Fatal(err)
	}
	m := metadata(a.id, nil)
	m["redirect_uris"] = []string{"https://app.test/another"}
	w.publish(a.id, m)
	w.Advance(6 * minute)
	for name, d := range map[string]*browser{"the browser": b, "another browser": other} {
		_, err := w.OAuth.Open(t.Context(), a.id, r.URI, d.Device)
		if e := wantCode(t, err, "invalid_redirect_uri"); e.Answer != nil {
			t.Errorf("%s: the error goes to %s", name, e.Answer.URL())
		}
	}
}

func TestTheDisplay(t *testing.T) {
	w := newWorld(t)
	b := w.browser("alice.test")
	for asked, want := range map[string]string{"popup": "popup", "": "", "wap": "", strings.Repeat("x", 1000): ""} {
		if r := w.public().open(b, map[string]string{"display": asked}); r.Display != want {
			t.Errorf("display %.20q is %q, want %q", asked, r.Display, want)
		}
	}
}

func TestManyAcceptOneRequestAtOnce(t *testing.T) {
	w := newWorld(t)
	b := w.browser("alice.test")
	r := w.public().open(b, nil)
	var mu sync.Mutex
	var wg sync.WaitGroup
	codes := 0
	for range 50 {
		wg.Go(func() {
			if _, err := w.OAuth.Accept(background(), r, b.Device, w.alice, r.Scope); err == nil {
				mu.Lock()
				codes++
				mu.Unlock()
			} else if !errors.Is(err, oauth.ErrRefused) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if codes != 1 {
		t.Errorf("one request was answered with %d codes", codes)
	}
}

// TestHowLongRequestsLive: 5 minutes until a browser opens them, and then while the person is busy
// with them, but for an hour at most.
func TestHowLongRequestsLive(t *testing.T) {
	w := newWorld(t)
	a := w.public()
	b := w.browser()
	late, err := a.push(nil)
	if err != nil || late.ExpiresIn != 300 {
		t.Fatal(late, err)
	}
	r := a.open(b, nil)
	w.Advance(5 * minute)
	_, err = w.OAuth.Open(t.Context(), a.id, late.RequestURI, b.Device)
	wantCode(t, err, "invalid_request")
	for range 6 { // after 59 minutes in all
		if _, err := w.OAuth.Open(t.Context(), a.id, r.URI, b.Device); err != nil {
			t.Fatal(err)
		}
		w.Advance(9 * minute)
	}
	w.Advance(minute)
	_, err = w.OAuth.Open(t.Context(), a.id, r.URI, b.Device)
	wantCode(t, err, "invalid_request")
	if err := w.OAuth.Maintain(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestSignInsThatEnd: whoever isn't signed in any more when they accept has to sign in again.
func TestSignInsThatEnd(t *testing.T) {
	for name, end := range map[string]func(w *world) error{
		"sign-out everywhere": func(w *world) error { return w.Sessions.EndAll(background(), w.alice) },
		"a new password":      func(w *world) error { return w.Accounts.SetPassword(background(), w.alice, "another password") },
		"a takedown":          func(w *world) error { return w.Accounts.TakeDown(background(), w.alice, "") },
		"a deletion":          func(w *world) error { return w.Accounts.DeleteNow(background(), w.alice) },
		"time": func(w *world) error {
			w.Advance(8 * 24 * time.Hour)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser("alice.test")
			a := w.public()
			if name == "time" {
				if err := end(w); err != nil {
					t.Fatal(err)
				}
			}
			r := a.open(b, nil)
			if name != "time" {
				if err := end(w); err != nil {
					t.Fatal(err)
				}
			}
			_, err := w.OAuth.Accept(t.Context(), r, b.Device, w.alice, r.Scope)
			wantCode(t, err, "login_required")
		})
	}
}

// TestOnlyWhatIsTickedIsGranted, and nothing that wasn't asked for.
func TestOnlyWhatIsTickedIsGranted(t *testing.T) {
	w := newWorld(t)
	a := w.public()
	b := w.browser("alice.test")
	r := a.open(b, nil)
	answer, err := w.OAuth.Accept(t.Context(), r, b.Device, w.alice, []string{"transition:email", "transition:generic", "identity:*"})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := a.exchange(answer.Params.Get("code"), nil)
	if err != nil || tokens.Scope != "atproto transition:email" {
		t.Errorf("granted %v, %v", tokens, err)
	}
}

// TestWhatWasUntickedIsAskedAgain, and what was granted before stays granted.
func TestWhatWasUntickedIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	a := w.confidential()
	b := w.browser("alice.test")
	grant := func(scope string, ticked ...string) {
		t.Helper()
		r := a.open(b, map[string]string{"scope": scope, "prompt": "consent"})
		if _, err := w.OAuth.Accept(t.Context(), r, b.Device, w.alice, ticked); err != nil {
			t.Fatal(err)
		}
	}
	asked := func(scope string) bool {
		t.Helper()
		return w.next(a.open(b, map[string]string{"scope": scope}), b, oauth.Choice{}).Step == oauth.StepConsent
	}
	const email, post = "atproto transition:email", "atproto repo:app.bsky.feed.post"
	grant(email, "transition:email")
	grant(post, "repo:app.bsky.feed.post")
	if asked(email) || asked(post) {
		t.Error("what was granted is asked again")
	}
	grant(email)
	if !asked(email) || asked(post) {
		t.Error("not exactly what was unticked is asked again")
	}
}

// TestASignInThatIsAboutToEnd is asked for again, since the code has yet to be exchanged.
func TestASignInThatIsAboutToEnd(t *testing.T) {
	w := newWorld(t)
	b := w.browser("alice.test")
	w.Advance(b.SignIns[0].Session.ExpiresAt.Sub(w.Now()) - minute + time.Second)
	if v := w.next(w.public().open(b, nil), b, oauth.Choice{}); v.Step != oauth.StepSignIn || v.Identifier != "alice.test" {
		t.Errorf("the step is %s for %q", v.Step, v.Identifier)
	}
}

// TestADeactivatedAccountIsAsked, also by clients that otherwise get what they ask for.
func TestADeactivatedAccountIsAsked(t *testing.T) {
	w := newWorld(t)
	a := w.confidential()
	b := w.browser("alice.test")
	a.code(b, nil)
	if err := w.Accounts.Deactivate(t.Context(), w.alice, nil); err != nil {
		t.Fatal(err)
	}
	b.reload()
	if v := w.next(a.open(b, nil), b, oauth.Choice{}); v.Step != oauth.StepConsent {
		t.Errorf("the step is %s", v.Step)
	}
	if v := w.next(a.open(b, map[string]string{"prompt": "none"}), b, oauth.Choice{}); v.Step != oauth.StepAnswer || !v.Answer.Params.Has("code") {
		t.Errorf("with the prompt none: %s, %v", v.Step, v.Answer)
	}
}

func TestADeactivatedAccountCanConsent(t *testing.T) {
	w := newWorld(t)
	if err := w.Accounts.Deactivate(t.Context(), w.alice, nil); err != nil {
		t.Fatal(err)
	}
	a := w.public()
	tokens := a.tokens(nil)
	auth, err := a.use(tokens.AccessToken)
	if err != nil || auth.Account.Status() != accounts.StatusDeactivated {
		t.Errorf("%v, %v", auth, err)
	}
}
