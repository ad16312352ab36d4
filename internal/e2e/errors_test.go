package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/storage"
)

func TestCreateAccountErrors(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		ctx := context.Background()
		s.CreateAccount("taken.test")
		good := s.newCode(1)
		owner := s.CreateAccount("owner.test")
		ownersCode := s.do(admin, "server.createInviteCode", object{"useCount": 1, "forAccount": owner.DID}).text("code")
		if err := s.Gatehouse.Accounts.TakeDown(ctx, syntax.DID(owner.DID), "spam"); err != nil {
			t.Fatal(err)
		}
		// The order of the checks is part of the interface. The input starts with every fault at
		// once, and each step fixes the one that was reported.
		worst := object{
			"handle": "x.test", "email": "nonsense", "password": strings.Repeat("x", 257), "recoveryKey": "nonsense",
			"did": "did:plc:iowu64gp7dw45k7uky3m3yos",
		}
		refused := func(status int, name, message string) {
			t.Helper()
			s.do(nobody, "server.createAccount", worst).refused(status, name, message)
		}
		worst["plcOp"] = object{}
		refused(400, "InvalidRequest", `Unsupported input: "plcOp"`)
		delete(worst, "plcOp")
		refused(400, "InvalidRequest", "Password too long. Maximum length is 256 characters.")
		worst["password"] = "short"
		refused(400, "InvalidPassword", "Password too short. Minimum length is 8 characters.")
		worst["password"] = "long enough"
		refused(400, "InvalidInviteCode", "No invite code provided")
		worst["inviteCode"] = "localhost-aaaaa-bbbbb"
		delete(worst, "email")
		refused(400, "InvalidRequest", "Email is required")
		worst["email"] = "nonsense"
		const unsupported = "This email address is not supported, please use a different email."
		refused(400, "InvalidRequest", unsupported)
		worst["email"] = "someone@mailinator.com"
		refused(400, "InvalidRequest", unsupported)
		worst["email"] = "Taken@Example.com"
		for handle, want := range map[string][2]string{
			"x.test":                   {"InvalidHandle", "Handle too short"},
			"abcdefghijklmnopqrs.test": {"InvalidHandle", "Handle too long"},
			"two.labels.test":          {"InvalidHandle", "Invalid characters in handle"},
			"admin.test":               {"HandleNotAvailable", "Reserved handle"},
			"alice.example.com":        {"UnsupportedDomain", "Not a supported handle domain"},
			"alice.local":              {"InvalidHandle", "Handle TLD is invalid or disallowed"},
		} {
			worst["handle"] = handle
			if handle == "alice.example.com" {
				delete(worst, "did") // with a DID, the handle would have to resolve to that DID
			}
			refused(400, want[0], want[1])
		}
		worst["did"] = "did:plc:iowu64gp7dw45k7uky3m3yos"
		worst["handle"] = "alice.example.com"
		refused(400, "InvalidRequest", "External handle did not resolve to DID")
		worst["handle"] = "Taken.test"
		refused(400, "InvalidInviteCode", "Provided invite code not available")
		worst["inviteCode"] = ownersCode
		refused(400, "InvalidInviteCode", "Provided invite code not available")
		worst["inviteCode"] = good
		refused(400, "HandleNotAvailable", "Handle already taken: taken.test")
		worst["handle"] = "free.test"
		refused(400, "InvalidRequest", "Email already taken: Taken@Example.com")
		worst["email"] = "free@example.com"
		refused(401, "AuthenticationRequired", "Missing auth to create account with did: did:plc:iowu64gp7dw45k7uky3m3yos")
		delete(worst, "did")
		refused(400, "InvalidRequest", "Invalid recovery key: recoveryKey must be a K-256 or P-256 did:key")
		// The failed sign-ups neither used the invite code nor took the handle.
		delete(worst, "recoveryKey")
		s.do(nobody, "server.createAccount", worst).ok()
		worst["handle"], worst["email"] = "other.test", "other@example.com"
		refused(400, "InvalidInviteCode", "Provided invite code not available")
	}, config(func(c *gatehouse.Config) { c.SignUp.Mode = gatehouse.SignUpInvites; c.Passwords.MinLength = 8 }))
}

