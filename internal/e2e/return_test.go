package e2e

import (
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// move moves an account from one server to another and returns its access token there. The changes
// are made to the credentials that the new server recommends before the old one signs them.
func move(from, to *api, id, access string, input object, change ...func(credentials object)) string {
	from.t.Helper()
	audience := to.do(nobody, "server.describeServer", nil).text("did")
	proof := from.do(bearer(access), "server.getServiceAuth", object{"aud": audience, "lxm": "com.atproto.server.createAccount"}).text("token")
	input["did"], input["password"] = id, "password"
	fresh := to.do(bearer(proof), "server.createAccount", input).text("accessJwt")
	in := to.do(bearer(fresh), "identity.getRecommendedDidCredentials", nil).ok()
	for _, change := range change {
		change(in)
	}
	// An account that signed up with an existing DID needs a confirmed address to sign PLC operations.
	from.do(bearer(access), "server.requestEmailConfirmation", nil).ok()
	from.do(bearer(access), "server.confirmEmail", object{"email": "alice@example.com", "token": from.Mail.Code("alice@example.com")}).ok()
	from.do(bearer(access), "identity.requestPlcOperationSignature", nil).ok()
	in["token"] = from.Mail.Code("alice@example.com")
	op := from.do(bearer(access), "identity.signPlcOperation", in).ok()["operation"]
	to.do(bearer(fresh), "identity.submitPlcOperation", object{"operation": op}).ok()
	to.do(bearer(fresh), "server.activateAccount", nil).ok()
	return fresh
}

// TestAnAccountMovesAwayAndBack moves an account away, deletes it at the first server, and moves it
// back with the invite code of its first sign-up.
func TestAnAccountMovesAwayAndBack(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			plc := newDirectory(t)
			server := func(domain string, mode gatehouse.SignUpMode) *api {
				return newAPI(t, gatehousetest.WithStore(b.open(t)), config(func(c *gatehouse.Config) {
					c.DIDs.Directory, c.SignUp.Mode = plc, mode
					c.Hostname, c.HandleDomains = strings.TrimPrefix(domain, "."), []string{domain}
				}))
			}
			home, away := server(".home.test", gatehouse.SignUpInvites), server(".away.test", gatehouse.SignUpOpen)
			code := home.newCode(2)
			alice := home.signUp("alice.home.test", object{"inviteCode": code})

			there := move(home, away, alice.DID, alice.AccessJWT, object{"handle": "alice.away.test", "email": "alice@example.com"})
			home.do(bearer(alice.AccessJWT), "server.requestAccountDelete", nil).ok()
			home.do(nobody, "server.deleteAccount", object{"did": alice.DID, "password": alice.Password, "token": home.Mail.Code("alice@example.com")}).ok()

			back := move(away, home, alice.DID, there, object{"handle": "alice.home.test", "email": "alice@example.com", "inviteCode": code})
			got := home.do(bearer(back), "server.getSession", nil).ok()
			if got["did"] != alice.DID || got["handle"] != "alice.home.test" || got["active"] != true {
				t.Errorf("getSession: %v", got)
			}
			home.do(bearer(alice.AccessJWT), "server.getSession", nil).refused(400, "ExpiredToken", "Token has been revoked")
			home.login("alice.home.test", alice.Password).refused(401, "AuthenticationRequired")
			info := home.do(admin, "admin.getAccountInfo", object{"did": alice.DID}).ok()
			if by := info["invitedBy"].(object); by["code"] != code || len(by["uses"].([]any)) != 2 {
				t.Errorf("getAccountInfo: %v", info)
			}
		})
	}
}

