package oauth_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// TestALargePermissionSet: the longest scopes work with everything that takes a token.
func TestALargePermissionSet(t *testing.T) {
	w := newWorld(t)
	const set = "app.example.feed.authFull"
	var collections []string
	for i := range 250 { // of 39 bytes each in the scope
		collections = append(collections, fmt.Sprintf("app.example.feed.kind%04d%s", i, "abc"))
	}
	w.PermissionSets.Put(set, collections...)
	a := w.app("https://app.test/sets.json", nil)
	m := metadata(a.id, nil)
	m["scope"] = "atproto include:" + set
	w.publish(a.id, m)
	tokens := a.tokens(map[string]string{"scope": "atproto include:" + set})
	if n := len(tokens.Scope); n < 9<<10 {
		t.Fatalf("the scope has only %d bytes", n)
	}
	for _, collection := range collections[240:] {
		if _, err := a.use(tokens.AccessToken, sessions.Repo(collection)); err != nil {
			t.Fatal(err)
		}
	}
	narrow, err := a.refresh(tokens.RefreshToken, map[string]string{"scope": "atproto repo:" + collections[0]})
	if err != nil || strings.Contains(narrow.Scope, collections[1]) {
		t.Fatalf("a narrower scope: %v", err)
	}
	if tokens, err = a.refresh(narrow.RefreshToken, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.OAuth.Revoke(t.Context(), a.call("/oauth/revoke"), a.params(map[string]string{"token": tokens.AccessToken})); err != nil {
		t.Error("revoking:", err)
	}
	if a.alive(tokens.AccessToken) {
		t.Error("the token works after it was revoked")
	}
}

// TestAConsentIsBounded: a client can't make the server remember more and more.
func TestAConsentIsBounded(t *testing.T) {
	w := newWorld(t)
	a := w.confidential()
	var scopes []string
	for i := range 3 {
		s := "atproto"
		for j := range 270 {
			s += fmt.Sprintf(" repo:com.example.kind%d.of%04d", i, j)
		}
		scopes = append(scopes, s)
	}
	m := metadata(a.id, a.auth)
	m["scope"] = "atproto" + strings.ReplaceAll(strings.Join(scopes, ""), "atproto", "")
	w.publish(a.id, m)
	b := w.browser("alice.test")
	step := func(scope string) oauth.Step {
		return w.next(a.open(b, map[string]string{"scope": scope}), b, oauth.Choice{}).Step
	}
	for _, s := range scopes[:2] {
		a.code(b, map[string]string{"scope": s})
	}
	if step(scopes[0]) != oauth.StepAnswer || step(scopes[1]) != oauth.StepAnswer {
		t.Error("two scopes aren't remembered")
	}
	a.code(b, map[string]string{"scope": scopes[2]})
	if step(scopes[0]) != oauth.StepConsent || step(scopes[2]) != oauth.StepAnswer {
		t.Error("it isn't the last scope that is remembered")
	}
}
