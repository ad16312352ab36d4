package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// What thieves tried, to get into accounts and identities and to keep them.

const signUpMethod = "com.atproto.server.createAccount"

// heldHere is what the signatures of an account's time here are worth after it.
const heldHere = "the jwt was signed with a key that was held here"

// aStolenTokenDoesNotTakeTheDID goes the way by which an access token, with neither password nor
// mailbox, was enough to own a DID for good. Each step is refused by itself; where one is refused,
// the test goes on as if it had been taken.
func aStolenTokenDoesNotTakeTheDID(t *testing.T, s *api) {
	alice := s.someone()
	stolen, key := bearer(alice.AccessJWT), s.heldKey(alice.DID)
	proof := func() string { return s.serviceToken(key, alice.DID, "server.createAccount") }

	// A token for signing up here is of no use to an account that lives here.
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

	// Nothing is deleted at once.
	s.do(stolen, "server.deactivateAccount", object{"deleteAfter": "2000-01-01T00:00:00Z"}).ok()
	s.maintain()
	if !s.exists(alice.DID) {
		t.Error("a stolen token deleted the account at once")
	}
	s.do(admin, "admin.deleteAccount", object{"did": alice.DID})

	// What the account's key signed is void when the account is gone.
	s.come(proof(), alice.DID).refused(401, "BadJwtSignature", heldHere)
	if s.exists(alice.DID) {
		t.Error("a thief has an account with the DID")
	}
}

// aPrivilegedAppPasswordDoesNotOutliveTheAccount is the same by the token of a privileged app
// password, made within the hour before the owner deletes the account.
func aPrivilegedAppPasswordDoesNotOutliveTheAccount(t *testing.T, s *api) {
	alice := s.someone()
	_, app := s.appLogin(alice, "app", true)
	s.do(bearer(app["accessJwt"].(string)), "server.getServiceAuth", object{
		"aud": "did:web:localhost", "lxm": signUpMethod, "exp": s.Clock.Now().Add(time.Hour).Unix(),
	}).refused(400, "InvalidRequest", "cannot request a service auth token for the following protected method: "+signUpMethod)
	proof := s.serviceToken(s.heldKey(alice.DID), alice.DID, "server.createAccount") // as one was before this was refused

	s.do(bearer(alice.AccessJWT), "server.requestAccountDelete", nil).ok()
	s.do(nobody, "server.deleteAccount", object{"did": alice.DID, "password": alice.Password, "token": s.code(alice.Email, deleteMail)}).ok()
	s.Clock.Advance(59 * time.Minute)
	s.come(proof, alice.DID).refused(401, "BadJwtSignature", heldHere)
	if s.exists(alice.DID) {
		t.Error("a thief has an account with the DID")
	}
}

// whoComesBackMayNoMore has the owner of a DID come back by a key from outside. The account is
// deactivated, and signs nothing for the DID before it has been activated, nor while nobody has
// confirmed the address that gets the codes.
func whoComesBackMayNoMore(t *testing.T, s *api) {
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
	request().refused(400, "InvalidRequest") // also with a confirmed address
	sign("AAAAA-AAAAA").refused(400, "InvalidRequest")
	s.do(me, "server.activateAccount", nil).refused(400, "InvalidRequest")

	// The owner has the DID name this server's key again.
	s.nameOurKey(t, alice)
	s.do(me, "server.activateAccount", nil).ok()
	request().ok()
	sign(s.code(alice.Email, plcMail)).ok()

	// It was activated once: to be deactivated changes nothing.
	s.do(me, "server.deactivateAccount", object{}).ok()
	request().ok()
}

// anUnconfirmedAddressSignsNothingForADIDThatCame: whoever signed up with the DID chose the
// address.
func anUnconfirmedAddressSignsNothingForADIDThatCame(t *testing.T, s *api) {
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

// anAddressThatASessionChangedSignsNothingForThreeDays: nobody was asked at the old address, so the
// codes that go to the new one prove no more than the session does.
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

// aLabelersKeyIsNotTheAccounts: a DID may give the key of its labeler to somebody who is to have no
// more than that.
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
	s.Clock.Advance(time.Minute) // a bad signature has the document be read anew, and not too often
	s.come(s.serviceToken(outsider.key, id, "server.createAccount"), id).ok()
}