func TestTakedown(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		ctx := context.Background()
		alice := s.signUp("alice.test")
		appPassword := s.do(bearer(alice.AccessJWT), "server.createAppPassword", object{"name": "app"}).text("password")
		if err := s.Gatehouse.Accounts.TakeDown(ctx, syntax.DID(alice.DID), "spam"); err != nil {
			t.Fatal(err)
		}
		const message = "Account has been taken down"
		s.login(alice.Handle, alice.Password).refused(401, "AccountTakedown", message)
		s.login(alice.Handle, appPassword).refused(401, "AccountTakedown", message)
		s.login(alice.Handle, "wrong").refused(401, "AuthenticationRequired")
		s.do(bearer(alice.RefreshJWT), "server.refreshSession", nil).refused(401, "AccountTakedown", message)
		s.do(bearer(alice.AccessJWT), "server.createAppPassword", object{"name": "x"}).refused(401, "AccountTakedown", message)
		s.do(bearer(alice.AccessJWT), "server.listAppPasswords", nil).refused(401, "AccountTakedown", message)
		s.do(bearer(alice.AccessJWT), "server.getSession", nil).refused(401, "AccountTakedown", message)

		leave := object{"identifier": alice.Handle, "password": alice.Password, "allowTakendown": true}
		out := s.do(nobody, "server.createSession", leave)
		if got := out.ok(); got["active"] != false || got["status"] != "takendown" {
			t.Errorf("createSession: %v", got)
		}
		if !strings.Contains(string(claimsOf(t, out.text("accessJwt"))), `"com.atproto.takendown"`) {
			t.Error("the access token doesn't have the scope com.atproto.takendown")
		}
		if got := s.do(bearer(out.text("accessJwt")), "server.getSession", nil).ok(); got["status"] != "takendown" {
			t.Errorf("getSession: %v", got)
		}
		s.do(bearer(out.text("accessJwt")), "server.createAppPassword", object{"name": "x"}).refused(400, "InvalidToken", "Bad token scope")
		s.do(bearer(out.text("refreshJwt")), "server.refreshSession", nil).refused(401, "AccountTakedown", message)
		leave["password"] = appPassword
		s.do(nobody, "server.createSession", leave).refused(401, "AccountTakedown", message)

		if err := s.Gatehouse.Accounts.Restore(ctx, syntax.DID(alice.DID)); err != nil {
			t.Fatal(err)
		}
		s.do(bearer(out.text("refreshJwt")), "server.refreshSession", nil).refused(400, "ExpiredToken", "Token has been revoked")
		s.do(bearer(alice.AccessJWT), "server.getSession", nil).refused(400, "ExpiredToken", "Token has been revoked")
		s.login(alice.Handle, alice.Password).ok()
	})
}

func TestDeactivated(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		if err := s.Gatehouse.Accounts.Deactivate(context.Background(), syntax.DID(alice.DID), nil); err != nil {
			t.Fatal(err)
		}
		for _, a := range []*answer{
			s.login(alice.Handle, alice.Password),
			s.do(bearer(alice.AccessJWT), "server.getSession", nil),
			s.do(bearer(alice.RefreshJWT), "server.refreshSession", nil),
		} {
			if got := a.ok(); got["active"] != false || got["status"] != "deactivated" {
				t.Errorf("%s: %v", a.method, got)
			}
		}
	})
}

