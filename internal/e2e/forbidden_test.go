package e2e

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/atclient"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/sessions/dpop"
)

const adminsOnly = "This method is for the admins of this server"

// The challenges in the WWW-Authenticate header of 401s.
const (
	asksForToken = `Bearer realm="atproto"`
	asksForAdmin = `Basic realm="admin", charset="UTF-8"`
)

// asksForProof is the challenge to OAuth clients, which has their error after it, if there is one.
var asksForProof = `DPoP algs="` + strings.Join(dpop.Algorithms(), " ") + `"`

// methodsFor returns the methods of a class of access, sorted.
func methodsFor(class string) []string {
	var all []string
	for method, row := range accessTable {
		if row.class == class {
			all = append(all, method)
		}
	}
	slices.Sort(all)
	return all
}

// TestAdminMethodsRefuseUserTokens calls the admin methods with tokens of all kinds. A user's valid
// token is answered 403, so that clients don't take it for the end of their session. A token that
// has expired or was revoked is answered ExpiredToken, and anything else 401. None of the calls has
// an effect, counts as a guess at the admin's password, or logs a warning. What each method answers
// to each kind of token is tested in TestEveryMethodWithEveryCredential.
func TestAdminMethodsRefuseUserTokens(t *testing.T) {
	t.Parallel()
	methods := methodsFor("admin")
	if len(methods) < 10 {
		t.Fatalf("only %v are admin methods, want at least 10", methods)
	}
	var log logbook
	onEach(t, func(t *testing.T, s *api) {
		alice, carol, dave := s.CreateAccount("alice.test"), s.CreateAccount("carol.test"), s.CreateAccount("dave.test")
		ended := s.Login(alice)
		s.do(bearer(ended.RefreshJWT), "server.deleteSession", nil).ok()
		expired := s.Login(alice).AccessJWT
		s.Clock.Advance(3 * time.Hour)
		s.again(alice)
		s.again(carol)
		s.again(dave)
		s.do(admin, "admin.deleteAccount", object{"did": dave.DID}).ok()
		erin := s.CreateAccount("erin.test")
		s.deactivate(erin.AccessJWT, s.Clock.Now().Add(240*time.Hour)).ok()
		_, app := s.appLogin(alice, "app", false)
		carolBefore := carol.AccessJWT
		s.takeDown(carol.DID, "case 1")
		leaving := s.leave(carol).text("accessJwt")
		elsewhere := newAPI(t, config(func(c *gatehouse.Config) { c.Hostname = "elsewhere.test" }))
		stranger := elsewhere.CreateAccount("stranger.test")
		const unauthorized = "401 AuthenticationRequired Authentication Required"
		forbidden, revoked := "403 Forbidden "+adminsOnly, "400 ExpiredToken Token has been revoked"
		parts := strings.Split(alice.AccessJWT, ".")
		kinds := map[string]struct{ authorization, want string }{
			"a session's access token":        {bearer(alice.AccessJWT), forbidden},
			"with the scheme in lower case":   {"bearer " + alice.AccessJWT, forbidden},
			"an app password's access token":  {bearer(app["accessJwt"].(string)), forbidden},
			"of a deactivated account":        {bearer(erin.AccessJWT), forbidden},
			"of a taken-down account":         {bearer(leaving), forbidden},
			"expired":                         {bearer(expired), "400 ExpiredToken Token has expired"},
			"of an ended session, expired":    {bearer(ended.AccessJWT), "400 ExpiredToken Token has expired"},
			"from before a takedown":          {bearer(carolBefore), unauthorized},
			"of a deleted account":            {bearer(dave.AccessJWT), unauthorized},
			"a refresh token":                 {bearer(alice.RefreshJWT), unauthorized},
			"a service token":                 {bearer(s.serviceToken(s.heldKey(alice.DID), alice.DID, "server.createInviteCode")), unauthorized},
			"of another server":               {bearer(stranger.AccessJWT), unauthorized},
			"with a wrong signature":          {bearer(parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2]))), unauthorized},
			"without a signature":             {bearer(parts[0] + "." + parts[1] + "."), unauthorized},
			"junk":                            {bearer("junk"), unauthorized},
			"the admin's password, as Bearer": {"Bearer " + strings.TrimPrefix(admin, "Basic "), unauthorized},
			"no token":                        {nobody, unauthorized},
			"an empty token":                  {"Bearer ", unauthorized},
			"two tokens":                      {bearer(alice.AccessJWT + " " + alice.AccessJWT), unauthorized},
			"with the scheme DPoP":            {"DPoP " + alice.AccessJWT, unauthorized},
			"with the scheme Basic":           {"Basic " + alice.AccessJWT, unauthorized},
			"with an unknown scheme":          {"Token " + alice.AccessJWT, unauthorized},
		}
		_, revokedApp := s.appLogin(alice, "revoked", true)
		s.do(bearer(alice.AccessJWT), "server.revokeAppPassword", object{"name": "revoked"}).ok()
		kinds["of a revoked app password"] = struct{ authorization, want string }{bearer(revokedApp["accessJwt"].(string)), revoked}
		fresh := s.Login(alice)
		s.do(bearer(fresh.RefreshJWT), "server.deleteSession", nil).ok()
		kinds["of an ended session"] = struct{ authorization, want string }{bearer(fresh.AccessJWT), revoked}

		warnings := len(log.warnings())
		tables := []string{"accounts", "invite_codes", "sessions", "app_passwords", "reserved_handles", "email_codes", "rate_limits", "audit_log"}
		before := s.rowsOf(tables...)
		for _, method := range methods {
			row := accessTable[method]
			for kind, c := range kinds {
				input := maps.Clone(row.input)
				for name, v := range input {
					if v == noSuchDID { // so that the call would have an effect
						input[name] = alice.DID
					}
				}
				if input["useCount"] != nil {
					input["useCount"] = 1
				}
				a := s.from(theThiefs).do(c.authorization, method, input)
				if got := told(a); got != c.want {
					t.Errorf("%s, token (%s): got %s, want %s", method, kind, got, c.want)
				}
				if got := a.header.Get("Cache-Control"); got != "private" {
					t.Errorf("%s, token (%s): Cache-Control is %q, want private", method, kind, got)
				}
			}
		}
		if got := s.rowsOf(tables...); !slices.Equal(got, before) {
			t.Errorf("the refused calls changed the numbers of documents in %v from %v to %v", tables, before, got)
		}
		if lines := log.warnings()[warnings:]; len(lines) != 0 {
			t.Errorf("the refused calls logged warnings: %q", lines)
		}
		// None of the calls counted as a guess at the admin's password, and an address that has no
		// guesses left gets the same answer to a user's token.
		thief := s.from(theThiefs)
		thief.do(admin, "admin.searchAccounts", nil).ok()
		for range 10 {
			thief.do(basicAuth("admin", "wrong"), "admin.searchAccounts", nil).refused(401, "AuthenticationRequired")
		}
		thief.do(admin, "admin.searchAccounts", nil).limitedNow()
		thief.do(bearer(alice.AccessJWT), "admin.searchAccounts", nil).refused(403, "Forbidden", adminsOnly)
		// Calls of admin methods are charged to the address, not to the account.
		left := remaining(s.from(hers).do(bearer(alice.AccessJWT), "server.getSession", nil))
		for range 5 {
			thief.do(bearer(alice.AccessJWT), "admin.searchAccounts", nil).refused(403, "Forbidden")
		}
		if got := remaining(s.from(hers).do(bearer(alice.AccessJWT), "server.getSession", nil)); got != left-1 {
			t.Errorf("the account was charged %d calls, want only the 1 of getSession", left-got)
		}
	}, limited, logged(&log))
}