// aServiceTokenSignsUpOnce uses a token twice, with an account in between that was deleted.
func aServiceTokenSignsUpOnce(t *testing.T, s *api) {
	outsider := s.outsider()
	id := outsider.id.String()
	proof := s.serviceToken(outsider.key, id, "server.createAccount")
	s.come(proof, id).ok()
	s.do(admin, "admin.deleteAccount", object{"did": id}).ok()
	if a := s.come(proof, id); a.status != 401 {
		t.Errorf("a token that was used: %d %s", a.status, a.body)
	}
	s.come(s.serviceToken(outsider.key, id, "server.createAccount"), id).ok()
}

// deactivate deactivates an account, with a wish when to be deleted.
func (s *api) deactivate(token string, deleteAfter time.Time) *answer {
	s.t.Helper()
	return s.do(bearer(token), "server.deactivateAccount", object{"deleteAfter": deleteAfter.UTC().Format(time.RFC3339)})
}

// deletionIsNoSoonerThanInThreeDays: a wish to be deleted sooner is moved there, and the owner is
// told at once and a day before.
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
				t.Errorf("%s: %s is there: %v", when, handle, !want(handle))
			}
		}
	}
	everybody := func(string) bool { return true }
	exist("at once", everybody)
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
			t.Errorf("%s was reminded %d times", handle, n)
		}
	}
}

// whatCallsADeletionOff: a login with the account password does, and a takedown; what a thief or an
// app may do, doesn't.
func whatCallsADeletionOff(t *testing.T, s *api) {
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
			t.Errorf("after %s the account is there: %v; want %v", name, !kept, kept)
		}
	}
}

