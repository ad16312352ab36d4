package oauth_test

import (
	"crypto/rand"
	"errors"
	"net/url"
	"sync"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// TestTheEndOfAClient ends all that it has: sessions, codes, requests and consents.
func TestTheEndOfAClient(t *testing.T) {
	w := newWorld(t)
	w.account("bob.test")
	a, other := w.confidential(), w.public()
	b := w.browser("alice.test", "bob.test")
	tokens, others := a.tokens(nil), other.tokens(nil)
	code := a.code(b, nil)
	exchanger := *a
	opened := a.open(b, nil)
	pushed, err := a.push(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.OAuth.EndClient(t.Context(), a.id); err != nil {
		t.Fatal(err)
	}
	if a.alive(tokens.AccessToken) {
		t.Error("the access token works")
	}
	_, err = a.refresh(tokens.RefreshToken, nil)
	wantCode(t, err, "invalid_grant")
	_, err = exchanger.exchange(code, nil)
	wantCode(t, err, "invalid_grant")
	_, err = w.OAuth.Accept(t.Context(), opened, b.Device, w.alice, opened.Scope)
	wantCode(t, err, "invalid_request")
	_, err = w.OAuth.Open(t.Context(), a.id, pushed.RequestURI, b.Device)
	wantCode(t, err, "invalid_request")
	if v := w.next(a.open(b, nil), b, oauth.Choice{DID: w.alice}); v.Step != oauth.StepConsent {
		t.Errorf("the client comes back without consent: %s", v.Step)
	}
	if !other.alive(others.AccessToken) {
		t.Error("the session of another client has ended")
	}
}

// between is a source of randomness that calls a function before it is read.
type between struct {
	mu sync.Mutex
	do func()
}

func (b *between) Read(p []byte) (int, error) {
	b.mu.Lock()
	do := b.do
	b.do = nil
	b.mu.Unlock()
	if do != nil {
		do()
	}
	return rand.Read(p)
}

// TestAConsentThatIsWithdrawnInBetween counts for nothing, however late it is withdrawn.
func TestAConsentThatIsWithdrawnInBetween(t *testing.T) {
	random := &between{}
	w := newWorld(t, func(c *domaintest.Config) { c.Rand = random })
	b := w.browser("alice.test")
	a := w.confidential()
	for prompt, want := range map[string]oauth.Step{"": oauth.StepConsent, "none": oauth.StepAnswer} {
		a.code(b, nil)
		r := a.open(b, map[string]string{"prompt": prompt})
		random.mu.Lock()
		random.do = func() { // while the code is made
			if err := w.OAuth.EndApplication(background(), w.alice, a.id); err != nil {
				t.Error(err)
			}
		}
		random.mu.Unlock()
		v := w.next(r, b, oauth.Choice{})
		if v.Step != want || v.Answer != nil && v.Answer.Params.Get("error") != "consent_required" {
			t.Errorf("prompt %q: the step is %s, with the answer %v", prompt, v.Step, v.Answer)
		}
	}
}

// TestASignInThatEndsInBetween is told to a client that wants nobody to be asked.
func TestASignInThatEndsInBetween(t *testing.T) {
	w := newWorld(t)
	b := w.browser("alice.test")
	a := w.confidential()
	a.code(b, nil)
	r := a.open(b, map[string]string{"prompt": "none"})
	if err := w.Sessions.EndAll(t.Context(), w.alice); err != nil {
		t.Fatal(err)
	}
	if v := w.next(r, b, oauth.Choice{}); v.Answer == nil || v.Answer.Params.Get("error") != "login_required" {
		t.Errorf("the view is %+v", v)
	}
}

// TestAClientThatIsRefusedLater has nothing from the restart on by which it is refused.
func TestAClientThatIsRefusedLater(t *testing.T) {
	w := newWorld(t)
	a, other := w.public(), w.confidential()
	tokens, others := a.tokens(nil), other.tokens(nil)
	code := a.code(w.browser("alice.test"), nil)
	for _, app := range []*app{a, other} {
		app.w = &world{Services: w.Another(func(c *domaintest.Config) { c.RefusedClients = []string{a.id} }), t: t}
	}
	if _, err := a.use(tokens.AccessToken); !errors.Is(err, sessions.ErrBoundToken) {
		t.Errorf("an access token: %v", err)
	}
	if !other.alive(others.AccessToken) {
		t.Error("the token of another client doesn't work")
	}
	i, err := a.w.OAuth.Introspect(t.Context(), domaintest.Introspector, domaintest.IntrospectorPassword, url.Values{"token": {tokens.AccessToken}})
	if err != nil || i.Active {
		t.Errorf("introspection: %+v, %v", i, err)
	}
	_, err = a.refresh(tokens.RefreshToken, nil)
	wantCode(t, err, "unauthorized_client")
	_, err = a.exchange(code, nil)
	wantCode(t, err, "unauthorized_client")
}
