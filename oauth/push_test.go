package oauth_test

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/internal/oauthtest"
	"github.com/gatehouse-at/gatehouse/oauth"
)

// TestPushRefuses provokes each error of pushed requests.
func TestPushRefuses(t *testing.T) {
	w := newWorld(t)
	public, confidential := w.public(), w.confidential()
	keyless := w.app("https://app.test/other.json", nil)
	w.publish(keyless.id, map[string]any{"client_id": "https://app.test/another.json"})
	for _, test := range []struct {
		name   string
		app    *app
		change map[string]string
		code   string
	}{
		{"no client", public, map[string]string{"client_id": ""}, "invalid_request"},
		{"a client that isn't a URL", public, map[string]string{"client_id": "app"}, "invalid_client_metadata"},
		{"a client without a document", public, map[string]string{"client_id": "https://nobody.test/client.json"}, "invalid_client_metadata"},
		{"a document of another client", keyless, nil, "invalid_client_metadata"},
		{"no response type", public, map[string]string{"response_type": ""}, "invalid_request"},
		{"another response type", public, map[string]string{"response_type": "token"}, "unsupported_response_type"},
		{"two response types", public, map[string]string{"response_type": "code id_token"}, "unsupported_response_type"},
		{"another response mode", public, map[string]string{"response_mode": "web_message"}, "invalid_request"},
		{"no redirect URI", public, map[string]string{"redirect_uri": ""}, "invalid_request"},
		{"somebody else's redirect URI", public, map[string]string{"redirect_uri": "https://evil.test/callback"}, "invalid_redirect_uri"},
		{"a redirect URI with a suffix", public, map[string]string{"redirect_uri": "https://app.test/callback/x"}, "invalid_redirect_uri"},
		{"a redirect URI with a user", public, map[string]string{"redirect_uri": "https://app.test@evil.test/callback"}, "invalid_redirect_uri"},
		{"no scope", public, map[string]string{"scope": ""}, "invalid_scope"},
		{"a scope without atproto", public, map[string]string{"scope": "transition:email"}, "invalid_scope"},
		{"a scope that the client doesn't declare", public, map[string]string{"scope": "atproto transition:chat.bsky"}, "invalid_scope"},
		{"no challenge", public, map[string]string{"code_challenge": ""}, "invalid_request"},
		{"a short challenge", public, map[string]string{"code_challenge": "abc"}, "invalid_request"},
		{"a challenge in another alphabet", public, map[string]string{"code_challenge": strings.Repeat("+", 43)}, "invalid_request"},
		{"no challenge method", public, map[string]string{"code_challenge_method": ""}, "invalid_request"},
		{"a plain challenge", public, map[string]string{"code_challenge_method": "plain"}, "invalid_request"},
		{"a long state", public, map[string]string{"state": strings.Repeat("s", 2049)}, "invalid_request"},
		{"a long hint", public, map[string]string{"login_hint": strings.Repeat("s", 513)}, "invalid_request"},
		{"long locales", public, map[string]string{"ui_locales": strings.Repeat("en ", 50)}, "invalid_request"},
		{"an unknown prompt", public, map[string]string{"prompt": "maybe"}, "invalid_request"},
		{"two prompts", public, map[string]string{"prompt": "login consent"}, "invalid_request"},
		{"a public client without a prompt", public, map[string]string{"prompt": "none"}, "invalid_request"},
		{"a bad age", public, map[string]string{"max_age": "-1"}, "invalid_request"},
		{"a request URI", public, map[string]string{"request_uri": "urn:x"}, "invalid_request"},
		{"another key than that of the proof", public, map[string]string{"dpop_jkt": "x"}, "invalid_dpop_proof"},
		{"no assertion", confidential, map[string]string{"client_assertion": ""}, "invalid_client"},
		{"no assertion type", confidential, map[string]string{"client_assertion_type": ""}, "invalid_client"},
		{"a junk assertion", confidential, map[string]string{"client_assertion": "junk"}, "invalid_client"},
		{"an assertion of another key", confidential, map[string]string{
			"client_assertion": oauthtest.NewKey().Assertion(confidential.id, issuer, w.Now(), nil),
		}, "invalid_client"},
		{"an assertion without an end", confidential, map[string]string{
			"client_assertion": confidential.auth.Assertion(confidential.id, issuer, w.Now(), map[string]any{"exp": nil}),
		}, "invalid_client"},
		{"an assertion without an id", confidential, map[string]string{
			"client_assertion": confidential.auth.Assertion(confidential.id, issuer, w.Now(), map[string]any{"jti": nil}),
		}, "invalid_client"},
		{"an assertion for another server", confidential, map[string]string{
			"client_assertion": confidential.auth.Assertion(confidential.id, "https://other.test", w.Now(), nil),
		}, "invalid_client"},
		{"a junk request object", public, map[string]string{"request": "junk"}, "invalid_request_object"},
		{"an unknown permission set", public, map[string]string{"scope": "atproto include:com.example.unknown"}, "invalid_scope"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.app.push(test.change)
			wantCode(t, err, test.code)
		})
	}
}

