package xrpc_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/audit"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/sessions/dpop"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// oauthServer is a server that takes OAuth tokens, and a client of it.
type oauthServer struct {
	*domaintest.Services
	*xrpc.Server
	t      *testing.T
	client *domaintest.Prover
}

func newOAuthServer(t *testing.T, change ...func(*domaintest.Config)) *oauthServer {
	t.Helper()
	rules := func(c *domaintest.Config) { c.Sessions.ServiceAuth = xrpc.ServiceAuthRules() }
	s := domaintest.New(t, append([]func(*domaintest.Config){domaintest.WithOAuth(t), rules}, change...)...)
	log, err := audit.New(t.Context(), s.Store, s.Now)
	if err != nil {
		t.Fatal(err)
	}
	resolver, err := did.NewResolver(did.ResolverConfig{Directory: s.Directory, Now: s.Now})
	if err != nil {
		t.Fatal(err)
	}
	server, err := xrpc.New(xrpc.Config{
		Accounts: s.Accounts, Sessions: s.Sessions, SignIn: s.SignIn, Invites: s.Invites, AppPasswords: s.AppPasswords,
		Audit: log, Resolver: resolver, Now: s.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &oauthServer{s, server, t, domaintest.NewProver(t)}
}

// open opens a session of a client with a scope.
func (o *oauthServer) open(id syntax.DID, client, scope string) *sessions.OAuthTokens {
	o.t.Helper()
	var i *sessions.Issue
	err := o.Store.Update(o.t.Context(), func(tx storage.Tx) error {
		a, err := accounts.GetTx(tx, id)
		if err != nil {
			return err
		}
		i, err = o.Sessions.OpenOAuthTx(tx, a, sessions.OAuthGrant{
			Client: sessions.Client{ID: client, Key: o.client.Key, Scope: scope}, Method: "password", Scope: scope,
			RefreshLifetime: time.Hour, Lifetime: 24 * time.Hour,
		})
		return err
	})
	if err != nil {
		o.t.Fatal(err)
	}
	k, err := o.Sessions.SignOAuth(i)
	if err != nil {
		o.t.Fatal(err)
	}
	return k
}

// asked is an answer.
type asked struct {
	*httptest.ResponseRecorder
	Error, Message string
}

// ask sends a request with headers, which are names and values.
func ask(h http.Handler, method, path, body string, headers ...string) asked {
	r := httptest.NewRequest(method, "http://internal.example"+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	} else {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	a := asked{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(a.ResponseRecorder, r)
	_ = json.Unmarshal(a.Body.Bytes(), &a)
	return a
}

// as sends a request with a token and a good proof.
func (o *oauthServer) as(token, method, path, body string) asked {
	o.t.Helper()
	url, _, _ := strings.Cut("http://pds.test"+path, "?")
	return ask(o, method, path, body, "Authorization", "DPoP "+token, "DPoP", o.client.Proof(method, url, token, o.Sessions.Nonce(), o.Now()))
}

const client = "https://app.test/client.json"

// oauthTable is what each method that takes access tokens answers OAuth clients: those that have
// the permission, and those that were granted nothing but "atproto".
var oauthTable = []struct {
	verb, path, body string
	scope            string // that suffices, beside atproto
	name, message    string // of the refusal without it
}{
	{"GET", "com.atproto.server.getSession", "", "", "", ""},
	{"GET", "com.atproto.server.checkAccountStatus", "", "", "", ""},
	{"GET", "com.atproto.identity.getRecommendedDidCredentials", "", "", "", ""},
	{"GET", "com.atproto.temp.checkSignupQueue", "", "", "", ""},
	{
		"GET", "com.atproto.server.getServiceAuth?aud=did:web:x%23y&lxm=app.bsky.feed.getFeed", "", "rpc:app.bsky.feed.getFeed?aud=did:web:x%23y",
		"ScopeMissingError", `Missing required scope "rpc:app.bsky.feed.getFeed?aud=did:web:x%23y"`,
	},
	{
		"GET", "com.atproto.server.getServiceAuth?aud=did:web:x%23y", "", "rpc:*?aud=did:web:x%23y",
		"ScopeMissingError", `Missing required scope "rpc:*?aud=did:web:x%23y"`,
	},
	{"GET", "com.atproto.server.getServiceAuth?aud=did:web:x%23y&lxm=chat.bsky.convo.getLog", "", "transition:chat.bsky", "ScopeMissingError", ""},
	{"GET", "com.atproto.server.getServiceAuth?aud=did:web:x&lxm=app.bsky.feed.getFeed", "", "transition:generic", "ScopeMissingError", ""},
	{"POST", "com.atproto.identity.updateHandle", `{"handle":"alice2.test"}`, "identity:handle", "ScopeMissingError", `Missing required scope "identity:handle"`},
	{"POST", "com.atproto.identity.updateHandle", `{"handle":"alice3.test"}`, "identity:*", "ScopeMissingError", ""},
	{"POST", "com.atproto.identity.requestPlcOperationSignature", "", "identity:*", "ScopeMissingError", `Missing required scope "identity:*"`},
	{"POST", "com.atproto.identity.signPlcOperation", "{}", "identity:*", "ScopeMissingError", `Missing required scope "identity:*"`},
	{"POST", "com.atproto.identity.submitPlcOperation", `{"operation":{}}`, "identity:*", "ScopeMissingError", `Missing required scope "identity:*"`},
	{
		"POST", "com.atproto.server.requestEmailConfirmation", "", "account:email?action=manage",
		"ScopeMissingError", `Missing required scope "account:email?action=manage"`,
	},
	{"POST", "com.atproto.server.confirmEmail", `{"email":"a@b.test","token":"x"}`, "account:email?action=manage", "ScopeMissingError", ""},
	{"POST", "com.atproto.server.requestEmailUpdate", "", "never", "Forbidden", byManager},
	{"POST", "com.atproto.server.updateEmail", `{"email":"a@b.test"}`, "never", "Forbidden", byManager},
	{"POST", "com.atproto.server.createAppPassword", `{"name":"x"}`, "never", "Forbidden", byOwner},
	{"GET", "com.atproto.server.listAppPasswords", "", "never", "Forbidden", byOwner},
	{"POST", "com.atproto.server.revokeAppPassword", `{"name":"x"}`, "never", "Forbidden", byOwner},
	{"POST", "com.atproto.server.activateAccount", "", "never", "Forbidden", byOwner},
	{"POST", "com.atproto.server.deactivateAccount", "{}", "never", "Forbidden", byOwner},
	{"POST", "com.atproto.server.requestAccountDelete", "", "never", "Forbidden", byOwner},
	{"GET", "com.atproto.server.getAccountInviteCodes", "", "never", "Forbidden", byOwner},
}

const (
	byOwner   = "OAuth credentials are not supported for this endpoint"
	byManager = "Use the account manager interface to update email address associated with an account"
	// everything is all that can be granted.
	everything = "atproto transition:generic transition:email transition:chat.bsky account:email?action=manage account:repo?action=manage identity:* repo:* blob:*/*"
)

func TestWhatMethodsAskOfOAuthClients(t *testing.T) {
	o := newOAuthServer(t)
	id := o.SignUp("alice").Account.DID
	least, all := o.open(id, client, "atproto"), o.open(id, client, everything)
	tried := map[string]bool{}
	for _, row := range oauthTable {
		path := "/xrpc/" + row.path
		nsid, _, _ := strings.Cut(row.path, "?")
		tried[nsid] = true
		a := o.as(least.AccessToken, row.verb, path, row.body)
		switch {
		case row.name == "" && a.Code != 200:
			t.Errorf("%s: %d %s", row.path, a.Code, a.Body)
		case row.name != "" && (a.Code != 403 || a.Error != row.name || row.message != "" && a.Message != row.message):
			t.Errorf("%s: %d %s, want %s %s", row.path, a.Code, a.Body, row.name, row.message)
		}
		if row.scope == "never" {
			if a := o.as(all.AccessToken, row.verb, path, row.body); a.Code != 403 || a.Error != row.name || a.Message != row.message {
				t.Errorf("%s with everything: %d %s", row.path, a.Code, a.Body)
			}
			continue
		}
		k := o.open(id, client, strings.TrimSpace("atproto "+row.scope))
		if a := o.as(k.AccessToken, row.verb, path, row.body); a.Code == 403 || a.Code == 401 {
			t.Errorf("%s with %s: %d %s", row.path, row.scope, a.Code, a.Body)
		}
	}
	for _, nsid := range []string{"com.atproto.server.refreshSession", "com.atproto.server.deleteSession"} {
		tried[nsid] = true
		if a := o.as(all.AccessToken, "POST", "/xrpc/"+nsid, ""); a.Code != 401 {
			t.Errorf("%s: %d %s", nsid, a.Code, a.Body)
		}
	}
	// What isn't in the table takes no access tokens.
	for _, nsid := range xrpc.Methods() {
		if tried[nsid] {
			continue
		}
		verb := "GET"
		if a := ask(o, verb, "/xrpc/"+nsid, ""); a.Code == http.StatusMethodNotAllowed {
			verb = "POST"
		}
		if a := o.as(all.AccessToken, verb, "/xrpc/"+nsid, ""); a.Error == "ScopeMissingError" || a.Message == byOwner {
			t.Errorf("%s isn't in the table: %d %s", nsid, a.Code, a.Body)
		}
	}
	// No service token for what only a session may.
	for _, nsid := range xrpc.ServiceAuthRules().Protected {
		for _, k := range []*sessions.OAuthTokens{least, all} {
			if a := o.as(k.AccessToken, "GET", "/xrpc/com.atproto.server.getServiceAuth?aud=did:web:x%23y&lxm="+nsid, ""); a.Code != 400 || a.Error != "InvalidRequest" {
				t.Errorf("a service token for %s: %d %s", nsid, a.Code, a.Body)
			}
		}
	}
}

func TestGetSessionShowsAnOAuthClientTheEmailIfItMay(t *testing.T) {
	o := newOAuthServer(t)
	id := o.SignUp("alice").Account.DID
	for scope, want := range map[string]bool{
		"atproto": false, "atproto transition:generic": false, "atproto transition:email": true, "atproto account:email": true,
		"atproto account:email?action=manage": true, "atproto account:repo": false,
	} {
		a := o.as(o.open(id, client, scope).AccessToken, "GET", getSession, "")
		if shown := strings.Contains(a.Body.String(), "alice@example.com"); a.Code != 200 || shown != want || strings.Contains(a.Body.String(), "emailConfirmed") != want {
			t.Errorf("%s: %d %s", scope, a.Code, a.Body)
		}
	}
	k := o.open(id, client, "atproto")
	if err := o.Accounts.Deactivate(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	if a := o.as(k.AccessToken, "GET", getSession, ""); a.Code != 200 || !strings.Contains(a.Body.String(), `"active":false`) {
		t.Errorf("a deactivated account: %d %s", a.Code, a.Body)
	}
}

// TestNonceHandshake is how a client finds out about nonces.
func TestNonceHandshake(t *testing.T) {
	o := newOAuthServer(t)
	k := o.open(o.SignUp("alice").Account.DID, client, "atproto")
	proof := func(nonce string) []string {
		return []string{"Authorization", "DPoP " + k.AccessToken, "DPoP", o.client.Proof("GET", "http://pds.test"+getSession, k.AccessToken, nonce, o.Now())}
	}
	first := ask(o, "GET", getSession, "", proof("")...)
	want := `DPoP algs="` + strings.Join(dpop.Algorithms(), " ") + `", error="use_dpop_nonce", error_description="Resource server requires nonce in DPoP proof"`
	if first.Code != 401 || first.Error != "use_dpop_nonce" || first.Message != "Resource server requires nonce in DPoP proof" ||
		!slices.Equal(first.Header().Values("WWW-Authenticate"), []string{want}) {
		t.Errorf("%d %v %s", first.Code, first.Header(), first.Body)
	}
	nonce := first.Header().Get("DPoP-Nonce")
	for _, name := range []string{"WWW-Authenticate", "DPoP-Nonce"} {
		if !strings.Contains(first.Header().Get("Access-Control-Expose-Headers"), name) {
			t.Errorf("%s isn't exposed", name)
		}
	}
	second := ask(o, "GET", getSession, "", proof(nonce)...)
	if second.Code != 200 || second.Header().Get("DPoP-Nonce") == "" || second.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("%d %v %s", second.Code, second.Header(), second.Body)
	}
	o.Advance(2 * time.Minute)
	if a := ask(o, "GET", getSession, "", proof(nonce)...); a.Code != 200 || a.Header().Get("DPoP-Nonce") == nonce {
		t.Errorf("two minutes later: %d %s", a.Code, a.Body)
	}
	o.Advance(time.Minute)
	if a := ask(o, "GET", getSession, "", proof(nonce)...); a.Code != 401 || a.Error != "use_dpop_nonce" {
		t.Errorf("three minutes later: %d %s", a.Code, a.Body)
	}
	// Whatever is answered to a client of OAuth.
	for name, a := range map[string]asked{
		"a wrong verb":             ask(o, "POST", getSession, "{}", proof("")...),
		"an unknown method":        ask(o, "GET", "/xrpc/com.example.unknown", "", proof("")...),
		"a method for everybody":   ask(o, "GET", describe, "", proof("")...),
		"a scheme in another case": ask(o, "GET", getSession, "", "Authorization", "dpop x"),
		"a bad header":             ask(o, "GET", getSession, "", "Authorization", "DPoP a b"),
		"a scheme alone":           ask(o, "GET", getSession, "", "Authorization", "DPoP"),
		"a method of admins":       ask(o, "GET", "/xrpc/com.atproto.admin.getAccountInfo?did=did:web:x", "", proof("")...),
	} {
		if a.Header().Get("DPoP-Nonce") != o.Sessions.Nonce() {
			t.Errorf("%s: %d %v", name, a.Code, a.Header())
		}
	}
	for name, headers := range map[string][]string{"nobody": nil, "a bearer token": {"Authorization", "Bearer x"}} {
		if a := ask(o, "GET", getSession, "", headers...); a.Header().Get("DPoP-Nonce") != "" {
			t.Errorf("%s is given a nonce", name)
		}
	}
}

func TestChallenges(t *testing.T) {
	o := newOAuthServer(t)
	tokens := o.SignUp("alice")
	id := tokens.Account.DID
	k, dead := o.open(id, client, "atproto"), o.open(id, "https://dead.test/client.json", "atproto")
	if err := o.Sessions.EndOfClient(t.Context(), id, "https://dead.test/client.json"); err != nil {
		t.Fatal(err)
	}
	down := o.SignUp("bob").Account.DID
	taken := o.open(down, client, "atproto")
	if err := o.Accounts.TakeDown(t.Context(), down, ""); err != nil {
		t.Fatal(err)
	}
	mallory := domaintest.NewProver(t)
	algs := `DPoP algs="` + strings.Join(dpop.Algorithms(), " ") + `"`
	with := func(p *domaintest.Prover, token string, changes ...map[string]any) []string {
		return []string{"Authorization", "DPoP " + token, "DPoP", p.Proof("GET", "http://pds.test"+getSession, token, o.Sessions.Nonce(), o.Now(), changes...)}
	}
	used := with(o.client, k.AccessToken)
	if a := ask(o, "GET", getSession, "", used...); a.Code != 200 {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	const bearer = `Bearer realm="atproto"`
	for name, c := range map[string]struct {
		headers    []string
		status     int
		error      string
		challenges []string // each begins with one of these
	}{
		"nothing":                     {nil, 401, "AuthMissing", []string{bearer, algs}},
		"a bound token as Bearer":     {[]string{"Authorization", "Bearer " + k.AccessToken}, 400, "InvalidToken", nil},
		"a bearer token as DPoP":      {with(o.client, tokens.AccessJWT), 401, "invalid_token", []string{algs + `, error="invalid_token", error_description="`}},
		"no proof":                    {[]string{"Authorization", "DPoP " + k.AccessToken}, 401, "invalid_dpop_proof", []string{algs + `, error="invalid_dpop_proof", error_description="DPoP proof required"`}},
		"two proofs":                  {append(with(o.client, k.AccessToken), "DPoP", "x"), 401, "invalid_dpop_proof", []string{algs + `, error="invalid_dpop_proof"`}},
		"a proof that was used":       {used, 401, "invalid_dpop_proof", []string{algs + `, error="invalid_dpop_proof"`}},
		"a proof for another URL":     {with(o.client, k.AccessToken, map[string]any{"htu": "http://internal.example" + getSession}), 401, "invalid_dpop_proof", []string{algs + `, error="invalid_dpop_proof", error_description="The 'htu' of`}},
		"another key":                 {with(mallory, k.AccessToken), 401, "invalid_token", []string{algs + `, error="invalid_token"`}},
		"a dead session":              {with(o.client, dead.AccessToken), 401, "invalid_token", []string{algs + `, error="invalid_token", error_description="Token has been revoked"`}},
		"an account taken down":       {with(o.client, taken.AccessToken), 401, "AccountTakedown", []string{algs + `, error="invalid_token"`}},
		"junk":                        {with(o.client, "junk"), 401, "invalid_token", []string{algs + `, error="invalid_token", error_description="Malformed token"`}},
		"two Authorization headers":   {append(with(o.client, k.AccessToken), "Authorization", "Bearer x"), 400, "InvalidToken", nil},
		"a refresh token of a client": {with(o.client, k.RefreshToken), 401, "invalid_token", []string{algs + `, error="invalid_token", error_description="Malformed token"`}},
	} {
		a := ask(o, "GET", getSession, "", c.headers...)
		got := a.Header().Values("WWW-Authenticate")
		if a.Code != c.status || a.Error != c.error || a.Message == "" || len(got) != len(c.challenges) {
			t.Errorf("%s: %d %s %q", name, a.Code, a.Body, got)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], c.challenges[i]) || strings.Count(got[i], `"`)%2 != 0 {
				t.Errorf("%s: the challenge %s, want %s", name, got[i], c.challenges[i])
			}
		}
	}
	o.Advance(30 * time.Minute)
	if a := o.as(k.AccessToken, "GET", getSession, ""); a.Code != 401 || a.Error != "invalid_token" || a.Message != "Token has expired" {
		t.Errorf("an expired token: %d %s", a.Code, a.Body)
	}
}

func TestWithoutOAuth(t *testing.T) {
	o := newOAuthServer(t, func(c *domaintest.Config) { c.Sessions.OAuth = sessions.OAuthConfig{} })
	for name, headers := range map[string][]string{"nothing": nil, "DPoP": {"Authorization", "DPoP x", "DPoP", "y"}} {
		a := ask(o, "GET", getSession, "", headers...)
		if got := strings.Join(a.Header().Values("WWW-Authenticate"), " "); strings.Contains(got, "DPoP") || a.Header().Get("DPoP-Nonce") != "" || a.Code != 401 && a.Error != "InvalidToken" {
			t.Errorf("%s: %d %v %s", name, a.Code, a.Header(), a.Body)
		}
	}
}

// TestAClientHasLimitsOfItsOwn: it can't use up those of the owner, and several share one.
func TestAClientHasLimitsOfItsOwn(t *testing.T) {
	o := newOAuthServer(t)
	tokens := o.SignUp("alice")
	id := tokens.Account.DID
	one, two := o.open(id, client, "atproto"), o.open(id, "https://two.test/client.json", "atproto")
	const status = "/xrpc/com.atproto.server.checkAccountStatus" // 100 in five minutes
	for i := range 100 {
		if a := o.as(one.AccessToken, "GET", status, ""); a.Code != 200 {
			t.Fatalf("call %d: %d %s", i, a.Code, a.Body)
		}
	}
	for name, k := range map[string]*sessions.OAuthTokens{"the client": one, "another client": two} {
		if a := o.as(k.AccessToken, "GET", status, ""); a.Code != 429 || a.Header().Get("DPoP-Nonce") == "" {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
	a := ask(o, "GET", status, "", "Authorization", "Bearer "+tokens.AccessJWT)
	if a.Code != 200 {
		t.Errorf("the owner: %d %s", a.Code, a.Body)
	}
	a = ask(o, "GET", getSession, "", "Authorization", "Bearer "+tokens.AccessJWT)
	if left := a.Header().Get("RateLimit-Remaining"); left != "2998" {
		t.Errorf("the owner has %s calls left", left)
	}
	if left := o.as(two.AccessToken, "GET", getSession, "").Header().Get("RateLimit-Remaining"); left != "2998" {
		t.Errorf("another client has %s calls left", left)
	}
}

// TestRoutesOfOthersForOAuthClients: RequireAuth and RequireActive ask clients for what they name.
func TestRoutesOfOthersForOAuthClients(t *testing.T) {
	o := newOAuthServer(t)
	id := o.SignUp("alice").Account.DID
	served := 0
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served++
		if auth := sessions.FromContext(r.Context()); auth == nil || auth.Client.ID != client || auth.Account.DID != id {
			t.Errorf("%+v", auth)
		}
	})
	post := o.RequireAuth("repo:app.bsky.feed.post?action=create")(next)
	upload := o.RequireActive(sessions.Blob("image/png"))(next)
	k := o.open(id, client, "atproto repo:app.bsky.feed.post?action=create")
	send := func(h http.Handler, k *sessions.OAuthTokens) asked {
		proof := o.client.Proof("POST", "http://pds.test/api/notes", k.AccessToken, o.Sessions.Nonce(), o.Now())
		a := ask(h, "POST", "/api/notes?x=y", "{}", "Authorization", "DPoP "+k.AccessToken, "DPoP", proof)
		if a.Header().Get("DPoP-Nonce") == "" {
			t.Errorf("no nonce: %d %v", a.Code, a.Header())
		}
		before := served
		if again := ask(h, "POST", "/api/notes?x=y", "{}", "Authorization", "DPoP "+k.AccessToken, "DPoP", proof); again.Code < 400 || served != before {
			t.Errorf("the same request again: %d %s", again.Code, again.Body)
		}
		return a
	}
	if a := send(post, k); a.Code != 200 || served != 1 {
		t.Errorf("what it may: %d %s", a.Code, a.Body)
	}
	if a := send(upload, k); a.Code != 403 || a.Error != "ScopeMissingError" || a.Message != `Missing required scope "blob:image/png"` {
		t.Errorf("what it may not: %d %s", a.Code, a.Body)
	}
	both := o.open(id, client, "atproto blob:image/*")
	if a := send(upload, both); a.Code != 200 {
		t.Errorf("an image: %d %s", a.Code, a.Body)
	}
	if err := o.Accounts.Deactivate(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	a := send(upload, both)
	if got := a.Header().Get("WWW-Authenticate"); a.Code != 401 || a.Error != "AccountDeactivated" || !strings.HasPrefix(got, "DPoP algs=") || strings.Contains(got, "error=") {
		t.Errorf("a deactivated account: %d %s %s", a.Code, a.Body, got)
	}
	if a := ask(post, "POST", "/api/notes", "{}"); a.Code != 401 || len(a.Header().Values("WWW-Authenticate")) != 2 {
		t.Errorf("nobody: %d %v", a.Code, a.Header())
	}
}

// TestWritesOfAClientWhoseSessionEnds: what a request writes, it writes while its session is alive.
func TestWritesOfAClientWhoseSessionEnds(t *testing.T) {
	o := newOAuthServer(t)
	id := o.SignUp("alice").Account.DID
	k := o.open(id, client, "atproto identity:handle")
	store := storage.Conditional(o.Store)
	h := o.RequireAuth(sessions.ChangeHandle)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := o.Sessions.EndOfClient(t.Context(), id, client); err != nil {
			t.Fatal(err)
		}
		err := store.Update(r.Context(), func(storage.Tx) error { return errors.New("written") })
		if e := xrpc.ErrorOf(err); e.Status != 401 || e.Name != "invalid_token" {
			t.Errorf("%v", err)
		}
	}))
	proof := o.client.Proof("POST", "http://pds.test/", k.AccessToken, o.Sessions.Nonce(), o.Now())
	if a := ask(h, "POST", "/", "{}", "Authorization", "DPoP "+k.AccessToken, "DPoP", proof); a.Code != 200 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}

func TestPreflightOfOAuthClients(t *testing.T) {
	o := newOAuthServer(t)
	a := ask(o, "OPTIONS", getSession, "", "Origin", "https://app.test", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization,dpop")
	if a.Code != 204 || a.Header().Get("Access-Control-Allow-Headers") != "authorization,dpop" || a.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%d %v", a.Code, a.Header())
	}
}
