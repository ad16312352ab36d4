package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/auth"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/golang-jwt/jwt/v5"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// front is what listens at the address of a server whose processes come and go. Without one, it
// breaks connections off.
type front struct{ to atomic.Pointer[http.Handler] }

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := f.to.Load()
	if h == nil {
		panic(http.ErrAbortHandler)
	}
	(*h).ServeHTTP(w, r)
}

func (f *front) serve(h http.Handler) { f.to.Store(&h) }
func (f *front) down()                { f.to.Store(nil) }

// newOAuthKey returns a key that signs access tokens.
func newOAuthKey(t testing.TB, id string) sessions.OAuthKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return sessions.OAuthKey{ID: id, Private: key}
}

// twoServers are an entryway, which has the passwords and the pages, and a resource server that
// takes its tokens. They have one clock.
type twoServers struct {
	t        *testing.T
	plc      *did.Local
	clock    *gatehousetest.Clock
	entryway *api
	front    front
	keep     storage.Store // of the entryway
	keys     []sessions.OAuthKey
	resource *api
	behind   front
	resides  storage.Store // of the resource server
	alice    *gatehousetest.Account
}

const resourceDID = "did:web:pds.test"

func newTwoServers(t *testing.T) *twoServers {
	t.Helper()
	e := &twoServers{
		t: t, plc: newDirectory(t), clock: gatehousetest.NewClock(), keys: []sessions.OAuthKey{newOAuthKey(t, "first")},
		keep: closing(t, memory.New()), resides: closing(t, memory.New()),
	}
	e.entryway = newAPI(t, withStore(e.keep), config(e.configure), withHandler(func(h http.Handler) http.Handler {
		e.front.serve(h)
		return &e.front
	}))
	return e
}

// configure configures an entryway.
func (e *twoServers) configure(c *gatehouse.Config) {
	c.Hostname, c.HandleDomains = "entryway.test", []string{".entryway.test"}
	c.DIDs.Directory, c.Now, c.Keys.OAuth = e.plc, e.clock.Now, e.keys
	c.OAuth.Resources = []string{resourceDID}
	if e.entryway != nil {
		c.PublicURL = e.entryway.URL
	}
}

// restart starts the entryway anew, with other keys.
func (e *twoServers) restart(keys ...sessions.OAuthKey) {
	e.t.Helper()
	e.keys = keys
	e.front.serve(newAPI(e.t, withStore(e.keep), config(e.configure)).Gatehouse.Handler())
}

// startResource starts the resource server, which takes the tokens of an issuer.
func (e *twoServers) startResource(issuer string) *api {
	e.t.Helper()
	s := newAPI(e.t, withStore(e.resides), config(e.configureResource(issuer, "")), withHandler(func(h http.Handler) http.Handler {
		e.behind.serve(h)
		return &e.behind
	}))
	e.resource = s
	return s
}

func (e *twoServers) configureResource(issuer, public string) func(c *gatehouse.Config) {
	return func(c *gatehouse.Config) {
		c.Hostname, c.HandleDomains = "pds.test", []string{".pds.test"}
		c.DIDs.Directory, c.Now, c.OAuth.Issuer = e.plc, e.clock.Now, issuer
		if public != "" {
			c.PublicURL = public
		}
	}
}

// reconfigure starts the resource server anew at the same address, with another issuer.
func (e *twoServers) reconfigure(issuer string) *api {
	e.t.Helper()
	s := newAPI(e.t, withStore(e.resides), config(e.configureResource(issuer, e.resource.URL)))
	s.URL = e.resource.URL
	post := s.Gatehouse.RequireActive(sessions.Repo("app.bsky.feed.post", "create"))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := gatehouse.Auth(r.Context())
		_ = json.NewEncoder(w).Encode(object{"did": who.Account.DID, "client": who.Client.ID})
	}))
	mux := http.NewServeMux()
	mux.Handle("/", s.Gatehouse.Handler())
	mux.Handle("/posts", post)
	e.behind.serve(mux)
	e.resource = s
	return s
}

// moveIn gives alice an account at the resource server, where her repository will be, beside the
// one at the entryway.
func (e *twoServers) moveIn(s *api) {
	e.t.Helper()
	e.alice = e.entryway.signUp("alice.entryway.test")
	move(e.entryway, s, e.alice.DID, e.alice.AccessJWT, object{"handle": "alice.pds.test", "email": "alice@example.com"})
}

// app returns an application that signs in at the entryway.
func (e *twoServers) app(scope string) *oauthApp {
	return publicApp(e.t, e.entryway.URL, reach(e.entryway.URL, e.entryway.URL), e.clock.Now, scope)
}

