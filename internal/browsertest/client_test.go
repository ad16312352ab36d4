package browsertest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	indigo "github.com/bluesky-social/indigo/atproto/auth/oauth"

	oauthclient "github.com/gatehouse-at/gatehouse/oauth/client"
)

// client is an OAuth client on this machine, which can ask for what the official ones don't. Its
// proofs are indigo's.
type client struct {
	t                          testing.TB
	server                     string
	id, redirect, scope        string
	key                        atcrypto.PrivateKey
	nonce, verifier, lastState string
}

// skylark is the client_id of an application whose metadata document the servers of the tests find.
const skylark = "https://skylark.example.com/client.json"

// documents are what the servers of the tests find on other machines. The redirect URI is on
// loopback, where a native application may listen on any port.
type documents map[string]string

var published = documents{skylark: `{
	"client_id": "` + skylark + `",
	"client_name": "Skylark",
	"client_uri": "https://skylark.example.com",
	"tos_uri": "https://skylark.example.com/terms",
	"policy_uri": "https://skylark.example.com/privacy",
	"application_type": "native",
	"redirect_uris": ["http://127.0.0.1/callback"],
	"response_types": ["code"],
	"grant_types": ["authorization_code", "refresh_token"],
	"scope": "` + risky + `",
	"token_endpoint_auth_method": "none",
	"dpop_bound_access_tokens": true
}`}

// Get implements [oauthclient.Fetcher].
func (d documents) Get(_ context.Context, url string, _ int64) (*oauthclient.Document, error) {
	body, ok := d[url]
	if !ok {
		return nil, oauthclient.ErrUnfit
	}
	return &oauthclient.Document{Body: []byte(body), ContentType: "application/json", Lifetime: oauthclient.Unsaid}, nil
}

// newSkylark returns a client that has a name.
func newSkylark(t testing.TB, server, redirect string) *client {
	t.Helper()
	c := newClient(t, server, redirect, risky)
	c.id = skylark
	return c
}

// newClient returns a client of the kind that developers use: its metadata are in its client_id.
func newClient(t testing.TB, server, redirect, scope string) *client {
	t.Helper()
	key, err := atcrypto.GeneratePrivateKeyP256()
	if err != nil {
		t.Fatal(err)
	}
	return &client{
		t: t, server: server, redirect: redirect, scope: scope, key: key,
		id: "http://localhost?" + url.Values{"redirect_uri": {redirect}, "scope": {scope}}.Encode(),
	}
}

// ask pushes an authorization request, and returns the URL to which it sends people.
func (c *client) ask(more url.Values) string {
	c.t.Helper()
	c.verifier, c.lastState = rand.Text()+rand.Text(), rand.Text()
	challenge := sha256.Sum256([]byte(c.verifier))
	params := url.Values{
		"client_id":             {c.id},
		"redirect_uri":          {c.redirect},
		"scope":                 {c.scope},
		"response_type":         {"code"},
		"state":                 {c.lastState},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}
	for name, values := range more {
		params[name] = values
	}
	var pushed struct {
		RequestURI  string `json:"request_uri"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if status := c.post("/oauth/par", params, &pushed); status != http.StatusCreated {
		c.t.Fatalf("PAR was answered %d %s: %s", status, pushed.Error, pushed.Description)
	}
	return c.server + "/oauth/authorize?" + url.Values{"client_id": {c.id}, "request_uri": {pushed.RequestURI}}.Encode()
}

// tokens are what a client gets for a code or a refresh token.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Type    string `json:"token_type"`
	Scope   string `json:"scope"`
	Subject string `json:"sub"`
	Error   string `json:"error"`
}

// redeem exchanges the code of an answer.
func (c *client) redeem(answer url.Values) tokens {
	c.t.Helper()
	if answer.Get("iss") != c.server || answer.Get("state") != c.lastState || len(answer) != 3 {
		c.t.Fatalf("the answer is %v", answer)
	}
	var got tokens
	status := c.post("/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {c.id}, "redirect_uri": {c.redirect},
		"code": {answer.Get("code")}, "code_verifier": {c.verifier},
	}, &got)
	if status != http.StatusOK || got.Type != "DPoP" || got.Access == "" || got.Refresh == "" {
		c.t.Fatalf("the code was answered %d %s", status, got.Error)
	}
	return got
}

// refresh exchanges a refresh token, and returns what it got, which may be an error.
func (c *client) refresh(old tokens) tokens {
	c.t.Helper()
	var got tokens
	c.post("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {c.id}, "refresh_token": {old.Refresh}}, &got)
	return got
}

// post sends a form with a proof, once more if the server wants another nonce, and decodes the
// answer.
func (c *client) post(path string, form url.Values, answer any) (status int) {
	c.t.Helper()
	for range 2 {
		proof, err := indigo.NewAuthDPoP(http.MethodPost, c.server+path, c.nonce, c.key)
		if err != nil {
			c.t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.server+path, strings.NewReader(form.Encode()))
		if err != nil {
			c.t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("DPoP", proof)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			c.t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			c.t.Fatal(err)
		}
		if err := json.Unmarshal(body, answer); err != nil {
			c.t.Fatalf("%s was answered %d %s: %v", path, resp.StatusCode, body, err)
		}
		if c.nonce == resp.Header.Get("DPoP-Nonce") || !strings.Contains(string(body), "use_dpop_nonce") {
			return resp.StatusCode
		}
		c.nonce = resp.Header.Get("DPoP-Nonce")
	}
	c.t.Fatalf("%s wants one nonce after the other", path)
	return 0
}