// TestEvery401HasTheChallengeOfItsMethod checks that the challenge of a 401 depends on the method
// and, where access tokens are taken, on whether an OAuth client calls or might call. That exactly
// the 401s have a challenge is checked by send for every request of these tests.
func TestEvery401HasTheChallengeOfItsMethod(t *testing.T) {
	t.Parallel()
	plc := newDirectory(t)
	moderator := outsiderIn(t, plc)
	s := newAPI(t, config(func(c *gatehouse.Config) { c.DIDs.Directory, c.ModService = plc, moderator.id.String() }))
	w := s.wallet(outsiderIn(t, plc), moderator)
	met := map[string]int{}
	for method, row := range accessTable {
		want := []string{asksForToken}
		switch row.class {
		case "admin":
			want = []string{asksForAdmin}
		case "moderator":
			want = []string{asksForAdmin, asksForToken}
		}
		for _, kind := range append([]string{"DPoP"}, allKinds...) {
			authorization := "DPoP " + w.alice.AccessJWT
			if kind != "DPoP" {
				authorization = w.authorization(kind, method)
			}
			want := want
			switch takes := slices.Contains([]string{"access", "full", "leaving", "anyToken"}, row.class); {
			case takes && kind == noToken:
				want = []string{asksForToken, asksForProof}
			case takes && strings.HasPrefix(authorization, "DPoP "):
				want = []string{asksForProof}
			}
			a := s.do(authorization, method, w.with(row.input))
			got := a.header.Values("WWW-Authenticate")
			for i := range got {
				got[i], _, _ = strings.Cut(got[i], ", error=")
			}
			if a.status == 401 && !slices.Equal(got, want) {
				t.Errorf("%s with %s: the challenge of the %d is %q, want %q", method, kind, a.status, got, want)
			}
			if a.status == 401 {
				met[row.class]++
			}
			if got := a.header.Get("Access-Control-Expose-Headers"); !strings.Contains(got, "WWW-Authenticate") {
				t.Errorf("%s: Access-Control-Expose-Headers is %q, want WWW-Authenticate in it", method, got)
			}
		}
	}
	for class := range classes {
		if met[class] == 0 {
			t.Errorf("no method of the class %s was answered 401", class)
		}
	}
	// Unknown methods, wrong verbs and other paths are not answered 401.
	for _, path := range []string{"/xrpc/com.atproto.admin.noSuchMethod", "/xrpc/nonsense", "/xrpc/_health", "/xrpc/com.atproto.server.createInviteCode"} {
		resp, err := s.Client().Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode == 401 || got != "" {
			t.Errorf("%s: %d with the challenge %q, want another status and no challenge", path, resp.StatusCode, got)
		}
	}
}

