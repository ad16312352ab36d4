package oauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/internal/oauthtest"
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/signin/device"
)

const issuer = domaintest.Issuer

// world is an authorization server with an account, alice.test.
type world struct {
	*domaintest.Services
	t     testing.TB
	alice syntax.DID
}

const password = "correct horse"

func newWorld(t testing.TB, change ...func(*domaintest.Config)) *world {
	t.Helper()
	change = append(change, func(c *domaintest.Config) { c.OAuth = true })
	w := &world{Services: domaintest.New(t, change...), t: t}
	w.alice = w.account("alice.test")
	return w
}

func (w *world) account(handle string) syntax.DID {
	w.t.Helper()
	tokens, err := w.SignIn.SignUp(background(), accounts.CreateParams{Handle: handle, Email: handle + "@example.com", Password: password})
	if err != nil {
		w.t.Fatal(err)
	}
	return tokens.Account.DID
}

// browser returns a browser on which some accounts are signed in.
func (w *world) browser(handles ...string) *browser {
	w.t.Helper()
	b := &browser{w: w}
	d, cookie, err := w.Devices.Create(background())
	if err != nil {
		w.t.Fatal(err)
	}
	b.Device, b.cookie = d, cookie
	for _, h := range handles {
		b.signIn(h)
	}
	return b
}

type browser struct {
	*device.Device
	w      *world
	cookie string
}

func (b *browser) signIn(handle string) {
	b.w.t.Helper()
	d, _, cookie, err := b.w.Devices.SignIn(background(), b.cookie, signin.Attempt{Identifier: handle, Password: password}, true)
	if err != nil {
		b.w.t.Fatal(err)
	}
	b.Device, b.cookie = d, cookie
}

// reload reads the browser's sign-ins again.
func (b *browser) reload() {
	b.w.t.Helper()
	d, cookie, err := b.w.Devices.Find(background(), b.cookie)
	if err != nil || d == nil {
		b.w.t.Fatalf("the browser: %v, %v", d, err)
	}
	if b.Device = d; cookie != "" {
		b.cookie = cookie
	}
}

// app is a client.
type app struct {
	w        *world
	id       string
	redirect string
	key      *oauthtest.Key // of its proofs
	auth     *oauthtest.Key // nil for a public client
	verifier string
}

const appScope = "atproto repo:app.bsky.feed.post rpc:app.bsky.feed.getFeed?aud=did:web:x.test%23y transition:email"

// metadata returns the document of a client.
func metadata(id string, auth *oauthtest.Key) map[string]any {
	m := map[string]any{
		"client_id": id, "client_name": "Example App", "application_type": "web", "dpop_bound_access_tokens": true,
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
		"redirect_uris": []string{"https://app.test/callback"}, "scope": appScope + " transition:generic identity:*",
		"token_endpoint_auth_method": "none",
	}
	if auth != nil {
		m["token_endpoint_auth_method"], m["token_endpoint_auth_signing_alg"] = "private_key_jwt", "ES256"
		m["jwks"] = auth.JWKS()
	}
	return m
}

func (w *world) publish(id string, document map[string]any) {
	w.t.Helper()
	b, err := json.Marshal(document)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Documents.Put(id, b)
}

// public returns a public client, and confidential one that authenticates.
func (w *world) public() *app { return w.app("https://app.test/public.json", nil) }
func (w *world) confidential() *app {
	return w.app("https://app.test/confidential.json", oauthtest.NewKey())
}

func (w *world) app(id string, auth *oauthtest.Key) *app {
	w.t.Helper()
	w.publish(id, metadata(id, auth))
	return &app{w: w, id: id, redirect: "https://app.test/callback", key: oauthtest.NewKey(), auth: auth}
}

// call returns a call to an endpoint with a fresh proof.
func (a *app) call(path string) oauth.Call {
	return a.callWith(a.key, path)
}

func (a *app) callWith(key *oauthtest.Key, path string) oauth.Call {
	at := issuer + path
	return oauth.Call{Method: "POST", URL: at, Proofs: []string{key.Sign(oauthtest.Proof{Method: "POST", URL: at, Nonce: a.w.OAuth.Nonce(), Now: a.w.Now()})}}
}

