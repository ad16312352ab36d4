package e2e

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
)

func TestLifeOfAnAccount(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		about := s.do(nobody, "server.describeServer", nil).ok()
		if about["inviteCodeRequired"] != true || about["did"] != "did:web:localhost" {
			t.Errorf("describeServer: %v", about)
		}

		// An admin invites alice.
		code := s.newCode(1)
		if !regexp.MustCompile(`^localhost-[a-z2-7]{5}-[a-z2-7]{5}$`).MatchString(code) {
			t.Errorf("the invite code is %q, want the form localhost-xxxxx-xxxxx", code)
		}
		signUp := object{"handle": "Alice.Test", "email": "Alice@Example.com", "password": "password-alice"}
		s.do(nobody, "server.createAccount", signUp).refused(400, "InvalidInviteCode", "No invite code provided")
		signUp["inviteCode"] = code
		created := s.do(nobody, "server.createAccount", signUp)
		did := created.text("did")
		if created.text("handle") != "alice.test" || !strings.HasPrefix(did, "did:plc:") || len(did) != 32 {
			t.Errorf("createAccount: %s", created.body)
		}

		// Alice logs in with each of her identifiers.
		for _, identifier := range []string{"alice.test", "ALICE.test", "alice@example.com", "ALICE@EXAMPLE.COM", did} {
			out := s.login(identifier, "password-alice").ok()
			if out["did"] != did || out["handle"] != "alice.test" || out["email"] != "alice@example.com" ||
				out["emailConfirmed"] != false || out["active"] != true || out["status"] != nil {
				t.Errorf("createSession as %s: %v", identifier, out)
			}
			doc, _ := out["didDoc"].(object)
			if doc["id"] != did {
				t.Errorf("createSession as %s: the DID document is %v, want the one of %s", identifier, out["didDoc"], did)
			}
		}
		wrong, unknown := s.login("alice.test", "nonsense"), s.login("mallory.test", "nonsense")
		wrong.refused(401, "AuthenticationRequired", "Invalid identifier or password")
		if string(wrong.body) != string(unknown.body) || wrong.status != unknown.status {
			t.Errorf("a wrong password is answered %s, an unknown account %s; want the same answer", wrong.body, unknown.body)
		}

		// She refreshes. Within a grace period, the used token returns the same successor.
		session := s.login("alice.test", "password-alice")
		first := session.text("refreshJwt")
		refreshed := s.do(bearer(first), "server.refreshSession", nil)
		again := s.do(bearer(first), "server.refreshSession", nil)
		if jti(t, refreshed.text("refreshJwt")) != jti(t, again.text("refreshJwt")) {
			t.Error("a refresh token that was used twice has two successors, want one")
		}
		access := refreshed.text("accessJwt")
		got := s.do(bearer(access), "server.getSession", nil)
		if got.text("did") != did || got.text("email") != "alice@example.com" {
			t.Errorf("getSession: %s", got.body)
		}
		if got.header.Get("Cache-Control") != "private" || !slices.Contains(got.header.Values("Vary"), "Authorization") {
			t.Errorf("shared caches may store the answer of getSession: %v", got.header)
		}
		s.Clock.Advance(2*time.Hour + time.Second)
		s.do(bearer(access), "server.getSession", nil).refused(400, "ExpiredToken", "Token has expired")

		// An app password has fewer permissions.
		access = s.login("alice.test", "password-alice").text("accessJwt")
		made := s.do(bearer(access), "server.createAppPassword", object{"name": "phone app"})
		appPassword := made.text("password")
		if !regexp.MustCompile(`^[a-z2-7]{4}(-[a-z2-7]{4}){3}$`).MatchString(appPassword) || made.ok()["privileged"] != false {
			t.Errorf("createAppPassword: %s", made.body)
		}
		s.do(bearer(access), "server.createAppPassword", object{"name": "phone app"}).refused(400, "InvalidRequest")
		s.do(bearer(access), "server.createAppPassword", object{"name": "mail", "privileged": true}).ok()
		app := s.login("alice.test", appPassword)
		if app.ok()["email"] != nil {
			t.Errorf("createSession with an app password returns the e-mail address: %s", app.body)
		}
		appAccess := app.text("accessJwt")
		if got := s.do(bearer(appAccess), "server.getSession", nil).ok(); got["did"] != did || got["email"] != nil {
			t.Errorf("getSession with an app password: %v, want no e-mail address", got)
		}
		s.do(bearer(appAccess), "server.createAppPassword", object{"name": "more"}).refused(400, "InvalidToken", "Bad token scope")
		appRefreshed := s.do(bearer(app.text("refreshJwt")), "server.refreshSession", nil).text("accessJwt")
		s.do(bearer(appRefreshed), "server.listAppPasswords", nil).refused(400, "InvalidToken", "Bad token scope")
		list := s.do(bearer(access), "server.listAppPasswords", nil)
		if strings.Contains(string(list.body), appPassword) || strings.Count(string(list.body), `"name"`) != 2 {
			t.Errorf("listAppPasswords: %s", list.body)
		}
		s.do(bearer(access), "server.revokeAppPassword", object{"name": "phone app"}).ok()
		s.do(bearer(access), "server.revokeAppPassword", object{"name": "phone app"}).ok()
		s.do(bearer(appRefreshed), "server.getSession", nil).refused(400, "ExpiredToken", "Token has been revoked")
		s.login("alice.test", appPassword).refused(401, "AuthenticationRequired")

		// She logs out, twice.
		out := s.login("alice.test", "password-alice")
		s.do(bearer(out.text("refreshJwt")), "server.deleteSession", nil).ok()
		s.do(bearer(out.text("refreshJwt")), "server.deleteSession", nil).ok()
		s.do(bearer(out.text("accessJwt")), "server.getSession", nil).refused(400, "ExpiredToken", "Token has been revoked")
		s.do(bearer(out.text("refreshJwt")), "server.refreshSession", nil).refused(400, "ExpiredToken", "Token has been revoked")

		// She has forgotten her password and resets it.
		s.do(nobody, "server.requestPasswordReset", object{"email": "nobody@example.com"}).ok()
		s.do(nobody, "server.requestPasswordReset", object{"email": "ALICE@example.com"}).ok()
		reset := s.Mail.Code("alice@example.com")
		if !regexp.MustCompile(`^[A-Z2-7]{5}-[A-Z2-7]{5}$`).MatchString(reset) {
			t.Errorf("the reset code is %q, want the form XXXXX-XXXXX", reset)
		}
		s.do(nobody, "server.resetPassword", object{"token": strings.ToLower(reset), "password": "new password"}).ok()
		s.do(nobody, "server.resetPassword", object{"token": reset, "password": "another password"}).refused(400, "InvalidToken", "Token is invalid")
		s.do(bearer(access), "server.getSession", nil).refused(400, "ExpiredToken", "Token has been revoked")
		s.login("alice.test", "password-alice").refused(401, "AuthenticationRequired")
		access = s.login("alice.test", "new password").text("accessJwt")

		// She deletes her account.
		s.do(bearer(access), "server.requestAccountDelete", nil).ok()
		farewell := object{"did": did, "password": "wrong", "token": s.Mail.Code("alice@example.com")}
		s.do(nobody, "server.deleteAccount", farewell).refused(401, "AuthenticationRequired", "Invalid did or password")
		farewell["password"] = "new password"
		s.do(nobody, "server.deleteAccount", farewell).ok()
		s.do(bearer(access), "server.getSession", nil).refused(403, "AccountNotFound", "Account not found")
		s.login("alice.test", "new password").refused(401, "AuthenticationRequired")
		s.do(nobody, "server.deleteAccount", farewell).refused(401, "AuthenticationRequired")

		// Her handle and address are free again, but her invite code stays used.
		s.do(nobody, "server.createAccount", signUp).refused(400, "InvalidInviteCode", "Provided invite code not available")
		signUp["inviteCode"] = s.newCode(1)
		if again := s.do(nobody, "server.createAccount", signUp).text("did"); again == did {
			t.Error("the new account has the DID of the deleted one")
		}
	}, config(func(c *gatehouse.Config) { c.SignUp.Mode = gatehouse.SignUpInvites; c.Passwords.MinLength = 8 }))
}