// TestRequireAuthSendsAChallenge checks that requests that RequireAuth and RequireActive answer
// with a 401 get a challenge, on the embedder's own routes.
func TestRequireAuthSendsAChallenge(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice, carol := s.CreateAccount("alice.test"), s.CreateAccount("carol.test")
		s.deactivate(alice.AccessJWT, s.Clock.Now().Add(240*time.Hour)).ok()
		s.takeDown(carol.DID, "case 1")
		inside := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
		for name, c := range map[string]struct {
			route         http.Handler
			authorization string
			status        int
		}{
			"RequireAuth without a token":          {s.Gatehouse.RequireAuth()(inside), nobody, 401},
			"RequireAuth, a taken-down account":    {s.Gatehouse.RequireAuth()(inside), bearer(carol.AccessJWT), 401},
			"RequireActive, a deactivated account": {s.Gatehouse.RequireActive()(inside), bearer(alice.AccessJWT), 401},
			"RequireActive without a token":        {s.Gatehouse.RequireActive()(inside), nobody, 401},
			"RequireAuth, a malformed token":       {s.Gatehouse.RequireAuth()(inside), bearer("junk"), 400},
			"RequireAuth, the admin":               {s.Gatehouse.RequireAuth()(inside), admin, 400},
			"RequireAuth, a deactivated account":   {s.Gatehouse.RequireAuth()(inside), bearer(alice.AccessJWT), http.StatusTeapot},
			"RequireActive, an active account":     {s.Gatehouse.RequireActive()(inside), bearer(s.CreateAccount(newHandle()).AccessJWT), http.StatusTeapot},
		} {
			r := httptest.NewRequest("GET", "/mine", nil)
			if c.authorization != nobody {
				r.Header.Set("Authorization", c.authorization)
			}
			w := httptest.NewRecorder()
			c.route.ServeHTTP(w, r)
			want := ""
			if c.status == 401 {
				want = asksForToken
			}
			if got := w.Header().Get("WWW-Authenticate"); w.Code != c.status || got != want {
				t.Errorf("%s: %d with the challenge %q, want %d with %q", name, w.Code, got, c.status, want)
			}
		}
	})
}

// TestModeratorMethodsReadUserTokensAsServiceTokens checks that methods for moderators treat a
// user's token as a service token of an untrusted issuer, even without a configured moderation
// service, and that methods that need full access refuse an app password's token for its scope.
func TestModeratorMethodsReadUserTokensAsServiceTokens(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	alice := s.CreateAccount("alice.test")
	for _, method := range methodsFor("moderator") {
		s.do(bearer(alice.AccessJWT), method, accessTable[method].input).refused(401, "UntrustedIss", "Untrusted issuer")
	}
	_, app := s.appLogin(alice, "app", false)
	for _, method := range methodsFor("full") {
		s.do(bearer(app["accessJwt"].(string)), method, accessTable[method].input).refused(400, "InvalidToken", "Bad token scope")
	}
}

// TestClientKeepsItsSessionAfterA403 calls an admin method with indigo's client, which refreshes
// its token if it has expired, gets the 403, and still has its session.
func TestClientKeepsItsSessionAfterA403(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		ctx, alice, refreshes := context.Background(), s.CreateAccount("alice.test"), 0
		c, err := atclient.LoginWithPasswordHost(ctx, s.URL, alice.Handle, alice.Password, "", func(context.Context, atclient.PasswordSessionData) { refreshes++ })
		if err != nil {
			t.Fatal(err)
		}
		for want := range 2 {
			_, err = atproto.ServerCreateInviteCode(ctx, c, &atproto.ServerCreateInviteCode_Input{UseCount: 1})
			var refused *atclient.APIError
			if !errors.As(err, &refused) || refused.StatusCode != 403 || refused.Name != "Forbidden" || refused.Message != adminsOnly || refreshes != want {
				t.Errorf("createInviteCode: %v after %d refreshes, want 403 Forbidden after %d", err, refreshes, want)
			}
			if got, err := atproto.ServerGetSession(ctx, c); err != nil || got.Did != alice.DID {
				t.Errorf("getSession: %+v, %v", got, err)
			}
			s.Clock.Advance(3 * time.Hour)
		}
	})
}