// TestEntryway has one Gatehouse be the authorization server of another.
func TestEntryway(t *testing.T) {
	t.Parallel()
	e := newTwoServers(t)
	const scope = "atproto transition:email repo:app.bsky.feed.post?action=create rpc:app.bsky.feed.getFeed?aud=did:web:x.test%23y"
	alone := e.startResource("") // it is its own authorization server yet
	e.moveIn(alone)
	a := e.app(scope)
	k := a.signIn(e.alice.DID, e.alice.Password)
	a.session(k.access).ok()
	session := func(s *api, token string) *answer {
		t.Helper()
		return a.xrpc(s.URL, token, http.MethodGet, "server.getSession", "")
	}
	session(alone, k.access).refused(401, "invalid_token", "Token could not be verified")
	s := e.reconfigure(e.entryway.URL)

	// It leads clients to the entryway, and has nothing of an authorization server itself.
	if doc := s.document("/.well-known/oauth-protected-resource"); doc["resource"] != s.URL || len(doc["authorization_servers"].([]any)) != 1 || doc["authorization_servers"].([]any)[0] != e.entryway.URL {
		t.Errorf("the metadata of the resource server: %v", doc)
	}
	server := e.entryway.document("/.well-known/oauth-authorization-server")
	if server["issuer"] != e.entryway.URL || server["protected_resources"] != nil {
		t.Errorf("the metadata of the entryway: %v", server) // clients take a list of resources for a complete one
	}
	for _, path := range []string{
		"/.well-known/oauth-authorization-server", "/oauth/jwks", "/oauth/authorize", "/oauth/par", "/oauth/token", "/oauth/revoke", "/account/applications",
	} {
		if status, _ := s.get(hostOf(s.URL), path); status != http.StatusNotFound {
			t.Errorf("%s at the resource server: %d", path, status)
		}
	}
	if s.Gatehouse.OAuth != nil {
		t.Error("the resource server has an authorization server")
	}

	// The token works, with a nonce and proofs for this server.
	if got := session(s, k.access).ok(); got["did"] != e.alice.DID || got["handle"] != "alice.pds.test" || got["email"] != "alice@example.com" {
		t.Errorf("getSession: %v", got)
	}
	at := call{verb: http.MethodGet, url: s.URL + "/xrpc/com.atproto.server.getSession", token: k.access}
	if a.nonceOf(s.URL) == a.nonceOf(a.issuer) {
		t.Error("the servers share their nonces")
	}
	with := func(claims object) call { c := at; c.claims = claims; c.proof = a.prove(c); return c }
	a.once(with(object{"nonce": a.nonceOf(a.issuer)})).refused(401, "use_dpop_nonce")
	a.once(with(object{"htu": a.issuer + "/xrpc/com.atproto.server.getSession"})).refused(401, "invalid_dpop_proof")
	replay := with(nil)
	a.once(replay).ok()
	a.once(replay).refused(401, "invalid_dpop_proof", "The DPoP proof was used before")
	thief := e.app(scope)
	thief.xrpc(s.URL, k.access, http.MethodGet, "server.getSession", "").refused(401, "invalid_token")

	// Its permissions are those of the scope, for the methods and for the routes of the embedder.
	a.xrpc(s.URL, k.access, http.MethodPost, "identity.updateHandle", "", jsonOf(t, object{"handle": "x.pds.test"})...).
		refused(403, "ScopeMissingError", `Missing required scope "identity:handle"`)
	a.xrpc(s.URL, k.access, http.MethodGet, "server.listAppPasswords", "").refused(403, "Forbidden")
	post := func(k tokens) *answer {
		return a.send(call{verb: http.MethodPost, url: s.URL + "/posts", token: k.access})
	}
	if got := post(k).ok(); got["did"] != e.alice.DID || got["client"] != a.id {
		t.Errorf("an embedder's route: %v", got)
	}
	// It signs service tokens with the key of the account's repository, which the entryway doesn't
	// have.
	service := a.xrpc(s.URL, k.access, http.MethodGet, "server.getServiceAuth", "aud=did:web:x.test%23y&lxm=app.bsky.feed.getFeed").text("token")
	method := syntax.NSID("app.bsky.feed.getFeed")
	validator := auth.ServiceAuthValidator{Audience: "did:web:x.test#y", Dir: directory{e.plc}, TimestampLeeway: time.Minute}
	if id, err := validator.Validate(t.Context(), service, &method); err != nil || id.String() != e.alice.DID {
		t.Errorf("the service token is of %s, %v", id, err)
	}
	if n := s.oauthSessions(e.alice.DID); n != 0 {
		t.Errorf("the resource server has %d sessions of the entryway", n)
	}
	// Bearer tokens are another thing on either server.
	mine := s.login(e.alice.DID, "password").text("accessJwt")
	s.do(bearer(mine), "server.getSession", nil).ok()
	session(s, mine).refused(401, "invalid_token")
	s.do(bearer(k.access), "server.getSession", nil).refused(400, "InvalidToken", "Malformed token")
	s.do(bearer(e.entryway.login(e.alice.DID, e.alice.Password).text("accessJwt")), "server.getSession", nil).
		refused(400, "InvalidToken", "Token could not be verified")

	e.forgeries(a, k, session)

	// An account that is only at the entryway.
	bob := e.entryway.signUp("bob.entryway.test")
	session(s, a.signIn(bob.DID, bob.Password).access).refused(401, "invalid_token")

	// What happens to the account here works at once.
	did := syntax.DID(e.alice.DID)
	if err := s.Gatehouse.Accounts.Deactivate(t.Context(), did, nil); err != nil {
		t.Fatal(err)
	}
	if got := session(s, k.access).ok(); got["active"] != false {
		t.Errorf("getSession of a deactivated account: %v", got)
	}
	post(k).refused(401, "AccountDeactivated")
	if err := s.Gatehouse.Accounts.Activate(t.Context(), did); err != nil {
		t.Fatal(err)
	}
	post(k).ok()
	s.takeDown(e.alice.DID, "case 1")
	session(s, k.access).refused(401, "AccountTakedown")
	a.session(k.access).ok() // at the entryway nothing has happened
	s.lift(e.alice.DID)
	session(s, k.access).ok()

	// A revocation at the entryway is noticed here when the token expires.
	a.post("/oauth/revoke", map[string][]string{"token": {k.access}}).ok()
	a.session(k.access).refused(401, "invalid_token")
	session(s, k.access).ok()
	e.clock.Advance(32 * time.Minute) // with the skew of clocks
	session(s, k.access).refused(401, "invalid_token", "Token has expired")
}

