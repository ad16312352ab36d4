package e2e

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// TestWhatHappensBetweenTheStepsOfOAuth has something happen to the account at each step of a
// request.
func TestWhatHappensBetweenTheStepsOfOAuth(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	happens := map[string]func(a *gatehousetest.Account){
		"a takedown": func(a *gatehousetest.Account) { s.takeDown(a.DID, "case 1") },
		"a deletion": func(a *gatehousetest.Account) { s.do(admin, "admin.deleteAccount", object{"did": a.DID}).ok() },
		"another password": func(a *gatehousetest.Account) {
			s.do(admin, "admin.updateAccountPassword", object{"did": a.DID, "password": "another password"}).ok()
		},
		"the revocation of credentials": func(a *gatehousetest.Account) {
			s.do(admin, "temp.revokeAccountCredentials", object{"account": a.DID}).ok()
		},
		"a takedown and its end": func(a *gatehousetest.Account) { s.takeDown(a.DID, "case 2"); s.lift(a.DID) },
		"a sign-out everywhere": func(a *gatehousetest.Account) {
			if err := s.Gatehouse.Sessions.EndAll(t.Context(), syntax.DID(a.DID)); err != nil {
				t.Error(err)
			}
		},
	}
	for name, happen := range happens {
		t.Run(name, func(t *testing.T) {
			for step := range 4 {
				alice, a := s.someone(), s.public("atproto")
				at := func(n int) {
					if n == step {
						happen(alice)
					}
				}
				p := a.push()
				b := a.browser()
				page := b.submit(b.open(a.page(p)), "sign-in", url.Values{"identifier": {alice.Handle}, "password": {alice.Password}})
				at(0) // while the owner reads what is asked for
				page = b.submit(page, "accept", nil)
				if step == 0 {
					if page.back != nil || page.forms["sign-in"] == nil {
						t.Errorf("the owner isn't asked to sign in again: %d %v %s", page.status, page.back, page.body)
					}
					continue
				}
				code := page.back.Get("code")
				at(1) // before the code is exchanged
				out := a.exchange(code, p)
				if step == 1 {
					out.refused(400, "invalid_grant")
					continue
				}
				k := out.tokens()
				at(2) // before the tokens are used
				if step == 2 {
					if out := a.session(k.access); out.status != http.StatusUnauthorized {
						t.Errorf("getSession: %d %s", out.status, out.body)
					}
					a.refresh(k.refresh).refused(400, "invalid_grant")
					continue
				}
				next := a.refresh(k.refresh).tokens()
				at(3) // and within the grace period of a refresh
				a.refresh(k.refresh).refused(400, "invalid_grant")
				a.refresh(next.refresh).refused(400, "invalid_grant")
			}
		})
	}
}

// TestDeactivatedAccountsKeepTheirApplications deactivates an account. Its applications keep their
// access, and its owner can reactivate it on the page of a request.
func TestDeactivatedAccountsKeepTheirApplications(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	alice, a := s.someone(), s.public("atproto repo:*")
	k := a.signIn(alice.Handle, alice.Password)
	s.do(bearer(alice.AccessJWT), "server.deactivateAccount", object{}).ok()
	if got := a.session(k.access).ok(); got["active"] != false || got["status"] != "deactivated" {
		t.Errorf("getSession: %v", got)
	}
	k = a.refresh(k.refresh).tokens()
	p := a.push()
	b := a.browser()
	page := b.submit(b.open(a.page(p)), "sign-in", url.Values{"identifier": {alice.Handle}, "password": {alice.Password}})
	page = b.submit(page, "reactivate", nil)
	again := a.exchange(b.agree(page).Get("code"), p).tokens()
	for _, token := range []string{k.access, again.access} {
		if got := a.session(token).ok(); got["active"] != true {
			t.Errorf("getSession: %v", got)
		}
	}
}

// TestOperatorsEndClients ends the access of a client everywhere, and refuses it from then on.
func TestOperatorsEndClients(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		bad, good := s.confidential("atproto"), s.public("atproto")
		var tokens []string
		var last *gatehousetest.Account
		for range 3 {
			last = s.someone()
			tokens = append(tokens, bad.signIn(last.Handle, last.Password).access)
		}
		other := good.signIn(last.Handle, last.Password).access
		if err := s.Gatehouse.OAuth.EndClient(t.Context(), bad.id); err != nil {
			t.Fatal(err)
		}
		for _, token := range tokens {
			bad.session(token).refused(401, "invalid_token", "Token has been revoked")
		}
		good.session(other).ok()
	})
}

// TestLimitsOfApplications checks that an application uses up none of its owner's limits, nor of
// another application, also at a server that has no sessions of its own for it.
func TestLimitsOfApplications(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	alice := s.someone()
	one, two := s.grant(alice, "atproto"), s.grant(alice, "atproto transition:email")
	left := func(o *oauthSession) int { return remaining(o.app.session(o.access)) }
	owner := func() int { return remaining(s.do(bearer(alice.AccessJWT), "server.getSession", nil)) }
	ones, twos, owners := left(one), left(two), owner()
	for range 5 {
		left(one)
	}
	if got := []int{left(one), left(two), owner()}; got[0] != ones-6 || got[1] != twos-1 || got[2] != owners-1 {
		t.Errorf("after six calls of one application %v are left, of %d, %d and %d", got, ones, twos, owners)
	}
	e := newTwoServers(t)
	resource := e.startResource(e.entryway.URL)
	e.moveIn(resource)
	charged := newAPI(t, withStore(e.resides), config(e.configureResource(e.entryway.URL, "")), limited)
	a := e.app("atproto")
	k := a.signIn(e.alice.DID, e.alice.Password)
	call := func() int { return remaining(a.xrpc(charged.URL, k.access, http.MethodGet, "server.getSession", "")) }
	if first, second := call(), call(); second != first-1 {
		t.Errorf("a call at a resource server left %d of %d", second, first)
	}
}