func TestPushRefusesBadProofs(t *testing.T) {
	w := newWorld(t)
	a := w.public()
	at := issuer + "/oauth/par"
	good := oauthtest.Proof{Method: "POST", URL: at, Nonce: w.OAuth.Nonce(), Now: w.Now()}
	with := func(change func(*oauthtest.Proof)) []string {
		p := good
		change(&p)
		return []string{a.key.Sign(p)}
	}
	one := a.key.Sign(good)
	for _, test := range []struct {
		name   string
		proofs []string
		code   string
	}{
		{"none", nil, "invalid_dpop_proof"},
		{"two", []string{one, a.key.Sign(good)}, "invalid_dpop_proof"},
		{"junk", []string{"junk"}, "invalid_dpop_proof"},
		{"no nonce", with(func(p *oauthtest.Proof) { p.Nonce = "" }), "use_dpop_nonce"},
		{"another nonce", with(func(p *oauthtest.Proof) { p.Nonce = "x" }), "use_dpop_nonce"},
		{"another method", with(func(p *oauthtest.Proof) { p.Method = "GET" }), "invalid_dpop_proof"},
		{"another URL", with(func(p *oauthtest.Proof) { p.URL = issuer + "/oauth/token" }), "invalid_dpop_proof"},
		{"an old proof", with(func(p *oauthtest.Proof) { p.Now = p.Now.Add(-5 * minute) }), "invalid_dpop_proof"},
		{"a proof of the future", with(func(p *oauthtest.Proof) { p.Now = p.Now.Add(5 * minute) }), "invalid_dpop_proof"},
		{"no id", with(func(p *oauthtest.Proof) { p.Claims = map[string]any{"jti": nil} }), "invalid_dpop_proof"},
		{"another type", with(func(p *oauthtest.Proof) { p.Header = map[string]any{"typ": "JWT"} }), "invalid_dpop_proof"},
		{"another algorithm", with(func(p *oauthtest.Proof) { p.Header = map[string]any{"alg": "none"} }), "invalid_dpop_proof"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := w.OAuth.Push(t.Context(), oauth.Call{Method: "POST", URL: at, Proofs: test.proofs}, a.request(nil))
			wantCode(t, err, test.code)
		})
	}
}

// TestProofsAndAssertionsAreUsedOnce, also if the call that they came with was refused, and in
// other spellings.
func TestProofsAndAssertionsAreUsedOnce(t *testing.T) {
	w := newWorld(t)
	a := w.confidential()
	call := a.call("/oauth/par")
	if _, err := w.OAuth.Push(t.Context(), call, a.request(nil)); err != nil {
		t.Fatal(err)
	}
	_, err := w.OAuth.Push(t.Context(), call, a.request(nil))
	wantCode(t, err, "invalid_dpop_proof")

	// A signature has a second spelling: the last character of base64url has spare bits.
	proof := call.Proofs[0]
	spelled := proof[:len(proof)-1] + string(next(proof[len(proof)-1]))
	_, err = w.OAuth.Push(t.Context(), oauth.Call{Method: "POST", URL: call.URL, Proofs: []string{spelled}}, a.request(nil))
	wantCode(t, err, "invalid_dpop_proof")

	assertion := map[string]string{"client_assertion": a.auth.Assertion(a.id, issuer, w.Now(), nil)}
	if _, err := a.push(assertion); err != nil {
		t.Fatal(err)
	}
	_, err = a.push(assertion)
	wantCode(t, err, "invalid_client")

	// Another process on the same store knows both.
	other := &world{Services: w.Another(), t: t}
	b := *a
	b.w = other
	_, err = other.OAuth.Push(t.Context(), call, b.request(nil))
	wantCode(t, err, "invalid_dpop_proof")
	_, err = b.push(assertion)
	wantCode(t, err, "invalid_client")
}

// next returns the character of base64url after one.
func next(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[(strings.IndexByte(alphabet, c)+1)%64]
}

func TestNoncesOfAnotherProcessAreGood(t *testing.T) {
	w := newWorld(t)
	other := &world{Services: w.Another(), t: t}
	a := w.public()
	at := issuer + "/oauth/par"
	nonce := other.OAuth.Nonce()
	w.Advance(minute)
	proof := a.key.Sign(oauthtest.Proof{Method: "POST", URL: at, Nonce: nonce, Now: w.Now()})
	if _, err := w.OAuth.Push(t.Context(), oauth.Call{Method: "POST", URL: at, Proofs: []string{proof}}, a.request(nil)); err != nil {
		t.Error(err)
	}
	if w.OAuth.Nonce() == nonce {
		t.Error("the nonce is the same after a minute")
	}
}

