package gatehousetest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/sessions"
)

const postScope = "atproto repo:app.bsky.feed.post"

// session asks the server whose session a client has, and returns the status and the answer.
func session(t *testing.T, srv *gatehousetest.Server, c *http.Client) (int, map[string]any) {
	t.Helper()
	resp, err := c.Get(srv.URL + "/xrpc/com.atproto.server.getSession")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, got
}

func TestAnOAuthClientInALine(t *testing.T) {
	srv := gatehousetest.NewServer(t)
	app := srv.OAuth(t, "alice.test", postScope)
	if status, got := session(t, srv, app.Client()); status != 200 || got["handle"] != "alice.test" || got["did"] != app.DID || got["email"] != nil {
		t.Errorf("%d %v", status, got)
	}
	if app.Scope != postScope || app.RefreshToken == "" {
		t.Errorf("%+v", app)
	}
	// A second client of the same account is another session.
	other := srv.OAuth(t, "alice.test", "atproto transition:email")
	if status, got := session(t, srv, other.Client()); status != 200 || got["email"] != "alice@example.com" {
		t.Errorf("%d %v", status, got)
	}
}

func TestWhatAnOAuthClientGoesThrough(t *testing.T) {
	srv := gatehousetest.NewServer(t)
	app := srv.OAuth(t, "alice.test", postScope)
	check := func(when string, want int, name string) {
		t.Helper()
		status, got := session(t, srv, app.Client())
		if text, _ := got["error"].(string); status != want || text != name {
			t.Errorf("%s: %d %v, want %d %s", when, status, got, want, name)
		}
	}
	check("at first", 200, "")
	app.ExpireAccess()
	check("after the access token has expired", 401, "invalid_token")
	before := app.AccessToken
	app.Refresh()
	check("after a refresh", 200, "")
	if app.AccessToken == before {
		t.Error("the refresh gave the same access token")
	}
	srv.RefuseNonces(1)
	check("after one nonce was refused", 200, "") // the client tries again
	srv.RefuseNonces(2)
	check("after two nonces were refused", 401, "use_dpop_nonce")
	srv.RefuseNonces(1)
	app.Refresh()
	check("after a refresh with a nonce that was refused", 200, "")
	app.Revoke()
	check("after the owner has ended the access", 401, "invalid_token")
}

func TestRoutesOfAnEmbedderForAnOAuthClient(t *testing.T) {
	var srv *gatehousetest.Server
	srv = gatehousetest.NewServer(t, gatehousetest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			collection, isRoute := strings.CutPrefix(r.URL.Path, "/create/")
			if !isRoute {
				next.ServeHTTP(w, r)
				return
			}
			protect := srv.Gatehouse.RequireAuth(sessions.Repo(collection, "create"))
			protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, gatehouse.Auth(r.Context()).Account.Handle.String())
			})).ServeHTTP(w, r)
		})
	}))
	app := srv.OAuth(t, "alice.test", postScope)
	for collection, want := range map[string]int{"app.bsky.feed.post": 200, "app.bsky.feed.like": 403} {
		resp, err := app.Client().Post(srv.URL+"/create/"+collection, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want || want == 403 && !strings.Contains(string(body), `Missing required scope \"repo:app.bsky.feed.like?action=create\"`) {
			t.Errorf("%s: %d %s", collection, resp.StatusCode, body)
		}
	}
}

// TestAnApplicationsOwnOAuthCode plays an application that pushes a request by itself.
func TestAnApplicationsOwnOAuthCode(t *testing.T) {
	srv := gatehousetest.NewServer(t)
	srv.CreateAccount("alice.test")
	app := srv.OAuth(t, "bob.test", "atproto") // whose key and client ID are used here
	push := func() string {
		t.Helper()
		resp, err := app.Client().PostForm(srv.URL+"/oauth/par", url.Values{
			"client_id": {app.ClientID}, "response_type": {"code"}, "redirect_uri": {"http://127.0.0.1/callback"}, "scope": {"atproto"}, "state": {"mine"},
			"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var pushed struct {
			RequestURI string `json:"request_uri"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&pushed); err != nil || pushed.RequestURI == "" {
			t.Fatalf("%d %v %v", resp.StatusCode, pushed, err)
		}
		return srv.URL + "/oauth/authorize?" + url.Values{"client_id": {app.ClientID}, "request_uri": {pushed.RequestURI}}.Encode()
	}
	for name, answer := range map[string]struct {
		url  string
		want string
	}{
		"code":  {srv.Authorize(push(), "alice.test"), ""},
		"error": {srv.Deny(push(), "alice.test"), "access_denied"},
	} {
		u, err := url.Parse(answer.url)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if q.Get(name) == "" || q.Get("error") != answer.want || q.Get("state") != "mine" || q.Get("iss") != srv.URL {
			t.Errorf("%s: %s", name, answer.url)
		}
	}
}
