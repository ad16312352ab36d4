package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// Tests of attempts to take over accounts and identities, and to get rid of takedowns.

const signUpMethod = "com.atproto.server.createAccount"

// heldHere is the error for a service token that is signed with a key that this server held for an
// account that is now deleted.
const heldHere = "the jwt was signed with a key that was held here"

// aStolenTokenDoesNotTakeTheDID takes the steps by which a thief with only an access token, without
// the password or the mailbox, could take over a DID for good: delete the account, and sign up
// again with the DID and a service token. Each step is refused on its own; after each refusal the
// test goes on as if the step had succeeded.
func aStolenTokenDoesNotTakeTheDID(t *testing.T, s *api) {
	alice := s.someone()
	stolen, key := bearer(alice.AccessJWT), s.heldKey(alice.DID)
	proof := func() string { return s.serviceToken(key, alice.DID, "server.createAccount") }

	// The server issues no service token for a sign-up at this server.
	for _, aud := range []string{"did:web:localhost", "did:web:LocalHost", "did:web:localhost%23atproto_pds", "did:web:LOCALHOST%23x"} {
		for _, lxm := range []string{signUpMethod, "com.atproto.server.createaccount"} {
			s.do(stolen, "server.getServiceAuth", object{"aud": aud, "lxm": lxm}).
				refused(400, "InvalidRequest", "cannot request a service auth token for the following protected method: "+lxm)
		}
	}
	s.do(stolen, "server.getServiceAuth", object{"aud": "did:web:elsewhere.example.com", "lxm": signUpMethod}).ok()
	if a := s.come(proof(), alice.DID); a.status != 400 && a.status != 401 {
		t.Errorf("sign-up with a DID whose account is here: %d %s", a.status, a.body)
	}

	// Nothing is deleted immediately.
	s.do(stolen, "server.deactivateAccount", object{"deleteAfter": "2000-01-01T00:00:00Z"}).ok()
	s.maintain()
	if !s.exists(alice.DID) {
		t.Error("a stolen token deleted the account immediately")
	}
	s.do(admin, "admin.deleteAccount", object{"did": alice.DID})

	// Signatures by the account's key are refused once the account is deleted.
	s.come(proof(), alice.DID).refused(401, "BadJwtSignature", heldHere)
	if s.exists(alice.DID) {
		t.Error("the thief has an account with the DID")
	}
}

// aPrivilegedAppPasswordDoesNotOutliveTheAccount attempts the same with the session of a privileged
// app password, and a service token issued within the hour before the owner deletes the account.
func aPrivilegedAppPasswordDoesNotOutliveTheAccount(t *testing.T, s *api) {
	alice := s.someone()
	_, app := s.appLogin(alice, "app", true)
	s.do(bearer(app["accessJwt"].(string)), "server.getServiceAuth", object{
		"aud": "did:web:localhost", "lxm": signUpMethod, "exp": s.Clock.Now().Add(time.Hour).Unix(),
	}).refused(400, "InvalidRequest", "cannot request a service auth token for the following protected method: "+signUpMethod)
	proof := s.serviceToken(s.heldKey(alice.DID), alice.DID, "server.createAccount") // as if the server had issued one

	s.do(bearer(alice.AccessJWT), "server.requestAccountDelete", nil).ok()
	s.do(nobody, "server.deleteAccount", object{"did": alice.DID, "password": alice.Password, "token": s.code(alice.Email, deleteMail)}).ok()
	s.Clock.Advance(59 * time.Minute)
	s.come(proof, alice.DID).refused(401, "BadJwtSignature", heldHere)
	if s.exists(alice.DID) {
		t.Error("the thief has an account with the DID")
	}
}