func TestRepeatedParameters(t *testing.T) {
	w := newWorld(t)
	a := w.public()
	for name := range a.request(nil) {
		p := a.request(nil)
		p[name] = append(p[name], p.Get(name))
		_, err := w.OAuth.Push(t.Context(), a.call("/oauth/par"), p)
		if e := wantCode(t, err, "invalid_request"); !strings.Contains(e.Description, name) {
			t.Errorf("%s: %s", name, e.Description)
		}
	}
	if _, err := a.push(map[string]string{"unknown": "x", "another": "y"}); err != nil {
		t.Error("unknown parameters:", err)
	}
}

// TestAKeyOfTwoPurposes: a client whose proofs are signed with the key by which it authenticates
// would give away that key's purpose.
func TestAKeyOfTwoPurposes(t *testing.T) {
	w := newWorld(t)
	a := w.confidential()
	a.key = a.auth
	_, err := a.push(nil)
	wantCode(t, err, "invalid_dpop_proof")
}

func TestRequestObjects(t *testing.T) {
	w := newWorld(t)
	a := w.confidential()
	object := func(change map[string]any) map[string]string {
		_, challenge := oauthtest.Verifier()
		all := map[string]any{
			"response_type": "code", "redirect_uri": a.redirect, "scope": "atproto", "state": "signed",
			"code_challenge": challenge, "code_challenge_method": "S256",
		}
		for k, v := range change {
			all[k] = v
		}
		return map[string]string{"request": a.auth.RequestObject(a.id, issuer, w.Now(), all)}
	}
	pushed, err := a.push(object(nil))
	if err != nil {
		t.Fatal(err)
	}
	b := w.browser("alice.test")
	r, err := w.OAuth.Open(t.Context(), a.id, pushed.RequestURI, b.Device)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := w.OAuth.Deny(t.Context(), r, b.Device)
	if err != nil || answer.Params.Get("state") != "signed" || r.Scope.String() != "atproto" {
		t.Errorf("parameters outside of the request object count: %v, %v, %v", answer, r.Scope, err)
	}
	used := object(nil)
	if _, err := a.push(used); err != nil {
		t.Fatal(err)
	}
	unsigned := strings.Split(used["request"], ".")
	unsigned[0] = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	for name, params := range map[string]map[string]string{
		"used before":       used,
		"not signed":        {"request": unsigned[0] + "." + unsigned[1] + "."},
		"of another client": object(map[string]any{"client_id": "https://app.test/public.json"}),
		"in another":        object(map[string]any{"request": "a.b.c"}),
		"by reference":      object(map[string]any{"request_uri": "urn:ietf:params:oauth:request_uri:x"}),
		"for another":       object(map[string]any{"aud": "https://other.test"}),
		"without an end":    object(map[string]any{"exp": nil}),
		"expired":           object(map[string]any{"exp": w.Now().Add(-minute).Unix()}),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.push(params)
			wantCode(t, err, "invalid_request_object")
		})
	}
	// What is in a request object is checked like parameters outside of it.
	_, err = a.push(object(map[string]any{"redirect_uri": "https://evil.test/"}))
	wantCode(t, err, "invalid_redirect_uri")
}

func TestARefusedClient(t *testing.T) {
	w := newWorld(t, func(c *domaintest.Config) { c.RefusedClients = []string{"https://app.test/public.json"} })
	_, err := w.public().push(nil)
	wantCode(t, err, "unauthorized_client")
	if _, err := w.confidential().push(nil); err != nil {
		t.Error("another client:", err)
	}
}

// FuzzPush checks that no parameters lead to anything but a request or a refusal.
func FuzzPush(f *testing.F) {
	f.Add("response_type=code&redirect_uri=https%3A%2F%2Fapp.test%2Fcallback&scope=atproto&code_challenge=x&code_challenge_method=S256")
	f.Add("scope=atproto+repo%3A*&prompt=none&max_age=9999999999999999999")
	f.Add("request=a.b.c&request=d")
	w := newWorld(f)
	a := w.public()
	f.Fuzz(func(t *testing.T, query string) {
		p, err := url.ParseQuery(query)
		if err != nil {
			t.Skip()
		}
		p.Set("client_id", a.id)
		if _, err := w.OAuth.Push(background(), a.call("/oauth/par"), p); err != nil && !errors.Is(err, oauth.ErrRefused) {
			t.Errorf("%q: %v", query, err)
		}
	})
}
