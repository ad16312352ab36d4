package interop

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atclient"
	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/auth/oauth"
	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/sessions"
)

// The scope of the clients, and the permission that an embedder's route asks for.
var (
	scopes     = []string{"atproto", "transition:email", "identity:handle", "repo:app.bsky.feed.post?action=create"}
	createPost = sessions.Repo("app.bsky.feed.post", "create")
)

// indigoClients are the kinds of clients that indigo knows.
var indigoClients = []struct {
	name   string
	config func(t *testing.T) *oauth.ClientConfig
}{
	{"on localhost", func(*testing.T) *oauth.ClientConfig {
		c := oauth.NewLocalhostConfig("http://127.0.0.1:9999/callback", scopes)
		return &c
	}},
	{"public", func(*testing.T) *oauth.ClientConfig {
		c := oauth.NewPublicConfig(appOrigin+"/client.json", appOrigin+"/callback", scopes)
		return &c
	}},
	{"confidential", func(t *testing.T) *oauth.ClientConfig {
		c := oauth.NewPublicConfig(appOrigin+"/client.json", appOrigin+"/callback", scopes)
		key, err := atcrypto.GeneratePrivateKeyP256()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetClientSecret(key, "key-1"); err != nil {
			t.Fatal(err)
		}
		return &c
	}},
}

// TestIndigosClient goes the whole way with the client of indigo, which wants a server at an https
// URL without a port: from the handle to the server, sign in, second step, consent, calls with and
// without the permission, refresh, revoke.
func TestIndigosClient(t *testing.T) {
	for _, tt := range indigoClients {
		t.Run(tt.name, func(t *testing.T) {
			cfg := tt.config(t)
			n := newNetwork(t, cfg)
			alice := n.signUp("alice.pds.test")
			app := n.app(cfg)

			// By the handle, which leads to the DID, its document, and the server.
			session := n.authorize(app, alice, alice.Handle)
			if session.AccountDID.String() != alice.DID || session.HostURL != serverOrigin || session.AuthServerURL != serverOrigin {
				t.Fatalf("the session is %+v", session)
			}
			if got := slices.Sorted(slices.Values(session.Scopes)); !slices.Equal(got, slices.Sorted(slices.Values(scopes))) {
				t.Errorf("granted %q", got)
			}
			resumed, err := app.ResumeSession(t.Context(), session.AccountDID, session.SessionID)
			if err != nil {
				t.Fatal(err)
			}
			api := resumed.APIClient()
			var about struct{ DID, Handle, Email string }
			if err := api.Get(t.Context(), "com.atproto.server.getSession", nil, &about); err != nil {
				t.Fatal(err)
			}
			if about.DID != alice.DID || about.Handle != alice.Handle || about.Email != alice.Email {
				t.Errorf("getSession: %+v", about)
			}
			if err := api.Post(t.Context(), "com.atproto.identity.updateHandle", map[string]string{"handle": "alice2.pds.test"}, nil); err != nil {
				t.Error("updateHandle: ", err)
			}
			alice.Handle = "alice2.pds.test"
			err = api.Get(t.Context(), "com.atproto.server.getServiceAuth", map[string]any{"aud": "did:web:api.example.com#appview", "lxm": "app.bsky.feed.getFeed"}, nil)
			if apiErr, ok := err.(*atclient.APIError); !ok || apiErr.StatusCode != http.StatusForbidden || apiErr.Name != "ScopeMissingError" {
				t.Errorf("getServiceAuth without the permission: %v", err)
			}

			// An embedder's route, with the permission and without it.
			if got := n.post(resumed); got != "200 "+alice.DID {
				t.Errorf("the embedder's route: %s", got)
			}
			less := *cfg
			less.Scopes = scopes[:3]
			without := n.app(&less)
			lesser := n.authorize(without, alice, serverOrigin)
			other, err := without.ResumeSession(t.Context(), lesser.AccountDID, lesser.SessionID)
			if err != nil {
				t.Fatal(err)
			}
			if got := n.post(other); got != `403 {"error":"ScopeMissingError","message":"Missing required scope \"repo:app.bsky.feed.post?action=create\""}` {
				t.Errorf("the embedder's route without the permission: %s", got)
			}

			// A refresh, once as such and once because the access token has ended.
			before := resumed.Data.AccessToken
			after, err := resumed.RefreshTokens(t.Context())
			if err != nil || after == before {
				t.Fatalf("a refresh: %v", err)
			}
			if err := api.Get(t.Context(), "com.atproto.server.getSession", nil, &about); err != nil {
				t.Error("after a refresh: ", err)
			}
			resumed.Data.AccessToken = before
			if err := api.Get(t.Context(), "com.atproto.server.getSession", nil, &about); err != nil || resumed.Data.AccessToken == before {
				t.Errorf("with the former access token, which the client has to replace: %v", err)
			}
			if got := n.post(resumed); got != "200 "+alice.DID {
				t.Errorf("the embedder's route, after a refresh: %s", got)
			}

			// A revocation ends this session, and only this one.
			if err := resumed.RevokeSession(t.Context()); err != nil {
				t.Error("revoking: ", err)
			}
			if err := api.Get(t.Context(), "com.atproto.server.getSession", nil, &about); err == nil {
				t.Error("a revoked session is still of use")
			}
			if _, err := resumed.RefreshTokens(t.Context()); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
				t.Errorf("a refresh after the revocation: %v", err)
			}
			if err := other.APIClient().Get(t.Context(), "com.atproto.server.getSession", nil, &about); err != nil {
				t.Error("the other session: ", err)
			}
		})
	}
}