// params returns parameters with those by which the client authenticates. An empty value removes
// one.
func (a *app) params(change map[string]string) url.Values {
	p := url.Values{"client_id": {a.id}}
	if a.auth != nil {
		p.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		p.Set("client_assertion", a.auth.Assertion(a.id, issuer, a.w.Now(), nil))
	}
	for name, value := range change {
		if p.Set(name, value); value == "" {
			p.Del(name)
		}
	}
	return p
}

// request returns the parameters of an authorization request.
func (a *app) request(change map[string]string) url.Values {
	verifier, challenge := oauthtest.Verifier()
	a.verifier = verifier
	all := map[string]string{
		"response_type": "code", "redirect_uri": a.redirect, "scope": appScope, "state": "the state",
		"code_challenge": challenge, "code_challenge_method": "S256",
	}
	maps.Copy(all, change)
	return a.params(all)
}

func (a *app) push(change map[string]string) (*oauth.Pushed, error) {
	return a.w.OAuth.Push(background(), a.call("/oauth/par"), a.request(change))
}

// open pushes a request and opens it in a browser.
func (a *app) open(b *browser, change map[string]string) *oauth.Request {
	a.w.t.Helper()
	pushed, err := a.push(change)
	if err != nil {
		a.w.t.Fatal(err)
	}
	r, err := a.w.OAuth.Open(background(), a.id, pushed.RequestURI, b.Device)
	if err != nil {
		a.w.t.Fatal(err)
	}
	return r
}

// code goes all the way to a code.
func (a *app) code(b *browser, change map[string]string) string {
	a.w.t.Helper()
	r := a.open(b, change)
	answer, err := a.w.OAuth.Accept(background(), r, b.Device, b.SignIns[0].Account.DID, r.Scope)
	if err != nil {
		a.w.t.Fatal(err)
	}
	return answer.Params.Get("code")
}

func (a *app) exchange(code string, change map[string]string) (*oauth.TokenResponse, error) {
	all := map[string]string{"grant_type": "authorization_code", "code": code, "redirect_uri": a.redirect, "code_verifier": a.verifier}
	maps.Copy(all, change)
	return a.w.OAuth.Token(background(), a.call("/oauth/token"), a.params(all))
}

// tokens goes all the way to tokens of alice.test.
func (a *app) tokens(change map[string]string) *oauth.TokenResponse {
	a.w.t.Helper()
	t, err := a.exchange(a.code(a.w.browser("alice.test"), change), nil)
	if err != nil {
		a.w.t.Fatal(err)
	}
	return t
}

func (a *app) refresh(token string, change map[string]string) (*oauth.TokenResponse, error) {
	all := map[string]string{"grant_type": "refresh_token", "refresh_token": token}
	maps.Copy(all, change)
	return a.w.OAuth.Token(background(), a.call("/oauth/token"), a.params(all))
}

// use calls a method of the server with an access token.
func (a *app) use(token string, need ...sessions.Permission) (*sessions.Auth, error) {
	const at = "https://pds.test/xrpc/com.atproto.server.getSession"
	proof := a.key.Sign(oauthtest.Proof{Method: "GET", URL: at, Nonce: a.w.OAuth.Nonce(), AccessToken: token, Now: a.w.Now()})
	return a.w.Sessions.Verify(background(), sessions.Request{
		Scheme: sessions.SchemeDPoP, Token: token, Method: "GET", URL: at, Proofs: []string{proof},
	}, need...)
}

// wantCode checks that an error is an [oauth.Error] with a code.
func wantCode(t testing.TB, err error, code string) *oauth.Error {
	t.Helper()
	var e *oauth.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("the error is %v, want %s", err, code)
	}
	if !errors.Is(err, oauth.ErrRefused) || e.Description == "" {
		t.Errorf("%#v is not a refusal with a description", err)
	}
	return e
}

// alive checks whether an access token works.
func (a *app) alive(token string) bool {
	a.w.t.Helper()
	_, err := a.use(token)
	return err == nil
}

// background is a context that a test's goroutines may use.
func background() context.Context { return context.Background() }

const minute = time.Minute