// aReturningAccountSignsNothingBeforeActivation signs up again with the DID of a deleted account
// and a key that the server doesn't have. The account is deactivated, and the server signs no PLC
// operation for it before it is activated and its address is confirmed.
func aReturningAccountSignsNothingBeforeActivation(t *testing.T, s *api) {
	alice := s.cameBack(t)
	me := bearer(alice.AccessJWT)
	request := func() *answer { t.Helper(); return s.do(me, "identity.requestPlcOperationSignature", nil) }
	sign := func(code string) *answer {
		t.Helper()
		return s.do(me, "identity.signPlcOperation", plcInput(alice, code))
	}
	if got := s.do(me, "server.getSession", nil).ok(); got["active"] != false || got["status"] != "deactivated" {
		t.Errorf("getSession: %v", got)
	}

	request().refused(400, "InvalidRequest")
	sign("AAAAA-AAAAA").refused(400, "InvalidRequest")
	s.confirm(alice)
	request().refused(400, "InvalidRequest") // even with a confirmed address
	sign("AAAAA-AAAAA").refused(400, "InvalidRequest")
	s.do(me, "server.activateAccount", nil).refused(400, "InvalidRequest")

	// The owner sets the DID's signing key to the server's again.
	s.nameOurKey(t, alice)
	s.do(me, "server.activateAccount", nil).ok()
	request().ok()
	sign(s.code(alice.Email, plcMail)).ok()

	// Once it has been activated, deactivating it makes no difference.
	s.do(me, "server.deactivateAccount", object{}).ok()
	request().ok()
}

// anUnconfirmedAddressSignsNothingForAnExistingDID checks that an account that signed up with an
// existing DID needs a confirmed address, since whoever signed up chose the address.
func anUnconfirmedAddressSignsNothingForAnExistingDID(t *testing.T, s *api) {
	alice := s.cameBack(t)
	me := bearer(alice.AccessJWT)
	s.nameOurKey(t, alice)
	s.do(me, "server.activateAccount", nil).ok()
	for _, a := range []*answer{
		s.do(me, "identity.requestPlcOperationSignature", nil),
		s.do(me, "identity.signPlcOperation", object{"token": "AAAAA-AAAAA"}),
	} {
		a.refused(400, "InvalidRequest")
		if message, _ := a.object["message"].(string); !strings.Contains(message, "has to be confirmed") {
			t.Errorf("%s: %s", a.method, a.body)
		}
	}
	s.confirm(alice)
	s.do(me, "identity.requestPlcOperationSignature", nil).ok()
	s.do(me, "identity.signPlcOperation", plcInput(alice, s.code(alice.Email, plcMail))).ok()
}

// anAddressThatASessionChangedSignsNothingForThreeDays checks that codes to a new address are not
// trusted yet if a session changed the address without a code to the old one.
func anAddressThatASessionChangedSignsNothingForThreeDays(t *testing.T, s *api) {
	alice := s.someone()
	alice.Email = "another-" + alice.Email
	s.do(bearer(alice.AccessJWT), "server.updateEmail", object{"email": alice.Email}).ok()
	s.confirm(alice)
	refused := func() {
		t.Helper()
		s.again(alice)
		s.do(bearer(alice.AccessJWT), "identity.requestPlcOperationSignature", nil).refused(400, "InvalidRequest")
		s.do(bearer(alice.AccessJWT), "identity.signPlcOperation", object{"token": "AAAAA-AAAAA"}).refused(400, "InvalidRequest")
	}
	refused()
	s.Clock.Advance(71 * time.Hour)
	refused()
	s.Clock.Advance(time.Hour)
	s.again(alice)
	s.do(bearer(alice.AccessJWT), "identity.requestPlcOperationSignature", nil).ok()
	s.do(bearer(alice.AccessJWT), "identity.signPlcOperation", plcInput(alice, s.code(alice.Email, plcMail))).ok()
}

