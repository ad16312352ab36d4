package gatehousetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/oauthtest"
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
)

// callback is the redirect URI of the clients that [Server.OAuth] returns.
const callback = "http://127.0.0.1/callback"

// OAuthClient is an application that has access to an account: a public client with a key of its
// own, as if its owner had just agreed to all that it asked for.
type OAuthClient struct {
	// DID is the account, and ClientID the client.
	DID, ClientID string
	// AccessToken and RefreshToken are the present tokens, and Scope is what they allow. A refresh
	// replaces them.
	AccessToken, RefreshToken, Scope string

	t      testing.TB
	server *Server
	key    *oauthtest.Key
	mu     sync.Mutex // for what a refresh replaces, and the nonce
	nonce  string
}

// OAuth returns an application that has access to an account with a scope, such as "atproto
// repo:app.bsky.feed.post". It goes the whole way of OAuth, except for the pages. If there is no
// account with the handle, it is created.
func (s *Server) OAuth(t testing.TB, handle, scope string) *OAuthClient {
	t.Helper()
	ctx := context.Background()
	if _, err := s.Gatehouse.Accounts.Find(ctx, handle); err != nil {
		s.CreateAccount(handle)
	}
	c := &OAuthClient{
		ClientID: "http://localhost?" + url.Values{"redirect_uri": {callback}, "scope": {scope}}.Encode(),
		t:        t, server: s, key: oauthtest.NewKey(),
	}
	verifier, challenge := oauthtest.Verifier()
	pushed := &oauth.Pushed{}
	c.post("/oauth/par", url.Values{
		"response_type": {"code"}, "redirect_uri": {callback}, "scope": {scope},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}, pushed)
	answer, err := s.accept(ctx, c.ClientID, pushed.RequestURI, handle)
	if err != nil {
		t.Fatalf("gatehousetest: granting %q for %s: %v", scope, handle, err)
	}
	c.take(url.Values{
		"grant_type": {"authorization_code"}, "code": {answer.Params.Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	return c
}

// Authorize does what a person does in a browser: it signs in to an account, whose password is that
// of [Server.CreateAccount], agrees to all that an application asks for, and returns the URL to
// which the browser is redirected. The URL that it takes is the one that the application opens in
// the browser. It is for tests of an application's own OAuth code. If the application asked for the
// response mode form_post, the parameters are in the query of the result all the same.
func (s *Server) Authorize(authorizeURL, handle string) string {
	s.t.Helper()
	return s.answer(authorizeURL, handle, s.accept)
}

// Deny is [Server.Authorize] of a person who doesn't agree.
func (s *Server) Deny(authorizeURL, handle string) string {
	s.t.Helper()
	return s.answer(authorizeURL, handle, s.deny)
}

func (s *Server) answer(authorizeURL, handle string, how func(ctx context.Context, clientID, requestURI, handle string) (*oauth.Answer, error)) string {
	s.t.Helper()
	u, err := url.Parse(authorizeURL)
	if err != nil {
		s.t.Fatalf("gatehousetest: %q is not a URL: %v", authorizeURL, err)
	}
	a, err := how(context.Background(), u.Query().Get("client_id"), u.Query().Get("request_uri"), handle)
	if err != nil {
		s.t.Fatalf("gatehousetest: answering the authorization request for %s: %v", handle, err)
	}
	return a.URL()
}

// accept opens a pushed request in a new browser, signs an account in, and grants it.
func (s *Server) accept(ctx context.Context, clientID, requestURI, handle string) (*oauth.Answer, error) {
	_, cookie, err := s.Gatehouse.Devices.Create(ctx)
	if err != nil {
		return nil, err
	}
	d, who, _, err := s.Gatehouse.Devices.SignIn(ctx, cookie, signin.Attempt{Identifier: handle, Password: Password}, false)
	if err != nil {
		return nil, err
	}
	r, err := s.Gatehouse.OAuth.Open(ctx, clientID, requestURI, d)
	if err != nil {
		return nil, err
	}
	return s.Gatehouse.OAuth.Accept(ctx, r, d, who.Account.DID, r.Scope)
}

// deny opens a pushed request in a new browser, and denies it.
func (s *Server) deny(ctx context.Context, clientID, requestURI, _ string) (*oauth.Answer, error) {
	d, _, err := s.Gatehouse.Devices.Create(ctx)
	if err != nil {
		return nil, err
	}
	r, err := s.Gatehouse.OAuth.Open(ctx, clientID, requestURI, d)
	if err != nil {
		return nil, err
	}
	return s.Gatehouse.OAuth.Deny(ctx, r, d)
}

// Client returns an HTTP client that adds the access token and a DPoP proof to each request. It
// takes the nonces that the server gives it. It doesn't refresh: see [OAuthClient.Refresh].
func (c *OAuthClient) Client() *http.Client { return &http.Client{Transport: c} }

// RoundTrip implements [http.RoundTripper].
func (c *OAuthClient) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := readAll(r.Body)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	token := c.AccessToken
	c.mu.Unlock()
	return c.send(r, body, token)
}

// send sends a request with a proof, a second time if the server wants another nonce. Without a
// token, it is a request to the authorization server.
func (c *OAuthClient) send(r *http.Request, body []byte, token string) (*http.Response, error) {
	for attempt := 0; ; attempt++ {
		out := r.Clone(r.Context())
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		target := *r.URL
		target.RawQuery, target.Fragment = "", ""
		c.mu.Lock()
		nonce := c.nonce
		c.mu.Unlock()
		if token != "" {
			out.Header.Set("Authorization", sessions.SchemeDPoP+" "+token)
		}
		out.Header.Set("DPoP", c.key.Sign(oauthtest.Proof{
			Method: r.Method, URL: target.String(), Nonce: nonce, AccessToken: token, Now: c.server.Clock.Now(),
		}))
		resp, err := c.server.Client().Transport.RoundTrip(out)
		if err != nil {
			return nil, err
		}
		fresh := resp.Header.Get("DPoP-Nonce")
		c.mu.Lock()
		if fresh != "" {
			c.nonce = fresh
		}
		c.mu.Unlock()
		answer, err := readAll(resp.Body)
		if err != nil {
			return nil, err
		}
		resp.Body = io.NopCloser(bytes.NewReader(answer))
		if attempt > 0 || fresh == "" || resp.StatusCode/100 != 4 || !bytes.Contains(answer, []byte(`"use_dpop_nonce"`)) {
			return resp, nil
		}
	}
}

func readAll(r io.ReadCloser) ([]byte, error) {
	if r == nil {
		return nil, nil
	}
	defer r.Close()
	return io.ReadAll(r)
}

// post posts a form to an endpoint of the authorization server, and decodes its answer.
func (c *OAuthClient) post(path string, p url.Values, answer any) {
	c.t.Helper()
	p.Set("client_id", c.ClientID)
	r, err := http.NewRequest(http.MethodPost, c.server.URL+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.send(r, []byte(p.Encode()), "")
	if err != nil {
		c.t.Fatalf("gatehousetest: %s: %v", path, err)
	}
	body, err := readAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	if err == nil {
		err = json.Unmarshal(body, answer)
	}
	if err != nil {
		c.t.Fatalf("gatehousetest: %s: %v", path, err)
	}
}

// take gets tokens, and keeps them.
func (c *OAuthClient) take(p url.Values) {
	c.t.Helper()
	t := &oauth.TokenResponse{}
	c.post("/oauth/token", p, t)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.DID, c.AccessToken, c.RefreshToken, c.Scope = t.Subject, t.AccessToken, t.RefreshToken, t.Scope
}

// Refresh exchanges the refresh token for new tokens. It fails the test if the server refuses.
func (c *OAuthClient) Refresh() {
	c.t.Helper()
	c.mu.Lock()
	token := c.RefreshToken
	c.mu.Unlock()
	c.take(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// ExpireAccess lets the time pass in which the access token is good, for the whole server.
func (c *OAuthClient) ExpireAccess() { c.server.Clock.Advance(30 * time.Minute) }

// Expire lets the time pass in which the refresh token is good, for the whole server.
func (c *OAuthClient) Expire() { c.server.Clock.Advance(15 * 24 * time.Hour) }

// Revoke ends the client's access to the account, as the owner can on the page of applications.
func (c *OAuthClient) Revoke() {
	c.t.Helper()
	if err := c.server.Gatehouse.OAuth.EndApplication(context.Background(), syntax.DID(c.DID), c.ClientID); err != nil {
		c.t.Fatalf("gatehousetest: revoking: %v", err)
	}
}

// RefuseNonces makes the server refuse the nonces of the next n requests that have a DPoP proof, as
// it does when the nonce has turned: at the authorization server with a 400, and elsewhere with a
// 401, each time with a good nonce.
func (s *Server) RefuseNonces(n int) { s.faults.set(n) }

// faults are nonces to refuse.
type faults struct {
	mu   sync.Mutex
	left int
}

func (f *faults) set(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = n
}

// take reports whether the nonce of a request is to be refused.
func (f *faults) take(r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 || r.Header.Get("DPoP") == "" {
		return false
	}
	f.left--
	return true
}

// wrap refuses nonces in front of a handler. What it answers is what the handler answers to a proof
// without a nonce.
func (f *faults) wrap(s *Server, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.take(r) {
			h := w.Header()
			h.Set("DPoP-Nonce", s.Gatehouse.OAuth.Nonce())
			h.Set("Content-Type", "application/json")
			h.Set("Access-Control-Allow-Origin", "*")
			h.Set("Access-Control-Expose-Headers", "DPoP-Nonce, WWW-Authenticate")
			const text = "the DPoP proof needs another nonce"
			status, body := http.StatusBadRequest, map[string]string{"error": "use_dpop_nonce", "error_description": text}
			if !strings.HasPrefix(r.URL.Path, "/oauth/") {
				status, body = http.StatusUnauthorized, map[string]string{"error": "use_dpop_nonce", "message": text}
				h.Set("WWW-Authenticate", `DPoP algs="ES256", error="use_dpop_nonce", error_description="`+text+`"`)
			}
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(body)
			return
		}
		next.ServeHTTP(w, r)
	})
}
