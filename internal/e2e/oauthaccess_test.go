package e2e

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// everyScope is all that an application can be granted which a method asks for, and more.
const everyScope = "atproto transition:generic transition:email transition:chat.bsky account:email?action=manage " +
	"account:repo?action=manage identity:* repo:* blob:*/* rpc:*?aud=did:web:x.test%23y"

// What OAuth sessions are told that no scope lets in.
const (
	forOwners     = "403 Forbidden OAuth credentials are not supported for this endpoint"
	forTheManager = "403 Forbidden Use the account manager interface to update email address associated with an account"
)

// oauthTable has the methods for which an OAuth session needs more than to exist: the scope, or
// what it is told because none suffices.
var oauthTable = map[string]string{
	"identity.updateHandle":                 "identity:handle",
	"identity.requestPlcOperationSignature": "identity:*",
	"identity.signPlcOperation":             "identity:*",
	"identity.submitPlcOperation":           "identity:*",
	"server.requestEmailConfirmation":       "account:email?action=manage",
	"server.confirmEmail":                   "account:email?action=manage",
	"server.requestEmailUpdate":             forTheManager,
	"server.updateEmail":                    forTheManager,
	"server.createAppPassword":              forOwners,
	"server.listAppPasswords":               forOwners,
	"server.revokeAppPassword":              forOwners,
	"server.activateAccount":                forOwners,
	"server.deactivateAccount":              forOwners,
	"server.requestAccountDelete":           forOwners,
	"server.getAccountInviteCodes":          forOwners,
}

// oauthAnswer returns what an OAuth session is answered: one with every scope, or one with none.
func oauthAnswer(method string, every bool) string {
	switch need := oauthTable[method]; {
	case strings.HasPrefix(need, "403 "):
		return need
	case need == "" || every:
		return passed
	default:
		return `403 ScopeMissingError Missing required scope "` + need + `"`
	}
}

// oauthSession is a session of an application, as the table of credentials has it.
type oauthSession struct {
	tokens
	app    *oauthApp
	scheme string
}

// grant opens a session of an application for an account.
func (s *api) grant(a *gatehousetest.Account, scope string) *oauthSession {
	s.t.Helper()
	app := s.public(scope)
	return &oauthSession{app.signIn(a.DID, a.Password), app, "DPoP"}
}

// oauthSessionsOf returns the kinds of OAuth credentials of an account.
func (s *api) oauthSessionsOf(a *gatehousetest.Account) map[string]*oauthSession {
	s.t.Helper()
	all := map[string]*oauthSession{
		oauthAll: s.grant(a, everyScope), oauthLeast: s.grant(a, "atproto"), oauthDead: s.grant(a, everyScope),
	}
	dead := all[oauthDead]
	dead.app.post("/oauth/revoke", url.Values{"token": {dead.access}}).ok()
	thief := s.public(everyScope)
	for _, o := range []*oauthSession{all[oauthAll], all[oauthLeast], dead} {
		o.app.session(o.access) // from which it has a nonce
	}
	thief.learn(s.URL, all[oauthAll].app.nonceOf(s.URL))
	all[oauthStolen] = &oauthSession{all[oauthAll].tokens, thief, "DPoP"}
	all[oauthBearer] = &oauthSession{all[oauthAll].tokens, thief, "Bearer"}
	return all
}

// prove adds a proof to a request.
func (o *oauthSession) prove(req *http.Request) {
	target := *req.URL
	target.RawQuery = ""
	req.Header.Set("DPoP", o.app.prove(call{verb: req.Method, url: target.String(), token: o.access}))
}

// as calls a method as an application.
func (s *api) as(o *oauthSession, method string, input object) *answer {
	s.t.Helper()
	nsid, req := s.request(o.scheme+" "+o.access, method, input)
	o.prove(req)
	return s.send(nsid, req)
}