// aLabelersKeyIsNotTheAccounts checks that the labeler's key of a DID can't sign up with the DID,
// since the owner may have given it to somebody who only runs the labeler.
func aLabelersKeyIsNotTheAccounts(t *testing.T, s *api) {
	outsider := s.outsider()
	id := outsider.id.String()
	labeler := s.serviceToken(outsider.label, id+"#atproto_labeler", "server.createAccount")
	s.come(labeler, id).refused(401, "UntrustedIss", "Untrusted issuer")
	s.come(s.serviceToken(outsider.label, id, "server.createAccount"), id).refused(401, "BadJwtSignature")
	s.come(s.serviceToken(outsider.key, id+"#atproto_labeler", "server.createAccount"), id).refused(401, "UntrustedIss", "Untrusted issuer")
	s.come(s.serviceToken(outsider.key, id+"#atproto_pds", "server.createAccount"), id).refused(401, "UntrustedIss", "Untrusted issuer")
	if s.exists(id) {
		t.Error("a labeler has an account with the DID")
	}
	s.Clock.Advance(time.Minute) // after a bad signature the document is read again, but not too often
	s.come(s.serviceToken(outsider.key, id, "server.createAccount"), id).ok()
}

// aServiceTokenSignsUpOnce uses a token for a second sign-up after the first account was deleted.
func aServiceTokenSignsUpOnce(t *testing.T, s *api) {
	outsider := s.outsider()
	id := outsider.id.String()
	proof := s.serviceToken(outsider.key, id, "server.createAccount")
	s.come(proof, id).ok()
	s.do(admin, "admin.deleteAccount", object{"did": id}).ok()
	if a := s.come(proof, id); a.status != 401 {
		t.Errorf("a sign-up with a used token: %d %s; want 401", a.status, a.body)
	}
	s.come(s.serviceToken(outsider.key, id, "server.createAccount"), id).ok()
}

// deactivate deactivates an account and asks for its deletion at a time.
func (s *api) deactivate(token string, deleteAfter time.Time) *answer {
	s.t.Helper()
	return s.do(bearer(token), "server.deactivateAccount", object{"deleteAfter": deleteAfter.UTC().Format(time.RFC3339)})
}

// deletionIsNoSoonerThanInThreeDays checks that a deletion that was asked for sooner is scheduled
// in three days, and that the owner is notified immediately and a day before.
func deletionIsNoSoonerThanInThreeDays(t *testing.T, s *api) {
	const day = 24 * time.Hour
	now := s.Clock.Now()
	wishes := map[string]time.Time{
		"long.test": time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), "yesterday.test": now.Add(-day), "now.test": now,
		"tomorrow.test": now.Add(day), "later.test": now.Add(5 * day),
	}
	all := map[string]*gatehousetest.Account{}
	for handle, wish := range wishes {
		all[handle] = s.signUp(handle)
		s.deactivate(all[handle].AccessJWT, wish).ok()
	}
	exist := func(when string, want func(handle string) bool) {
		t.Helper()
		s.maintain()
		for handle, a := range all {
			if s.exists(a.DID) != want(handle) {
				t.Errorf("%s: %s exists: %v, want %v", when, handle, !want(handle), want(handle))
			}
		}
	}
	everybody := func(string) bool { return true }
	exist("immediately", everybody)
	for _, a := range all {
		s.told(a.Email, "going to be deleted")
	}
	s.Clock.Advance(2*day - time.Minute)
	exist("after less than two days", everybody)
	s.Clock.Advance(2 * time.Minute)
	exist("after two days", everybody)
	for handle, a := range all {
		if handle != "later.test" {
			s.told(a.Email, "deleted soon")
		}
	}
	s.Clock.Advance(day - 2*time.Minute)
	exist("after less than three days", everybody)
	s.Clock.Advance(2 * time.Minute)
	exist("after three days", func(handle string) bool { return handle == "later.test" })
	s.Clock.Advance(day)
	exist("after four days", func(handle string) bool { return handle == "later.test" })
	s.told(all["later.test"].Email, "deleted soon")
	s.Clock.Advance(day)
	exist("after five days", func(string) bool { return false })
	for handle, a := range all {
		if n := len(s.mails(a.Email, "deleted soon")); n != 1 {
			t.Errorf("%s was reminded %d times, want once", handle, n)
		}
	}
}