// whoIsTakenDownMayNotAskForDeletion: its token is for leaving, and the takedown is to stay.
func whoIsTakenDownMayNotAskForDeletion(t *testing.T, s *api) {
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

// stillDown demands that admins see an account's DID as taken down, whether or not there is an
// account.
func (s *api) stillDown(a *gatehousetest.Account, ref string) {
	s.t.Helper()
	got := s.do(admin, "admin.getSubjectStatus", object{"did": a.DID})
	takedown, _ := got.object["takedown"].(object)
	if got.status != 200 || takedown["applied"] != true || takedown["ref"] != ref {
		s.t.Errorf("getSubjectStatus: %d %s; want a takedown with the reference %q", got.status, got.body, ref)
	}
}

// aScheduledDeletionDoesNotWashATakedownOff: it was due, and is off.
func aScheduledDeletionDoesNotWashATakedownOff(t *testing.T, s *api) {
	alice := s.someone()
	s.deactivate(alice.AccessJWT, s.Clock.Now().Add(100*time.Hour)).ok()
	s.takeDown(alice.DID, "case 1")
	s.Clock.Advance(1000 * time.Hour)
	s.maintain()
	s.stillDown(alice, "case 1")
}

// aCodeFromBeforeDoesNotWashATakedownOff: codes end with the takedown, and only admins delete the
// account.
func aCodeFromBeforeDoesNotWashATakedownOff(t *testing.T, s *api) {
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

	// The codes are void for good.
	s.lift(alice.DID)
	remove(alice.Password).refused(400, "InvalidToken", "Token is invalid")
	s.do(nobody, "server.resetPassword", object{"token": reset, "password": "another"}).refused(400, "InvalidToken", "Token is invalid")
	if !s.exists(alice.DID) {
		t.Error("the account is gone")
	}
}

// comingBackDoesNotWashATakedownOff has an admin delete an account that is taken down, and its
// owner come back with the DID.
func comingBackDoesNotWashATakedownOff(t *testing.T, s *api) {
	alice := s.someone()
	s.takeDown(alice.DID, "case 1")
	s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
	s.stillDown(alice, "case 1") // as admins see it, while there is no account
	outside := s.takeKey(t, alice.DID)
	come := func() newcomer {
		t.Helper()
		return s.come(s.serviceToken(outside, alice.DID, "server.createAccount"), alice.DID)
	}
	back := come()
	if !strings.Contains(string(claimsOf(t, back.text("accessJwt"))), `"com.atproto.takendown"`) {
		t.Error("who comes back has a token of another scope")
	}
	if got := s.do(bearer(back.text("accessJwt")), "server.getSession", nil).ok(); got["active"] != false || got["status"] != "takendown" {
		t.Errorf("getSession: %v", got)
	}
	s.stillDown(alice, "case 1")
	s.login(alice.DID, back.account.Password).refused(401, "AccountTakedown")
	s.do(bearer(back.text("accessJwt")), "server.activateAccount", nil).refused(400, "InvalidToken", "Bad token scope")
	s.do(bearer(back.text("refreshJwt")), "server.refreshSession", nil).refused(401, "AccountTakedown")

	// Once more, and then admins lift it while there is no account.
	s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
	s.stillDown(alice, "case 1")
	if a := s.do(admin, "admin.updateSubjectStatus", object{"subject": repoRef(alice.DID), "takedown": object{"applied": false}}); a.status != 200 {
		t.Errorf("updateSubjectStatus without an account: %d %s", a.status, a.body)
	}
	back = come()
	if !strings.Contains(string(claimsOf(t, back.text("accessJwt"))), `"com.atproto.access"`) {
		t.Error("a takedown that was lifted still has its effect")
	}
	s.login(alice.DID, back.account.Password).ok()
}

// TestTakeoversFail has all of it on one server.
func TestTakeoversFail(t *testing.T) {
	t.Parallel()
	onEachStage(t, []scene{
		{"a stolen token does not take the DID", aStolenTokenDoesNotTakeTheDID},
		{"a privileged app password does not outlive the account", aPrivilegedAppPasswordDoesNotOutliveTheAccount},
		{"who comes back may no more", whoComesBackMayNoMore},
		{"an unconfirmed address signs nothing for a DID that came", anUnconfirmedAddressSignsNothingForADIDThatCame},
		{"an address that a session changed signs nothing for three days", anAddressThatASessionChangedSignsNothingForThreeDays},
		{"a labeler's key is not the account's", aLabelersKeyIsNotTheAccounts},
		{"a service token signs up once", aServiceTokenSignsUpOnce},
		{"deletion is no sooner than in three days", deletionIsNoSoonerThanInThreeDays},
		{"what calls a deletion off", whatCallsADeletionOff},
		{"a reset throws out who came before", aResetThrowsOutWhoCameBefore},
		{"codes from before are void", codesFromBeforeAreVoid},
	}, withRotationKey)
}

// TestTakedownsStick tries to get rid of a takedown by having the account deleted and coming back.
func TestTakedownsStick(t *testing.T) {
	t.Parallel()
	onEachStage(t, []scene{
		{"who is taken down may not ask for deletion", whoIsTakenDownMayNotAskForDeletion},
		{"by a deletion that was due", aScheduledDeletionDoesNotWashATakedownOff},
		{"by a code from before", aCodeFromBeforeDoesNotWashATakedownOff},
		{"by coming back with the DID", comingBackDoesNotWashATakedownOff},
	}, withRotationKey)
}

// TestATakedownKeepsTheNameOfAWebDID: where the DID follows from the handle, whoever takes the
// handle has the DID.
func TestATakedownKeepsTheNameOfAWebDID(t *testing.T) {
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
			t.Error("the handle is said to be available")
		}
		s.do(nobody, "server.createAccount", again).refused(400, "HandleNotAvailable")
		s.stillDown(alice, "case 1")
		if a := s.do(admin, "admin.updateSubjectStatus", object{"subject": repoRef(alice.DID), "takedown": object{"applied": false}}); a.status != 200 {
			t.Errorf("updateSubjectStatus without an account: %d %s", a.status, a.body)
		}
		if !available() {
			t.Error("the handle isn't available though the takedown was lifted")
		}
		s.do(nobody, "server.createAccount", again).ok()
	}, config(func(c *gatehouse.Config) { c.DIDs.Method = gatehouse.DIDWeb }))
}

// aResetThrowsOutWhoCameBefore: somebody signs up with an address that isn't theirs, makes an app
// password, and waits for the address's owner to reset the password and move in.
func aResetThrowsOutWhoCameBefore(t *testing.T, s *api) {
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
			t.Errorf("the code came to the address, and it counts as unconfirmed: %s", me.body)
		}
		if got := s.do(bearer(me.text("accessJwt")), "server.listAppPasswords", nil).ok()["passwords"].([]any); len(got) != left {
			t.Errorf("with an address that was confirmed before (%v) %d app passwords are left, want %d", confirmed, len(got), left)
		}
	}
}

// codesFromBeforeAreVoid has codes of every kind mailed, and then the password changed: whoever got
// them before must have nothing that is good after.
func codesFromBeforeAreVoid(t *testing.T, s *api) {
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
				t.Errorf("after %s, %s: %d %s; want an invalid code", name, a.method, a.status, a.body)
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