// forgeries are tokens that the entryway would not have issued, though some are signed with its
// key.
func (e *twoServers) forgeries(a *oauthApp, k tokens, session func(*api, string) *answer) {
	e.t.Helper()
	now := e.clock.Now()
	good := func() jwt.MapClaims {
		claims := jwt.MapClaims{}
		if _, _, err := jwt.NewParser().ParseUnverified(k.access, claims); err != nil {
			e.t.Fatal(err)
		}
		return claims
	}
	sign := func(key sessions.OAuthKey, typ string, change func(jwt.MapClaims)) string {
		claims := good()
		change(claims)
		token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
		token.Header["kid"], token.Header["typ"] = key.ID, typ
		signed, err := token.SignedString(key.Private)
		if err != nil {
			e.t.Fatal(err)
		}
		return signed
	}
	own, same := e.keys[0], func(jwt.MapClaims) {}
	session(e.resource, sign(own, "at+jwt", same)).ok()
	another := newOAuthKey(e.t, own.ID)
	for name, token := range map[string]string{
		"another audience":          sign(own, "at+jwt", func(c jwt.MapClaims) { c["aud"] = "did:web:elsewhere.test" }),
		"the entryway's audience":   sign(own, "at+jwt", func(c jwt.MapClaims) { c["aud"] = e.entryway.Gatehouse.ServiceDID() }),
		"no audience":               sign(own, "at+jwt", func(c jwt.MapClaims) { delete(c, "aud") }),
		"another issuer":            sign(own, "at+jwt", func(c jwt.MapClaims) { c["iss"] = "https://elsewhere.test" }),
		"this server as issuer":     sign(own, "at+jwt", func(c jwt.MapClaims) { c["iss"] = e.resource.URL }),
		"another key":               sign(another, "at+jwt", same),
		"an unknown key":            sign(newOAuthKey(e.t, "unknown"), "at+jwt", same),
		"another type":              sign(own, "JWT", same),
		"expired":                   sign(own, "at+jwt", func(c jwt.MapClaims) { c["exp"] = now.Add(-5 * time.Minute).Unix() }),
		"without an end":            sign(own, "at+jwt", func(c jwt.MapClaims) { delete(c, "exp") }),
		"of the future":             sign(own, "at+jwt", func(c jwt.MapClaims) { c["iat"] = now.Add(5 * time.Minute).Unix() }),
		"bound to no key":           sign(own, "at+jwt", func(c jwt.MapClaims) { delete(c, "cnf") }),
		"bound to another key":      sign(own, "at+jwt", func(c jwt.MapClaims) { c["cnf"] = object{"jkt": strings.Repeat("A", 43)} }),
		"without a client":          sign(own, "at+jwt", func(c jwt.MapClaims) { delete(c, "client_id") }),
		"without the atproto scope": sign(own, "at+jwt", func(c jwt.MapClaims) { c["scope"] = "repo:*" }),
		"of an account elsewhere":   sign(own, "at+jwt", func(c jwt.MapClaims) { c["sub"] = noSuchDID }),
		"of no account":             sign(own, "at+jwt", func(c jwt.MapClaims) { c["sub"] = "alice" }),
	} {
		if out := session(e.resource, token); out.status != http.StatusUnauthorized || out.object["error"] != "invalid_token" {
			e.t.Errorf("%s: %d %s, want 401 invalid_token", name, out.status, out.body)
		}
	}
}