// jti returns the ID of a token, its claim jti.
func jti(t testing.TB, token string) string {
	t.Helper()
	var c struct {
		ID string `json:"jti"`
	}
	if err := json.Unmarshal(claimsOf(t, token), &c); err != nil || c.ID == "" {
		t.Fatalf("no jti in %s: %v", token, err)
	}
	return c.ID
}

func TestInviteCodesOfAccounts(t *testing.T) {
	t.Parallel()
	const week = 7 * 24 * time.Hour
	onEach(t, func(t *testing.T, s *api) {
		alice := s.CreateAccount("alice.test")
		list := func(params object) []any {
			t.Helper()
			access := s.login(alice.Handle, alice.Password).text("accessJwt")
			return s.do(bearer(access), "server.getAccountInviteCodes", params).ok()["codes"].([]any)
		}
		if got := list(nil); len(got) != 0 {
			t.Errorf("a new account has invite codes: %v", got)
		}
		// Codes given by the admin don't count as earned.
		gift := s.do(admin, "server.createInviteCodes", object{"codeCount": 2, "useCount": 3, "forAccounts": []string{alice.DID}}).ok()
		if codes := gift["codes"].([]any); len(codes) != 1 || len(codes[0].(object)["codes"].([]any)) != 2 {
			t.Errorf("createInviteCodes: %v", gift)
		}
		s.Clock.Advance(2*week + time.Hour)
		if got := list(object{"createAvailable": false}); len(got) != 2 {
			t.Errorf("%d codes without createAvailable, want the admin's 2", len(got))
		}
		got := list(nil)
		if len(got) != 4 {
			t.Fatalf("%d codes after two weeks, want the admin's 2 and 2 earned", len(got))
		}
		earned := got[3].(object)
		if earned["createdBy"] != alice.DID || earned["forAccount"] != alice.DID || earned["available"] != 1.0 {
			t.Errorf("the earned code: %v", earned)
		}
		bob := s.signUp("bob.test", object{"inviteCode": earned["code"]})
		carol := s.signUp("carol.test", object{"inviteCode": got[0].(object)["code"]})
		if got := list(object{"includeUsed": false}); len(got) != 3 {
			t.Errorf("%d usable codes, want 3", len(got))
		}
		for _, c := range list(nil) {
			c := c.(object)
			uses := c["uses"].([]any)
			switch c["code"] {
			case earned["code"]:
				if len(uses) != 1 || uses[0].(object)["usedBy"] != bob.DID {
					t.Errorf("the code that bob used: %v", c)
				}
			case got[0].(object)["code"]:
				if len(uses) != 1 || uses[0].(object)["usedBy"] != carol.DID {
					t.Errorf("the code that carol used: %v", c)
				}
			default:
				if len(uses) != 0 {
					t.Errorf("an unused code: %v", c)
				}
			}
		}
		// An account can have at most five unused earned codes.
		s.Clock.Advance(20 * week)
		if got := list(object{"includeUsed": false}); len(got) != 2+5 {
			t.Errorf("%d usable codes after 20 weeks, want the admin's 2 and 5 earned", len(got))
		}
		if got := list(nil); len(got) != 2+5+1 {
			t.Errorf("%d codes in all, want the usable 7 and the 1 used up", len(got))
		}
	}, config(func(c *gatehouse.Config) { c.SignUp.Mode, c.SignUp.InviteInterval = gatehouse.SignUpInvites, week }))
}

func TestSessionsSurviveARestart(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			store := b.open(t)
			before := newAPI(t, withStore(store))
			alice := before.signUp("alice.test")
			before.Close()
			after := newAPI(t, withStore(store))
			after.do(bearer(alice.AccessJWT), "server.getSession", nil).ok()
			after.do(bearer(alice.RefreshJWT), "server.refreshSession", nil).ok()
			after.login("alice.test", alice.Password).ok()
		})
	}
}

func TestMountedUnderAPrefix(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		s.CreateAccount("alice.test")
		s.URL += "/pds"
		s.login("alice.test", "password").ok()
	}, withHandler(func(h http.Handler) http.Handler {
		outer := http.NewServeMux()
		outer.Handle("/pds/", http.StripPrefix("/pds", h))
		return outer
	}))
}