// TestIndigosClientIsDenied: the owner says no, and the client is told.
func TestIndigosClientIsDenied(t *testing.T) {
	cfg := indigoClients[1].config(t)
	n := newNetwork(t, cfg)
	alice := n.signUp("alice.pds.test")
	app := n.app(cfg)
	at, err := app.StartAuthFlow(t.Context(), alice.Handle)
	if err != nil {
		t.Fatal(err)
	}
	b := n.browser()
	b.open(at)
	b.signIn(alice)
	b.press("deny", nil)
	_, err = app.ProcessCallback(t.Context(), b.at.Query())
	if refused, ok := err.(*oauth.AuthRequestCallbackError); !ok || refused.ErrorCode != "access_denied" {
		t.Errorf("the client is told %v", err)
	}
}

// app returns an application with indigo's client. Of what it does by itself, only the way to the
// network is changed.
func (n *network) app(cfg *oauth.ClientConfig) *oauth.ClientApp {
	app := oauth.NewClientApp(cfg, oauth.NewMemStore())
	app.Client = n.client
	app.Resolver.Client = n.client
	app.Dir = &identity.BaseDirectory{
		PLCURL: serverOrigin, HTTPClient: *n.client, SkipDNSDomainSuffixes: []string{".test"},
	}
	return app
}

// authorize signs an account in to an application, which starts with an identifier or the URL of
// the server. A confidential client isn't consented to again if it asks for no more than before.
func (n *network) authorize(app *oauth.ClientApp, a account, identifier string) *oauth.ClientSessionData {
	n.t.Helper()
	at, err := app.StartAuthFlow(n.t.Context(), identifier)
	if err != nil {
		n.t.Fatal(err)
	}
	b := n.browser()
	b.open(at)
	b.signIn(a)
	if b.page != nil {
		b.press("accept", nil)
	}
	session, err := app.ProcessCallback(n.t.Context(), b.at.Query())
	if err != nil {
		n.t.Fatal(err)
	}
	return session
}

// post calls the embedder's route, and returns what it answers.
func (n *network) post(session *oauth.ClientSession) string {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, session.Data.HostURL+"/posts", strings.NewReader(`{"text":"hello"}`))
	if err != nil {
		n.t.Fatal(err)
	}
	resp, err := session.DoWithAuth(n.client, req, syntax.NSID("app.bsky.feed.post"))
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return fmt.Sprint(resp.StatusCode, " ", string(bytes.TrimSpace(body)))
}