// TestEachScopeOpensWhatItNames grants each scope that a method needs, by itself. It suffices for
// the methods that need it, and for no others.
func TestEachScopeOpensWhatItNames(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	w := &wallet{alice: s.someone()}
	opens := map[string][]string{ // beside those that need it by name
		"identity:*":         {"identity:handle"},
		"transition:generic": nil, "transition:email": nil, "transition:chat.bsky": nil, "account:email": nil, "account:repo?action=manage": nil,
		"repo:*": nil, "blob:*/*": nil, "rpc:*?aud=did:web:x.test%23y": nil,
	}
	for _, need := range oauthTable {
		if !strings.HasPrefix(need, "403 ") {
			opens[need] = append(opens[need], need)
		}
	}
	for scope, opened := range opens {
		o := s.grant(w.alice, "atproto "+scope)
		for method, need := range oauthTable {
			if method == "server.requestEmailConfirmation" && slices.Contains(opened, need) {
				continue // it sends e-mail, and is called with every scope elsewhere
			}
			want := oauthAnswer(method, false)
			if slices.Contains(opened, need) {
				want = accessTable[method].then
			}
			if got := told(s.as(o, method, w.with(accessTable[method].input))); !strings.HasPrefix(got, want) {
				t.Errorf("%s with %s: got %s, want %s", method, scope, got, want)
			}
		}
	}
}

// TestGetSessionShowsTheEmailByScope checks which scopes let an application see the e-mail address.
func TestGetSessionShowsTheEmailByScope(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	alice := s.someone()
	for scope, shown := range map[string]bool{
		"": false, "transition:generic": false, "account:repo": false, "identity:*": false,
		"transition:email": true, "account:email": true, "account:email?action=manage": true,
	} {
		got := s.as(s.grant(alice, strings.TrimSpace("atproto "+scope)), "server.getSession", nil).ok()
		for _, field := range []string{"email", "emailConfirmed", "emailAuthFactor"} {
			if _, has := got[field]; has != shown && (field != "emailAuthFactor" || has) {
				t.Errorf("with %q %s is shown: %v, want %v", scope, field, has, shown)
			}
		}
	}
}

// TestServiceAuthByScope checks for which services and methods applications get service tokens.
func TestServiceAuthByScope(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	alice := s.someone()
	const (
		view, chat = "did:web:view.test%23app", "did:web:chat.test%23chat"
		feed, log  = "app.bsky.feed.getFeed", "chat.bsky.convo.getLog"
		missing    = "403 ScopeMissingError Missing required scope "
	)
	granted := map[string]*oauthSession{}
	for _, c := range []struct{ scope, aud, method, want string }{
		{"rpc:" + feed + "?aud=" + view, view, feed, "200"},
		{"rpc:" + feed + "?aud=" + view, view, "app.bsky.feed.getTimeline", missing + `"rpc:app.bsky.feed.getTimeline?aud=did:web:view.test%23app"`},
		{"rpc:" + feed + "?aud=" + view, chat, feed, missing + `"rpc:app.bsky.feed.getFeed?aud=did:web:chat.test%23chat"`},
		{"rpc:" + feed + "?aud=" + view, "did:web:view.test%23other", feed, missing},
		{"rpc:" + feed + "?aud=" + view, "did:web:view.test", feed, missing + `"rpc:app.bsky.feed.getFeed?aud=did:web:view.test"`},
		{"rpc:" + feed + "?aud=" + view, view, "", missing + `"rpc:*?aud=did:web:view.test%23app"`},
		{"rpc:" + feed + "?aud=*", chat, feed, "200"},
		{"rpc:" + feed + "?aud=*", chat, log, missing},
		{"rpc:*?aud=" + view, view, feed, "200"},
		{"rpc:*?aud=" + view, view, log, "200"},
		{"rpc:*?aud=" + view, view, "", "200"},
		{"rpc:*?aud=" + view, chat, feed, missing},
		{"transition:generic", view, feed, "200"},
		{"transition:generic", chat, log, missing + `"rpc:chat.bsky.convo.getLog?aud=did:web:chat.test%23chat"`},
		{"transition:generic", chat, "Chat.Bsky.convo.getLog", missing},
		{"transition:chat.bsky", chat, log, "200"},
		{"transition:chat.bsky", view, feed, missing},
		{"repo:*", view, feed, missing},
		{"", view, feed, missing + `"rpc:app.bsky.feed.getFeed?aud=did:web:view.test%23app"`},
	} {
		o := granted[c.scope]
		if o == nil {
			o = s.grant(alice, strings.TrimSpace("atproto "+c.scope))
			granted[c.scope] = o
		}
		input := object{"aud": c.aud}
		if c.method != "" {
			input["lxm"] = c.method
		}
		if got := told(s.as(o, "server.getServiceAuth", input)); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q asks for %s of %s: got %s, want %s", c.scope, c.method, c.aud, got, c.want)
		}
	}
	// For what manages the account there are none.
	every := s.grant(alice, everyScope)
	for _, method := range xrpc.ServiceAuthRules().Protected {
		s.as(every, "server.getServiceAuth", object{"aud": "did:web:x.test%23y", "lxm": method}).
			refused(400, "InvalidRequest", "cannot request a service auth token for the following protected method: "+method)
	}
}