func TestEmailedCodes(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice, bob := s.signUp("alice.test"), s.signUp("bob.test")
		reset := func(code string) *answer {
			t.Helper()
			return s.do(nobody, "server.resetPassword", object{"token": code, "password": "another one"})
		}
		request := func(email string) string {
			t.Helper()
			s.do(nobody, "server.requestPasswordReset", object{"email": email}).ok()
			return s.Mail.Code(email)
		}
		for _, bad := range []string{"", "x", "AAAAA-AAAAA", "☃☃☃☃☃-☃☃☃☃☃", strings.Repeat("A", 10000)} {
			reset(bad).refused(400, "InvalidToken", "Token is invalid")
		}
		// A newer code voids an older one.
		old, current := request(alice.Email), request(alice.Email)
		if old != current {
			reset(old).refused(400, "InvalidToken", "Token is invalid")
		}
		// Codes expire after a quarter of an hour.
		s.Clock.Advance(15 * time.Minute)
		reset(current).refused(400, "ExpiredToken", "Token is expired")
		// Ten wrong guesses at the second half void a code.
		current = request(alice.Email)
		for range 10 {
			reset(current[:6]+"AAAAA").refused(400, "InvalidToken", "Token is invalid")
		}
		reset(current).refused(400, "InvalidToken", "Token is invalid")
		reset(request(alice.Email)).ok()

		// A code for deleting an account is only good for that account, with its password.
		alice.Password = "another one"
		alice.AccessJWT = s.login(alice.Handle, alice.Password).text("accessJwt")
		remove := func(did, password, code string) *answer {
			t.Helper()
			return s.do(nobody, "server.deleteAccount", object{"did": did, "password": password, "token": code})
		}
		s.do(bearer(alice.AccessJWT), "server.requestAccountDelete", nil).ok()
		code := s.Mail.Code(alice.Email)
		reset(code).refused(400, "InvalidToken", "Token is invalid") // a code of another purpose
		remove(bob.DID, bob.Password, code).refused(400, "InvalidToken", "Token is invalid")
		remove(alice.DID, "wrong", code).refused(401, "AuthenticationRequired", "Invalid did or password")
		remove(alice.DID, strings.Repeat("x", 513), code).refused(401, "AuthenticationRequired", "Password too long. Consider resetting your password.")
		remove("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", alice.Password, code).refused(401, "AuthenticationRequired", "Invalid did or password")
		s.Clock.Advance(15 * time.Minute)
		remove(alice.DID, alice.Password, code).refused(400, "ExpiredToken", "Token is expired")
		s.do(bearer(alice.AccessJWT), "server.requestAccountDelete", nil).ok()
		remove(alice.DID, alice.Password, s.Mail.Code(alice.Email)).ok()
		s.login(bob.Handle, bob.Password).ok()
	})
}

func TestTokens(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		get := func(authorization string) *answer {
			t.Helper()
			return s.do(authorization, "server.getSession", nil)
		}
		get(nobody).refused(401, "AuthMissing", "Authentication Required")
		for _, bad := range []string{"Bearer", "Bearer ", "Bearer a b", "nonsense"} {
			get(bad).refused(400, "InvalidToken", "Malformed authorization header")
		}
		get("Digest abc").refused(400, "InvalidToken", "Unsupported authorization type: Digest")
		get("Basic YTpi").refused(400, "InvalidToken", "Unexpected authorization type")
		get("DPoP abc").refused(401, "invalid_token", "Malformed token")
		get("DPoP a.b.c").refused(401, "invalid_dpop_proof", "DPoP proof required")
		for name, bad := range map[string]string{
			"garbage":         "garbage",
			"changed":         alice.AccessJWT[:len(alice.AccessJWT)-4] + "AAAA",
			"a refresh token": alice.RefreshJWT,
			"no signature":    strings.Join(strings.Split(alice.AccessJWT, ".")[:2], ".") + ".",
		} {
			a := get(bearer(bad))
			if a.status != 400 || a.object["error"] != "InvalidToken" || a.object["message"] != "Token could not be verified" {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		get("bearer " + alice.AccessJWT).ok() // the name of the scheme is case-insensitive
		s.do(bearer(alice.AccessJWT), "server.refreshSession", nil).refused(400, "InvalidToken", "Token could not be verified")
		s.do(nobody, "server.refreshSession", nil).refused(401, "AuthMissing", "Authentication Required")
		s.do(nobody, "server.deleteSession", nil).refused(401, "AuthMissing", "Authentication Required")
		s.do(bearer("garbage"), "server.deleteSession", nil).refused(400, "InvalidToken", "Token could not be verified")

		// A used refresh token still works for two hours. Using it later ends the session.
		second := s.do(bearer(alice.RefreshJWT), "server.refreshSession", nil)
		s.Clock.Advance(2*time.Hour - time.Second)
		s.do(bearer(alice.RefreshJWT), "server.refreshSession", nil).ok()
		third := s.do(bearer(second.text("refreshJwt")), "server.refreshSession", nil)
		s.Clock.Advance(2 * time.Second)
		s.do(bearer(alice.RefreshJWT), "server.refreshSession", nil).refused(400, "ExpiredToken", "Token has been revoked")
		s.do(bearer(third.text("refreshJwt")), "server.refreshSession", nil).refused(400, "ExpiredToken", "Token has been revoked")
		s.do(bearer(third.text("accessJwt")), "server.getSession", nil).refused(400, "ExpiredToken", "Token has been revoked")

		// After 90 days a refresh token has expired, and can only end its session.
		last := s.login(alice.Handle, alice.Password)
		s.Clock.Advance(90 * 24 * time.Hour)
		s.do(bearer(last.text("refreshJwt")), "server.refreshSession", nil).refused(400, "ExpiredToken", "Token has expired")
		s.do(bearer(last.text("refreshJwt")), "server.deleteSession", nil).ok()
	})
}

