package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

func TestEmail(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		s.signUp("bob.test")
		alice := s.signUp("alice.test")
		me := bearer(alice.AccessJWT)
		session := func() object { t.Helper(); return s.do(me, "server.getSession", nil).ok() }
		update := func(input object) *answer { t.Helper(); return s.do(me, "server.updateEmail", input) }
		requestUpdate := func(required bool) {
			t.Helper()
			if got := s.do(me, "server.requestEmailUpdate", nil).ok()["tokenRequired"]; got != required {
				t.Errorf("tokenRequired is %v, want %v", got, required)
			}
		}
		// An unconfirmed address can be changed without a code.
		requestUpdate(false)
		update(object{"email": "nonsense"}).refused(400, "InvalidRequest", "This email address is not supported, please use a different email.")
		update(object{"email": "BOB@example.com"}).refused(400, "InvalidRequest", "This email address is already in use, please use a different email.")
		update(object{"email": alice.Email, "emailAuthFactor": true}).refused(400, "InvalidRequest")
		update(object{"email": "Alice2@Example.com"}).ok()
		if got := session(); got["email"] != "alice2@example.com" || got["emailConfirmed"] != false {
			t.Errorf("getSession: %v", got)
		}
		// The address is confirmed with a code.
		s.do(me, "server.requestEmailConfirmation", nil).ok()
		code := s.Mail.Code("alice2@example.com")
		confirm := func(email, code string) *answer {
			t.Helper()
			return s.do(me, "server.confirmEmail", object{"email": email, "token": code})
		}
		confirm("alice@example.com", code).refused(400, "InvalidEmail", "invalid email")
		confirm("alice2@example.com", "AAAAA-AAAAA").refused(400, "InvalidToken", "Token is invalid")
		s.Clock.Advance(16 * time.Minute)
		confirm("alice2@example.com", code).refused(400, "ExpiredToken", "Token is expired")
		s.do(me, "server.requestEmailConfirmation", nil).ok()
		confirm("ALICE2@example.com", s.Mail.Code("alice2@example.com")).ok()
		if got := session(); got["emailConfirmed"] != true {
			t.Errorf("getSession: %v", got)
		}
		// A confirmed address can only be changed with a code.
		update(object{"email": "alice3@example.com"}).refused(400, "TokenRequired", "confirmation token required")
		requestUpdate(true)
		code = s.Mail.Code("alice2@example.com")
		update(object{"email": "alice3@example.com", "token": "AAAAA-AAAAA"}).refused(400, "InvalidToken", "Token is invalid")
		s.Clock.Advance(16 * time.Minute)
		update(object{"email": "alice3@example.com", "token": code}).refused(400, "ExpiredToken", "Token is expired")

		// An address that was changed without a code can't become the second factor for three days.
		requestUpdate(true)
		factor := object{"email": "alice2@example.com", "token": s.Mail.Code("alice2@example.com"), "emailAuthFactor": true}
		update(factor).refused(400, "InvalidRequest")
		s.Clock.Advance(72 * time.Hour)
		me = bearer(s.login("alice.test", alice.Password).text("accessJwt"))
		requestUpdate(true)
		factor["token"] = s.Mail.Code("alice2@example.com")
		update(factor).ok()
		if got := session(); got["emailAuthFactor"] != true || got["emailConfirmed"] != true {
			t.Errorf("getSession: %v", got)
		}
		app := s.do(me, "server.createAppPassword", object{"name": "app"}).text("password")
		login := object{"identifier": "alice.test", "password": alice.Password}
		s.login("alice.test", "wrong").refused(401, "AuthenticationRequired", "Invalid identifier or password")
		if codes := s.Mail.Of(mail.SignIn, "alice2@example.com"); len(codes) != 0 {
			t.Errorf("a login with a wrong password sent the codes %v, want none", codes)
		}
		s.do(nobody, "server.createSession", login).refused(401, "AuthFactorTokenRequired")
		code = s.Mail.Code("alice2@example.com")
		login["authFactorToken"] = "AAAAA-AAAAA"
		s.do(nobody, "server.createSession", login).refused(400, "InvalidToken", "Token is invalid")
		login["authFactorToken"] = strings.ToLower(code)
		if got := s.do(nobody, "server.createSession", login).ok(); got["emailAuthFactor"] != true {
			t.Errorf("createSession: %v", got)
		}
		s.do(nobody, "server.createSession", login).refused(400, "InvalidToken", "Token is invalid")
		s.login("alice.test", app).ok() // app passwords need no second factor
		requestUpdate(true)
		update(object{"email": "alice2@example.com", "token": s.Mail.Code("alice2@example.com"), "emailAuthFactor": false}).ok()
		s.login("alice.test", alice.Password).ok()

		// A new address is unconfirmed.
		requestUpdate(true)
		update(object{"email": "alice3@example.com", "token": s.Mail.Code("alice2@example.com")}).ok()
		if got := session(); got["email"] != "alice3@example.com" || got["emailConfirmed"] != false {
			t.Errorf("getSession: %v", got)
		}
		appAccess := s.login("alice.test", app).text("accessJwt")
		s.do(bearer(appAccess), "server.updateEmail", object{"email": "x@example.com"}).refused(400, "InvalidToken", "Bad token scope")
		// A token of a deleted account is refused.
		s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
		confirm("alice3@example.com", "AAAAA-AAAAA").refused(403, "AccountNotFound", "Account not found")
	})
}

func TestDeactivationAndScheduledDeletion(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		me := bearer(alice.AccessJWT)
		status := func(want object) {
			t.Helper()
			got := s.do(me, "server.checkAccountStatus", nil).ok()
			for k, v := range want {
				if got[k] != v {
					t.Errorf("checkAccountStatus: %s is %v, want %v", k, got[k], v)
				}
			}
		}
		status(object{"activated": true, "validDid": true, "repoBlocks": 0.0})
		s.do(me, "server.deactivateAccount", object{"deleteAfter": "yesterday"}).refused(400, "InvalidRequest")
		s.do(me, "server.deactivateAccount", object{"deleteAfter": "9999-12-31T23:59:59-01:00"}).refused(400, "InvalidRequest")
		later := s.Clock.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
		s.do(me, "server.deactivateAccount", object{"deleteAfter": later}).ok()
		status(object{"activated": false, "validDid": true})
		maintain := func() {
			t.Helper()
			if err := s.Gatehouse.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		maintain()
		s.do(me, "server.activateAccount", nil).ok()
		status(object{"activated": true})
		s.Clock.Advance(25 * time.Hour)
		maintain() // the activation has cancelled the deletion
		me = bearer(s.login("alice.test", alice.Password).text("accessJwt"))
		later = s.Clock.Now().Add(73 * time.Hour).UTC().Format(time.RFC3339)
		s.do(me, "server.deactivateAccount", object{"deleteAfter": later}).ok()
		s.Clock.Advance(73 * time.Hour)
		maintain()
		s.login("alice.test", alice.Password).refused(401, "AuthenticationRequired")
		s.signUp("alice.test")
	})
}