// TestDeactivatedAccountsStillResolve checks that the handle and the DID of a deactivated account
// still resolve, since clients need both to find the server to log in at. The handle of an account
// that is taken down doesn't resolve.
func TestDeactivatedAccountsStillResolve(t *testing.T) {
	t.Parallel()
	for _, method := range []gatehouse.DIDMethod{gatehouse.DIDPLC, gatehouse.DIDWeb} {
		t.Run(string(method), func(t *testing.T) {
			onEach(t, func(t *testing.T, s *api) {
				alice := s.signUp("alice.test")
				resolves := func(want bool) {
					t.Helper()
					handle := s.do(nobody, "identity.resolveHandle", object{"handle": "Alice.test"})
					byHandle := s.do(nobody, "identity.resolveIdentity", object{"identifier": "alice.test"})
					byDID := s.do(nobody, "identity.resolveIdentity", object{"identifier": alice.DID}).ok()
					status, body := s.get("alice.test", "/.well-known/atproto-did")
					shown := "alice.test"
					if want {
						if handle.text("did") != alice.DID || status != 200 || body != alice.DID {
							t.Errorf("resolveHandle: %s, atproto-did: %d %s", handle.body, status, body)
						}
						if got := byHandle.ok(); got["did"] != alice.DID || got["handle"] != shown || !contains(string(byHandle.body), s.URL) {
							t.Errorf("resolveIdentity: %s", byHandle.body)
						}
					} else {
						shown = "handle.invalid"
						handle.refused(400, "HandleNotFound", "Unable to resolve handle")
						byHandle.refused(400, "HandleNotFound", "Unable to resolve handle")
						if status != 404 {
							t.Errorf("atproto-did: %d %s", status, body)
						}
					}
					if byDID["handle"] != shown {
						t.Errorf("resolveIdentity of the DID has the handle %v, want %s", byDID["handle"], shown)
					}
					status, body = s.get("alice.test", "/.well-known/did.json")
					if web := method == gatehouse.DIDWeb; (status == 200) != web || web && !contains(body, alice.DID, "at://alice.test", s.URL) {
						t.Errorf("did.json: %d %s", status, body)
					}
				}
				shows := func(a *answer, active bool, state any) {
					t.Helper()
					if got := a.ok(); got["active"] != active || got["status"] != state || got["handle"] != "alice.test" {
						t.Errorf("%s: %s; want active %v and the status %v", a.method, a.body, active, state)
					}
				}
				resolves(true)
				s.do(bearer(alice.AccessJWT), "server.deactivateAccount", object{}).ok()
				resolves(true)
				in := s.login("alice.test", alice.Password)
				shows(in, false, "deactivated")
				shows(s.do(bearer(in.text("accessJwt")), "server.getSession", nil), false, "deactivated")
				shows(s.do(bearer(in.text("refreshJwt")), "server.refreshSession", nil), false, "deactivated")
				// Nobody else can take the handle of a deactivated account.
				s.do(nobody, "server.createAccount", object{"handle": "alice.test", "email": "other@example.com", "password": "password"}).
					refused(400, "HandleNotAvailable", "Handle already taken: alice.test")

				s.takeDown(alice.DID, "case 1")
				resolves(false)
				shows(s.leave(alice), false, "takendown")
				s.lift(alice.DID)
				resolves(true)
				s.again(alice)
				s.do(bearer(alice.AccessJWT), "server.activateAccount", nil).ok()
				shows(s.do(bearer(alice.AccessJWT), "server.getSession", nil), true, nil)
				resolves(true)
				s.takeDown(alice.DID, "case 2")
				resolves(false)
			}, config(func(c *gatehouse.Config) { c.DIDs.Method = method }))
		})
	}
}

// TestForeignHandlesOfDeactivatedAccountsFollowTheirDomain checks that a deactivated account's
// handle on a foreign domain resolves to what the domain says, since the account may have moved
// away.
func TestForeignHandlesOfDeactivatedAccountsFollowTheirDomain(t *testing.T) {
	t.Parallel()
	network := handles{}
	onEach(t, func(t *testing.T, s *api) {
		alice, bob := s.signUp("alice.test"), s.signUp("bob.test")
		resolves := func(to string) {
			t.Helper()
			if got := s.do(nobody, "identity.resolveHandle", object{"handle": "name.example.com"}).text("did"); got != to {
				t.Errorf("the handle resolves to %s, want %s", got, to)
			}
		}
		network["name.example.com"] = syntax.DID(alice.DID)
		s.do(bearer(alice.AccessJWT), "identity.updateHandle", object{"handle": "name.example.com"}).ok()
		s.do(bearer(alice.AccessJWT), "server.deactivateAccount", object{}).ok()
		resolves(alice.DID)
		network["name.example.com"] = syntax.DID(bob.DID)
		resolves(bob.DID)
		delete(network, "name.example.com")
		s.do(nobody, "identity.resolveHandle", object{"handle": "name.example.com"}).refused(400, "HandleNotFound")
	}, config(func(c *gatehouse.Config) { c.Handles.Resolver = network }))
}