// whatCancelsADeletion checks that a login with the account password and a takedown cancel a
// scheduled deletion, and that nothing else that a thief or an app could do does.
func whatCancelsADeletion(t *testing.T, s *api) {
	cases := map[string]struct {
		do   func(a *gatehousetest.Account, app string)
		kept bool
	}{
		"nothing": {func(*gatehousetest.Account, string) {}, false},
		"a login with the password": {func(a *gatehousetest.Account, _ string) {
			if got := s.login(a.Handle, a.Password).ok(); got["status"] != "deactivated" {
				t.Errorf("createSession: %v", got)
			}
		}, true},
		"a login with an app password": {func(a *gatehousetest.Account, app string) { s.login(a.Handle, app).ok() }, false},
		"a login with a wrong password": {func(a *gatehousetest.Account, _ string) {
			s.login(a.Handle, "wrong").refused(401, "AuthenticationRequired")
		}, false},
		"a request and a refresh": {func(a *gatehousetest.Account, _ string) {
			s.do(bearer(a.AccessJWT), "server.getSession", nil).ok()
			s.do(bearer(a.RefreshJWT), "server.refreshSession", nil).ok()
		}, false},
		"a takedown": {func(a *gatehousetest.Account, _ string) { s.takeDown(a.DID, "case 1") }, true},
		"a takedown that was lifted": {func(a *gatehousetest.Account, _ string) {
			s.takeDown(a.DID, "case 1")
			s.lift(a.DID)
		}, true},
	}
	all := map[string]*gatehousetest.Account{}
	for name, c := range cases {
		a := s.someone()
		app, _ := s.appLogin(a, "app", false)
		s.deactivate(a.AccessJWT, s.Clock.Now().Add(4*24*time.Hour)).ok()
		c.do(a, app)
		all[name] = a
	}
	s.Clock.Advance(5 * 24 * time.Hour)
	s.maintain()
	for name, a := range all {
		if kept := cases[name].kept; s.exists(a.DID) != kept {
			t.Errorf("after %s the account exists: %v, want %v", name, !kept, kept)
		}
	}
}

// noScheduledDeletionDuringATakedown checks that an account that is taken down can deactivate
// itself but can't schedule its deletion, which would remove the takedown.
func noScheduledDeletionDuringATakedown(t *testing.T, s *api) {
	alice := s.someone()
	_, app := s.appLogin(alice, "app", true)
	s.deactivate(app["accessJwt"].(string), s.Clock.Now()).refused(400, "InvalidToken", "Bad token scope")
	s.takeDown(alice.DID, "case 1")
	leaving := s.leave(alice).text("accessJwt")
	for _, wish := range []time.Time{s.Clock.Now().Add(-time.Hour), s.Clock.Now().Add(1000 * time.Hour)} {
		s.deactivate(leaving, wish).refused(400, "InvalidToken", "Bad token scope")
	}
	s.do(bearer(leaving), "server.deactivateAccount", object{}).ok()
	s.Clock.Advance(2000 * time.Hour)
	s.maintain()
	s.stillDown(alice, "case 1")
}

// stillDown checks that getSubjectStatus shows a DID as taken down, whether or not the account
// exists.
func (s *api) stillDown(a *gatehousetest.Account, ref string) {
	s.t.Helper()
	got := s.do(admin, "admin.getSubjectStatus", object{"did": a.DID})
	takedown, _ := got.object["takedown"].(object)
	if got.status != 200 || takedown["applied"] != true || takedown["ref"] != ref {
		s.t.Errorf("getSubjectStatus: %d %s; want a takedown with the reference %q", got.status, got.body, ref)
	}
}