// TestApplicationsDoNotPushOutSessions has applications open many sessions, which leave those of
// the password alone, and the other way round.
func TestApplicationsDoNotPushOutSessions(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	alice, a := s.someone(), s.public("atproto")
	first := a.signIn(alice.Handle, alice.Password)
	b := a.browser()
	again := func() tokens {
		p := a.push()
		return a.exchange(b.authorize(a.page(p), alice.Handle, alice.Password).Get("code"), p).tokens()
	}
	const room = 50 // sessions of one client
	var last tokens
	for range room {
		last = again()
		s.Clock.Advance(time.Millisecond)
	}
	a.session(first.access).refused(401, "invalid_token", "Token has been revoked")
	a.session(last.access).ok()
	if n := s.oauthSessions(alice.DID); n != room {
		t.Errorf("the client has %d sessions, want %d", n, room)
	}
	s.do(bearer(alice.AccessJWT), "server.getSession", nil).ok()
}

// TestNothingOfOAuthIsKeptForever lets years pass, and then deletes the account.
func TestNothingOfOAuthIsKeptForever(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.someone()
		for _, a := range []*oauthApp{s.public("atproto"), s.confidential("atproto")} {
			k := a.signIn(alice.Handle, alice.Password)
			a.refresh(k.refresh).ok()
			p := a.push() // which nobody opens
			b := a.browser()
			b.open(a.page(a.push())) // which nobody answers
			b.authorize(a.page(p), alice.Handle, alice.Password)
		}
		tables := []string{"oauth_requests", "oauth_codes", "used_once", "devices", "sessions"}
		for i, n := range s.rowsOf(tables...) {
			if n == 0 {
				t.Errorf("there is nothing in %s, so the test proves nothing about it", tables[i])
			}
		}
		s.Clock.Advance(3 * 366 * 24 * time.Hour)
		s.maintain()
		for i, n := range s.rowsOf(tables...) {
			if n != 0 {
				t.Errorf("%d documents in %s after three years", n, tables[i])
			}
		}
		if n := s.rows("oauth_consents"); n == 0 {
			t.Error("what the owner has agreed to is forgotten")
		}
		s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
		if n := s.rows("oauth_consents"); n != 0 {
			t.Errorf("%d consents of a deleted account", n)
		}
	})
}

// TestOAuthInACopiedStore moves a server to another backend, and its applications and browsers with
// it.
func TestOAuthInACopiedStore(t *testing.T) {
	t.Parallel()
	file, err := bolt.Open(filepath.Join(t.TempDir(), "copy.db"))
	if err != nil {
		t.Fatal(err)
	}
	stores := []storage.Store{closing(t, memory.New()), closing(t, file), closing(t, openPostgres(t, pgcluster.URL(t)))}
	clock := gatehousetest.NewClock()
	var f front
	s := newAPI(t, withStore(stores[0]), config(func(c *gatehouse.Config) { c.Now = clock.Now }), withHandler(func(h http.Handler) http.Handler {
		f.serve(h)
		return &f
	}))
	alice := s.someone()
	a := publicApp(t, s.URL, reach(s.URL, s.URL), clock.Now, "atproto")
	b := a.browser()
	p := a.push()
	k := a.exchange(b.authorize(a.page(p), alice.Handle, alice.Password).Get("code"), p).tokens()
	for i, to := range stores[1:] {
		waiting := a.push()
		shown := b.open(a.page(waiting))
		if _, err := storage.Copy(t.Context(), to, stores[i], nil); err != nil {
			t.Fatal(err)
		}
		next := newAPI(t, withStore(to), config(func(c *gatehouse.Config) { c.Now, c.PublicURL = clock.Now, s.URL }))
		f.serve(next.Gatehouse.Handler())
		a.session(k.access).ok()
		k = a.refresh(k.refresh).tokens()
		other := a.exchange(b.agree(shown).Get("code"), waiting).tokens()
		a.session(other.access).ok()
		a.session(k.access).ok()
	}
}

// TestSessionsOfApplicationsAreSessions checks that the Go API has what an application was granted
// among all other sessions.
func TestSessionsOfApplicationsAreSessions(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	alice, a := s.someone(), s.confidential("atproto repo:app.bsky.feed.post")
	k := a.signIn(alice.Handle, alice.Password)
	did := syntax.DID(alice.DID)
	all, err := s.Gatehouse.Sessions.List(t.Context(), did)
	if err != nil {
		t.Fatal(err)
	}
	var mine *sessions.Session
	kinds := map[string]int{}
	for _, session := range all {
		switch {
		case session.Client != nil:
			kinds["application"]++
			mine = session
		case session.Device != "":
			kinds["browser"]++
		default:
			kinds["password"]++
		}
	}
	if kinds["application"] != 1 || kinds["browser"] != 1 || kinds["password"] != 1 {
		t.Fatalf("the sessions are %v", kinds)
	}
	now := s.Clock.Now()
	if c := mine.Client; c.ID != a.id || c.Key != a.key.Thumbprint() || c.AuthKey != a.auth.Thumbprint() || c.Scope != a.scope || mine.Method != "password" ||
		!mine.ExpiresAt.Equal(now.Add(90*24*time.Hour)) || !mine.EndsAt.Equal(now.Add(2*365*24*time.Hour)) || strings.Contains(mine.ID, k.refresh) {
		t.Errorf("the session: %+v %+v", mine, c)
	}
	if err := s.Gatehouse.Sessions.Revoke(t.Context(), did, mine.ID); err != nil {
		t.Fatal(err)
	}
	a.session(k.access).refused(401, "invalid_token", "Token has been revoked")
}
