package e2e

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// move moves an account from one server to another, and returns its access token there.
func move(from, to *api, id, access string, input object) string {
	from.t.Helper()
	audience := to.do(nobody, "server.describeServer", nil).text("did")
	proof := from.do(bearer(access), "server.getServiceAuth", object{"aud": audience, "lxm": "com.atproto.server.createAccount"}).text("token")
	input["did"], input["password"] = id, "password"
	fresh := to.do(bearer(proof), "server.createAccount", input).text("accessJwt")
	in := maps.Clone(to.do(bearer(fresh), "identity.getRecommendedDidCredentials", nil).ok())
	// Whoever came with the DID signs operations only with codes that reach a confirmed address.
	from.do(bearer(access), "server.requestEmailConfirmation", nil).ok()
	from.do(bearer(access), "server.confirmEmail", object{"email": "alice@example.com", "token": from.Mail.Code("alice@example.com")}).ok()
	from.do(bearer(access), "identity.requestPlcOperationSignature", nil).ok()
	in["token"] = from.Mail.Code("alice@example.com")
	op := from.do(bearer(access), "identity.signPlcOperation", in).ok()["operation"]
	to.do(bearer(fresh), "identity.submitPlcOperation", object{"operation": op}).ok()
	to.do(bearer(fresh), "server.activateAccount", nil).ok()
	return fresh
}

// TestAnAccountComesBack moves an account away, deletes what it left, and moves it back, with the
// code by which it came the first time.
func TestAnAccountComesBack(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			plc, err := did.NewLocal(context.Background(), memory.New(), nil)
			if err != nil {
				t.Fatal(err)
			}
			server := func(domain string, invites bool) *api {
				return newAPI(t, gatehousetest.WithStore(b.open(t)), config(func(c *gatehouse.Config) {
					c.PLCDirectory, c.Invites = plc, invites
					c.Hostname, c.HandleDomains = strings.TrimPrefix(domain, "."), []string{domain}
				}))
			}
			home, away := server(".home.test", true), server(".away.test", false)
			code := home.do(admin, "server.createInviteCode", object{"useCount": 2}).text("code")
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