// TestRoutesOfAnEmbedder protects routes of another program with permissions for records and files.
func TestRoutesOfAnEmbedder(t *testing.T) {
	t.Parallel()
	const post = "app.bsky.feed.post"
	needs := map[string][]sessions.Permission{
		"/any":    nil,
		"/create": {sessions.Repo(post, "create")},
		"/write":  {sessions.Repo(post)},
		"/all":    {sessions.Repo("*", "delete")},
		"/image":  {sessions.Blob("image/png")},
		"/both":   {sessions.Repo(post, "create"), sessions.Blob("video/mp4")},
		"/email":  {sessions.ReadEmail},
		"/manage": {sessions.ManageAccount},
	}
	var s *api
	s = newAPI(t, withHandler(func(h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/", h)
		for path, permissions := range needs {
			mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
				s.Gatehouse.RequireAuth(permissions...)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					auth := gatehouse.Auth(r.Context())
					o := object{"did": auth.Account.DID}
					if auth.Client != nil {
						o["client"], o["session"] = auth.Client.ID, auth.Session != nil
					}
					_ = json.NewEncoder(w).Encode(o)
				})).ServeHTTP(w, r)
			})
		}
		return mux
	}))
	alice := s.someone()
	const missing = "403 ScopeMissingError Missing required scope "
	all := map[string]string{}
	for path := range needs {
		all[path] = "200"
	}
	all["/manage"] = forOwners
	for scope, want := range map[string]map[string]string{
		"": {
			"/any": "200", "/create": missing + `"repo:app.bsky.feed.post?action=create"`, "/write": missing + `"repo:app.bsky.feed.post"`,
			"/all": missing + `"repo:*?action=delete"`, "/image": missing + `"blob:image/png"`, "/both": missing,
			"/email": missing + `"account:email"`, "/manage": forOwners,
		},
		"repo:app.bsky.feed.post?action=create":    {"/any": "200", "/create": "200", "/write": missing, "/all": missing, "/image": missing, "/both": missing + `"blob:video/mp4"`},
		"repo:app.bsky.feed.post":                  {"/create": "200", "/write": "200", "/all": missing},
		"repo:app.bsky.feed.like":                  {"/create": missing, "/write": missing},
		"repo:*?action=delete":                     {"/create": missing, "/all": "200"},
		"blob:image/*":                             {"/image": "200", "/create": missing, "/both": missing + `"repo:app.bsky.feed.post?action=create"`},
		"blob:*/* repo:*":                          {"/image": "200", "/create": "200", "/write": "200", "/all": "200", "/both": "200", "/email": missing},
		"transition:generic":                       {"/image": "200", "/create": "200", "/write": "200", "/all": "200", "/both": "200", "/email": missing, "/manage": forOwners},
		strings.TrimPrefix(everyScope, "atproto "): all,
	} {
		o := s.grant(alice, strings.TrimSpace("atproto "+scope))
		for _, path := range slices.Sorted(maps.Keys(want)) {
			out := o.app.send(call{verb: http.MethodGet, url: s.URL + path, token: o.access})
			if got := told(out); !strings.HasPrefix(got, want[path]) {
				t.Errorf("%s with %q: got %s, want %s", path, scope, got, want[path])
			}
			if out.status == http.StatusOK && (out.object["did"] != alice.DID || out.object["client"] != o.app.id || out.object["session"] != true) {
				t.Errorf("%s with %q: %s", path, scope, out.body)
			}
			if out.header.Get("DPoP-Nonce") == "" || !strings.Contains(out.header.Get("Access-Control-Expose-Headers"), "DPoP-Nonce") {
				t.Errorf("%s with %q: no nonce is offered: %v", path, scope, out.header)
			}
		}
	}
	// Without anything, both schemes are offered.
	req, err := http.NewRequest(http.MethodGet, s.URL+"/any", nil)
	if err != nil {
		t.Fatal(err)
	}
	out := fetched(t, s.Client(), req)
	asks := strings.Join(out.header.Values("WWW-Authenticate"), ", ")
	if out.refused(401, "AuthMissing", "Authentication Required"); !contains(asks, "Bearer ", `DPoP algs="ES256`) {
		t.Errorf("the challenges are %s", asks)
	}
}