// aScheduledDeletionDoesNotRemoveATakedown checks that a takedown cancels a scheduled deletion.
func aScheduledDeletionDoesNotRemoveATakedown(t *testing.T, s *api) {
	alice := s.someone()
	s.deactivate(alice.AccessJWT, s.Clock.Now().Add(100*time.Hour)).ok()
	s.takeDown(alice.DID, "case 1")
	s.Clock.Advance(1000 * time.Hour)
	s.maintain()
	s.stillDown(alice, "case 1")
}

// anEarlierCodeDoesNotRemoveATakedown checks that a takedown voids codes that were mailed before,
// so that only admins can delete the account.
func anEarlierCodeDoesNotRemoveATakedown(t *testing.T, s *api) {
	alice := s.someone()
	s.do(bearer(alice.AccessJWT), "server.requestAccountDelete", nil).ok()
	s.do(nobody, "server.requestPasswordReset", object{"email": alice.Email}).ok()
	code, reset := s.code(alice.Email, deleteMail), s.code(alice.Email, resetMail)
	remove := func(password string) *answer {
		t.Helper()
		return s.do(nobody, "server.deleteAccount", object{"did": alice.DID, "password": password, "token": code})
	}
	s.takeDown(alice.DID, "case 1")
	remove("wrong").refused(401, "AuthenticationRequired", "Invalid did or password")
	remove(alice.Password).refused(401, "AccountTakedown", "Account has been taken down")
	s.stillDown(alice, "case 1")
	s.do(nobody, "server.resetPassword", object{"token": reset, "password": "another"}).refused(400, "InvalidToken", "Token is invalid")

	// The codes stay void after the takedown is lifted.
	s.lift(alice.DID)
	remove(alice.Password).refused(400, "InvalidToken", "Token is invalid")
	s.do(nobody, "server.resetPassword", object{"token": reset, "password": "another"}).refused(400, "InvalidToken", "Token is invalid")
	if !s.exists(alice.DID) {
		t.Error("the account was deleted")
	}
}

// signingUpAgainDoesNotRemoveATakedown signs up with the DID of an account that an admin deleted
// while it was taken down.
func signingUpAgainDoesNotRemoveATakedown(t *testing.T, s *api) {
	alice := s.someone()
	s.takeDown(alice.DID, "case 1")
	s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
	s.stillDown(alice, "case 1") // although there is no account
	outside := s.takeKey(t, alice.DID)
	come := func() newcomer {
		t.Helper()
		return s.come(s.serviceToken(outside, alice.DID, "server.createAccount"), alice.DID)
	}
	back := come()
	if !strings.Contains(string(claimsOf(t, back.text("accessJwt"))), `"com.atproto.takendown"`) {
		t.Error("the access token doesn't have the scope of an account that is taken down")
	}
	if got := s.do(bearer(back.text("accessJwt")), "server.getSession", nil).ok(); got["active"] != false || got["status"] != "takendown" {
		t.Errorf("getSession: %v", got)
	}
	s.stillDown(alice, "case 1")
	s.login(alice.DID, back.account.Password).refused(401, "AccountTakedown")
	s.do(bearer(back.text("accessJwt")), "server.activateAccount", nil).refused(400, "InvalidToken", "Bad token scope")
	s.do(bearer(back.text("refreshJwt")), "server.refreshSession", nil).refused(401, "AccountTakedown")

	// The same again, but an admin lifts the takedown while there is no account.
	s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
	s.stillDown(alice, "case 1")
	if a := s.do(admin, "admin.updateSubjectStatus", object{"subject": repoRef(alice.DID), "takedown": object{"applied": false}}); a.status != 200 {
		t.Errorf("updateSubjectStatus without an account: %d %s", a.status, a.body)
	}
	back = come()
	if !strings.Contains(string(claimsOf(t, back.text("accessJwt"))), `"com.atproto.access"`) {
		t.Error("the access token doesn't have full access after the takedown was lifted")
	}
	s.login(alice.DID, back.account.Password).ok()
}