// TestEntrywayRotatesItsKeys has the entryway sign with new keys, and be gone for a while.
func TestEntrywayRotatesItsKeys(t *testing.T) {
	t.Parallel()
	e := newTwoServers(t)
	s := e.startResource(e.entryway.URL)
	e.moveIn(s)
	a := e.app("atproto")
	session := func(s *api, k tokens) *answer {
		t.Helper()
		return a.xrpc(s.URL, k.access, http.MethodGet, "server.getSession", "")
	}
	old := a.signIn(e.alice.DID, e.alice.Password)
	session(s, old).ok()
	first, second := e.keys[0], newOAuthKey(t, "second")
	e.restart(second, first)
	e.clock.Advance(time.Minute) // keys are fetched anew twice a minute at most
	recent := a.signIn(e.alice.DID, e.alice.Password)
	if kid := kidOf(t, recent.access); kid != "second" || kidOf(t, old.access) != "first" {
		t.Errorf("the tokens are signed with %s, want the new key", kid)
	}
	for _, k := range []tokens{recent, old} {
		session(s, k).ok()
		a.session(k.access).ok()
	}
	// The entryway is gone: what is known of it is used on, by those who know it.
	e.front.down()
	e.clock.Advance(20 * time.Minute)
	session(s, recent).ok()
	session(s, old).ok()
	fresh := newAPI(t, withStore(e.resides), config(e.configureResource(e.entryway.URL, "")))
	session(fresh, recent).refused(503, "ServiceUnavailable")
	// It is back, without the old key.
	e.restart(second)
	e.clock.Advance(time.Minute)
	session(fresh, recent).ok()
	session(s, recent).ok()
	session(fresh, old).refused(401, "invalid_token")
	session(s, old).refused(401, "invalid_token")
	a.session(old.access).refused(401, "invalid_token")
	// The session didn't depend on the key.
	next := a.refresh(old.refresh).tokens()
	session(s, next).ok()
	a.session(next.access).ok()
}

// kidOf returns the ID of the key that signed a token.
func kidOf(t testing.TB, token string) string {
	t.Helper()
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	kid, _ := parsed.Header["kid"].(string)
	return kid
}

// TestOAuthKeysRotate replaces the key of an authorization server in two steps. No session ends,
// and tokens of the old key are good until it is removed.
func TestOAuthKeysRotate(t *testing.T) {
	t.Parallel()
	forEachStore(t, func(t *testing.T, store storage.Store) {
		clock := gatehousetest.NewClock()
		var f front
		var s *api
		restart := func(keys ...sessions.OAuthKey) {
			t.Helper()
			public := ""
			if s != nil {
				public = s.URL
			}
			next := newAPI(t, withStore(store), config(func(c *gatehouse.Config) {
				c.Keys.OAuth, c.Now = keys, clock.Now
				if public != "" {
					c.PublicURL = public
				}
			}), withHandler(func(h http.Handler) http.Handler {
				f.serve(h)
				return &f
			}))
			if s == nil {
				s = next
			}
		}
		first, second := newOAuthKey(t, "first"), newOAuthKey(t, "second")
		restart(first)
		alice := s.someone()
		a := publicApp(t, s.URL, reach(s.URL, s.URL), clock.Now, "atproto")
		k := a.signIn(alice.Handle, alice.Password)
		published := func() (ids []string) {
			for _, key := range s.document("/oauth/jwks")["keys"].([]any) {
				ids = append(ids, key.(object)["kid"].(string))
			}
			return ids
		}
		restart(second, first)
		if ids := published(); !slices.Equal(ids, []string{"second", "first"}) {
			t.Errorf("the keys are %v", ids)
		}
		a.session(k.access).ok()
		next := a.refresh(k.refresh).tokens()
		if kid := kidOf(t, next.access); kid != "second" {
			t.Errorf("the token is signed with %s", kid)
		}
		a.session(next.access).ok()
		a.session(k.access).refused(401, "invalid_token", "Token has been revoked")
		clock.Advance(time.Hour)
		restart(second)
		if ids := published(); !slices.Equal(ids, []string{"second"}) {
			t.Errorf("the keys are %v", ids)
		}
		a.session(next.access).refused(401, "invalid_token", "Token has expired")
		third := a.refresh(next.refresh).tokens()
		a.session(third.access).ok()
		restart(newOAuthKey(t, "third")) // at once: the access tokens end, the session doesn't
		a.session(third.access).refused(401, "invalid_token", "Token could not be verified")
		a.session(a.refresh(third.refresh).tokens().access).ok()
	})
}