func TestAdminAuth(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		for _, method := range []string{"server.createInviteCode", "server.createInviteCodes"} {
			input := object{"useCount": 1, "codeCount": 1}
			s.do(nobody, method, input).refused(401, "AuthenticationRequired", "Authentication Required")
			s.do(bearer(alice.AccessJWT), method, input).refused(403, "Forbidden", "This method is for the admins of this server")
			for _, bad := range []string{"Basic", "nonsense", "Basic YWRtaW46", "Basic YWRtaW46d3Jvbmc=", "Basic bm9ib2R5OmFkbWluLXBhc3N3b3Jk", "Basic !", "Basic YWRtaW4="} {
				s.do(bad, method, input).refused(401, "AuthenticationRequired", "Authentication Required")
			}
			s.do(admin, method, input).ok()
			for _, n := range []any{0, -1} {
				s.do(admin, method, object{"useCount": n, "codeCount": 1}).refused(400, "InvalidRequest")
			}
		}
		if got := s.do(admin, "server.createInviteCodes", object{"useCount": 1}).ok()["codes"].([]any); len(got) != 1 || got[0].(object)["account"] != "admin" {
			t.Errorf("createInviteCodes without accounts: %v, want one entry for the account admin", got)
		}
		s.do(admin, "server.createInviteCodes", object{"useCount": 1, "codeCount": 1 << 30}).refused(400, "InvalidRequest")
		if made := s.do(admin, "server.createInviteCodes", object{"useCount": 1, "forAccounts": []string{}}).ok(); len(made["codes"].([]any)) != 0 {
			t.Errorf("createInviteCodes for an empty list of accounts: %v, want no codes", made)
		}
		s.do(admin, "server.createInviteCodes", object{"useCount": 1, "codeCount": 1, "forAccounts": []string{"x"}}).
			refused(400, "InvalidRequest", "Input/forAccounts/0 must be a valid did")
	})
}

// TestDuplicateCreate calls getAccountInviteCodes twice at once. The second call creates the earned
// codes just before the first one writes them, so that the first is refused.
func TestDuplicateCreate(t *testing.T) {
	t.Parallel()
	forEachStore(t, func(t *testing.T, store storage.Store) {
		rivalled := &rivalled{Store: store}
		s := newAPI(t, withStore(rivalled), config(func(c *gatehouse.Config) {
			c.SignUp.Mode, c.SignUp.InviteInterval = gatehouse.SignUpInvites, 24*time.Hour
		}))
		alice := s.CreateAccount("alice.test")
		s.Clock.Advance(48 * time.Hour)
		alice.AccessJWT = s.Login(alice).AccessJWT
		earn := func() *answer {
			t.Helper()
			return s.do(bearer(alice.AccessJWT), "server.getAccountInviteCodes", nil)
		}
		rival := func() {
			if got := earn().ok()["codes"].([]any); len(got) != 2 {
				t.Errorf("the concurrent call returned %d codes, want 2", len(got))
			}
		}
		rivalled.before.Store(&rival)
		earn().refused(400, "DuplicateCreate", "attempted to create additional codes in another request")
		if got := earn().ok()["codes"].([]any); len(got) != 2 {
			t.Errorf("%d codes after both calls, want 2", len(got))
		}
	})
}

func TestMailServerDown(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		s.Mail.Fail(errMailDown)
		s.do(bearer(alice.AccessJWT), "server.requestAccountDelete", nil).refused(http.StatusBadGateway, "UpstreamFailure", "The e-mail could not be sent")
		s.do(nobody, "server.requestPasswordReset", object{"email": alice.Email}).ok()
	})
}