// TestTakeoversFail runs the attempts to take over an account or a DID, on one server.
func TestTakeoversFail(t *testing.T) {
	t.Parallel()
	onEachStage(t, []scene{
		{"a stolen token does not take the DID", aStolenTokenDoesNotTakeTheDID},
		{"a privileged app password does not outlive the account", aPrivilegedAppPasswordDoesNotOutliveTheAccount},
		{"a returning account signs nothing before activation", aReturningAccountSignsNothingBeforeActivation},
		{"an unconfirmed address signs nothing for an existing DID", anUnconfirmedAddressSignsNothingForAnExistingDID},
		{"an address that a session changed signs nothing for three days", anAddressThatASessionChangedSignsNothingForThreeDays},
		{"a labeler's key is not the account's", aLabelersKeyIsNotTheAccounts},
		{"a service token signs up once", aServiceTokenSignsUpOnce},
		{"deletion is no sooner than in three days", deletionIsNoSoonerThanInThreeDays},
		{"what cancels a deletion", whatCancelsADeletion},
		{"a reset revokes earlier credentials", aResetRevokesEarlierCredentials},
		{"a new password voids earlier codes", aNewPasswordVoidsEarlierCodes},
	}, withRotationKey)
}

// TestTakedownsStick tries to get rid of a takedown by having the account deleted, in several ways.
func TestTakedownsStick(t *testing.T) {
	t.Parallel()
	onEachStage(t, []scene{
		{"scheduling a deletion", noScheduledDeletionDuringATakedown},
		{"a deletion scheduled earlier", aScheduledDeletionDoesNotRemoveATakedown},
		{"a code mailed earlier", anEarlierCodeDoesNotRemoveATakedown},
		{"signing up again with the DID", signingUpAgainDoesNotRemoveATakedown},
	}, withRotationKey)
}

// TestATakedownReservesTheHandleOfAWebDID checks that nobody can take the handle of a deleted
// account whose did:web is taken down, since a sign-up with the handle would get the same DID.
func TestATakedownReservesTheHandleOfAWebDID(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		s.takeDown(alice.DID, "case 1")
		s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
		available := func() bool {
			t.Helper()
			free, _ := s.offered("alice.test")
			return free
		}
		again := object{"handle": "alice.test", "email": alice.Email, "password": alice.Password}
		if available() {
			t.Error("checkHandleAvailability says that the handle is available")
		}
		s.do(nobody, "server.createAccount", again).refused(400, "HandleNotAvailable")
		s.stillDown(alice, "case 1")
		if a := s.do(admin, "admin.updateSubjectStatus", object{"subject": repoRef(alice.DID), "takedown": object{"applied": false}}); a.status != 200 {
			t.Errorf("updateSubjectStatus without an account: %d %s", a.status, a.body)
		}
		if !available() {
			t.Error("the handle isn't available after the takedown was lifted")
		}
		s.do(nobody, "server.createAccount", again).ok()
	}, config(func(c *gatehouse.Config) { c.DIDs.Method = gatehouse.DIDWeb }))
}

// aResetRevokesEarlierCredentials checks that the first reset that proves an address revokes app
// passwords: somebody may have signed up with another person's address, created an app password,
// and waited for that person to reset the password and use the account.
func aResetRevokesEarlierCredentials(t *testing.T, s *api) {
	for _, confirmed := range []bool{false, true} {
		alice := s.someone()
		if confirmed {
			s.confirm(alice)
		}
		app, session := s.appLogin(alice, "app", false)
		s.do(nobody, "server.requestPasswordReset", object{"email": alice.Email}).ok()
		s.do(nobody, "server.resetPassword", object{"token": s.code(alice.Email, resetMail), "password": "another password"}).ok()
		s.do(bearer(alice.AccessJWT), "server.getSession", nil).refused(400, "ExpiredToken", "Token has been revoked")
		s.do(bearer(session["accessJwt"].(string)), "server.getSession", nil).refused(400, "ExpiredToken", "Token has been revoked")
		left := 0
		if confirmed {
			left = 1
			s.login(alice.Handle, app).ok()
		} else {
			s.login(alice.Handle, app).refused(401, "AuthenticationRequired", "Invalid identifier or password")
		}
		me := s.login(alice.Handle, "another password")
		if me.ok()["emailConfirmed"] != true {
			t.Errorf("the address isn't confirmed after a reset with a code mailed to it: %s", me.body)
		}
		if got := s.do(bearer(me.text("accessJwt")), "server.listAppPasswords", nil).ok()["passwords"].([]any); len(got) != left {
			t.Errorf("%d app passwords are left, want %d (address confirmed before the reset: %v)", len(got), left, confirmed)
		}
	}
}

// aNewPasswordVoidsEarlierCodes requests codes of every kind, changes the password, and checks that
// none of the codes is valid any more.
func aNewPasswordVoidsEarlierCodes(t *testing.T, s *api) {
	byAdmin := func(a *gatehousetest.Account) {
		s.do(admin, "admin.updateAccountPassword", object{"did": a.DID, "password": "another password"}).ok()
	}
	for name, change := range map[string]func(a *gatehousetest.Account, reset string){
		"revokeAccountCredentials": func(a *gatehousetest.Account, _ string) {
			s.do(admin, "temp.revokeAccountCredentials", object{"account": a.DID}).ok()
			byAdmin(a)
		},
		"a password that an admin set": func(a *gatehousetest.Account, _ string) { byAdmin(a) },
		"a reset": func(a *gatehousetest.Account, reset string) {
			s.do(nobody, "server.resetPassword", object{"token": reset, "password": "another password"}).ok()
		},
	} {
		alice := s.someone()
		s.confirm(alice)
		me := bearer(alice.AccessJWT)
		s.do(me, "server.updateEmail", object{"email": alice.Email, "emailAuthFactor": true}).ok()
		for _, method := range []string{
			"server.requestAccountDelete", "server.requestEmailConfirmation", "server.requestEmailUpdate", "identity.requestPlcOperationSignature",
		} {
			s.do(me, method, nil).ok()
		}
		s.do(nobody, "server.requestPasswordReset", object{"email": alice.Email}).ok()
		s.login(alice.Handle, alice.Password).refused(401, "AuthFactorTokenRequired")
		codes := map[string]string{}
		for _, kind := range []string{resetMail, deleteMail, updateMail, plcMail, signInMail} {
			codes[kind] = s.code(alice.Email, kind)
		}
		codes[confirmMail] = s.codes(2, alice.Email, confirmMail)[1]
		change(alice, codes[resetMail])

		login := object{"identifier": alice.Handle, "password": "another password", "authFactorToken": codes[signInMail]}
		void := func(a *answer) {
			t.Helper()
			if a.status != 400 || a.object["error"] != "InvalidToken" {
				t.Errorf("after %s, %s with an earlier code: %d %s; want InvalidToken", name, a.method, a.status, a.body)
			}
		}
		void(s.do(nobody, "server.createSession", login))
		void(s.do(nobody, "server.resetPassword", object{"token": codes[resetMail], "password": "a third"}))
		delete(login, "authFactorToken")
		s.do(nobody, "server.createSession", login).refused(401, "AuthFactorTokenRequired")
		login["authFactorToken"] = s.codes(2, alice.Email, signInMail)[1]
		me = bearer(s.do(nobody, "server.createSession", login).text("accessJwt"))
		void(s.do(me, "server.confirmEmail", object{"email": alice.Email, "token": codes[confirmMail]}))
		void(s.do(me, "identity.signPlcOperation", object{"token": codes[plcMail]}))
		void(s.do(nobody, "server.deleteAccount", object{"did": alice.DID, "password": "another password", "token": codes[deleteMail]}))
		if s.exists(alice.DID) {
			void(s.do(me, "server.updateEmail", object{"email": "new-" + alice.Email, "token": codes[updateMail]}))
		}
	}
}
