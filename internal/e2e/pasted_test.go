package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
)

// TestIdentifiersAsPasted checks that handles, DIDs and e-mail addresses are accepted as people
// paste and type them, wherever a user or an admin enters one.
func TestIdentifiersAsPasted(t *testing.T) {
	t.Parallel()
	onEachStage(t, []scene{
		{"logins", loginsAsPasted},
		{"new handles", newHandlesAsPasted},
		{"admins' accounts", adminsAccountsAsPasted},
		{"deletion", deletionAsPasted},
		{"methods that only programs call", programsMethodsStayStrict},
	})
}

func loginsAsPasted(t *testing.T, s *api) {
	alice := s.someone()
	spellings := map[string]string{}
	for what, all := range map[string]map[string]string{
		"handle": domaintest.Pasted(alice.Handle), "DID": domaintest.Pasted(alice.DID), "address": domaintest.PastedAnywhere(alice.Email),
	} {
		for name, spelt := range all {
			spellings[what+", "+name] = spelt
		}
	}
	for name, spelt := range spellings {
		if a := s.login(spelt, alice.Password); a.status != 200 || a.object["did"] != alice.DID {
			t.Errorf("%s, %+q: %d %s", name, spelt, a.status, a.body)
		}
	}
	for _, mistake := range []string{
		alice.Handle[:2] + " " + alice.Handle[2:], strings.Replace(alice.Handle, ".", ". ", 1), strings.TrimSuffix(alice.Handle, ".test"),
		"https://bsky.app/" + alice.Handle, "@", "at://", "https://bsky.app/profile/", strings.Replace(alice.Email, "@", " @ ", 1),
	} {
		if a := s.login(mistake, alice.Password); a.status != 401 {
			t.Errorf("%+q: %d %s", mistake, a.status, a.body)
		}
	}
}

func newHandlesAsPasted(t *testing.T, s *api) {
	me, handle := "", ""
	n := 0
	for name, spelt := range domaintest.Pasted("spelt-#.test") {
		n++
		number := func(s string) string {
			return strings.NewReplacer("#", fmt.Sprint(n), "\uFF03", fmt.Sprint(n), "%23", fmt.Sprint(n)).Replace(s)
		}
		spelt, handle = number(spelt), number("spelt-#.test")
		if n%2 == 0 {
			if a := s.do(me, "identity.updateHandle", object{"handle": spelt}); a.status != 200 {
				t.Errorf("updateHandle, %s, %+q: %d %s", name, spelt, a.status, a.body)
				continue
			}
		} else {
			email := fmt.Sprintf("\u202A spelt%d@Example.com\u00A0", n) // with invisible characters, as when copied
			a := s.do(nobody, "server.createAccount", object{"handle": spelt, "email": email, "password": "password"})
			if a.status != 200 || a.object["handle"] != handle {
				t.Errorf("createAccount, %s, %+q: %d %s", name, spelt, a.status, a.body)
				continue
			}
			me = bearer(a.text("accessJwt"))
			if got := s.do(me, "server.getSession", nil).text("email"); got != fmt.Sprintf("spelt%d@example.com", n) {
				t.Errorf("the address %+q became %q", email, got)
			}
		}
		if got := s.do(me, "server.getSession", nil).text("handle"); got != handle {
			t.Errorf("%s, %+q: the handle is %q", name, spelt, got)
		}
		if a := s.do(nobody, "temp.checkHandleAvailability", object{"handle": url.QueryEscape(spelt)}); a.text("handle") != handle {
			t.Errorf("checkHandleAvailability, %s, %+q: %s", name, spelt, a.body)
		}
	}
	for _, mistake := range []string{"al ice.test", "alice .test", "alice", "@", "https://bsky.app/profile/alice", "alice@example.com"} {
		s.do(nobody, "server.createAccount", object{"handle": mistake, "email": "mistake@example.com", "password": "password"}).refused(400, "InvalidRequest", "Input/handle must be a valid handle")
		s.do(me, "identity.updateHandle", object{"handle": mistake}).refused(400, "InvalidRequest", "Input/handle must be a valid handle")
	}
	s.do(admin, "temp.addReservedHandle", object{"handle": "\u2068@Kept-Back.test.\u2069"}).ok()
	s.do(nobody, "server.createAccount", object{"handle": "kept-back.test", "email": "kept@example.com", "password": "password"}).refused(400, "HandleNotAvailable", "Reserved handle")
	s.do(me, "identity.updateHandle", object{"handle": "at://kept-back.test"}).refused(400, "HandleNotAvailable", "Reserved handle")
}

func adminsAccountsAsPasted(t *testing.T, s *api) {
	alice := s.someone()
	ids := func(s string) []string { return slices.Collect(maps.Values(domaintest.Pasted(s))) }
	for i, id := range slices.Concat(ids(alice.DID), ids(alice.Handle)) {
		s.do(admin, "admin.updateAccountEmail", object{"account": id, "email": fmt.Sprintf(" new%d-%s\u200B", i, alice.Email)}).ok()
	}
	for i, id := range ids(alice.DID) {
		s.do(admin, "admin.updateAccountHandle", object{"did": id, "handle": fmt.Sprintf("\u202A@Admin-%d.test\u202C", i)}).ok()
		s.do(admin, "admin.updateAccountPassword", object{"did": id, "password": "another password"}).ok()
		s.do(admin, "admin.disableAccountInvites", object{"account": id}).ok()
		s.do(admin, "admin.enableAccountInvites", object{"account": id}).ok()
		code := s.do(admin, "server.createInviteCode", object{"useCount": 1, "forAccount": id}).text("code")
		s.do(admin, "admin.disableInviteCodes", object{"accounts": []string{id}}).ok()
		own := s.do(admin, "admin.getAccountInfo", object{"did": alice.DID}).ok()["invites"].([]any)
		if !slices.ContainsFunc(own, func(c any) bool { return c.(object)["code"] == code && c.(object)["disabled"] == true }) {
			t.Errorf("%+q: the code %s isn't among the account's disabled ones", id, code)
		}
	}
	s.do(admin, "temp.revokeAccountCredentials", object{"account": "\u2068@" + alice.DID + "\u2069"}).ok()
	for _, action := range []string{"admin.updateAccountEmail", "temp.revokeAccountCredentials", "admin.disableInviteCodes", "server.createInviteCode"} {
		if !s.audited(t, alice.DID, action) {
			t.Errorf("%s is not in the audit log under the DID", action)
		}
	}
	s.do(admin, "admin.updateAccountEmail", object{"account": "@Nobody.test", "email": "x@example.com"}).refused(400, "InvalidRequest", "Account does not exist: nobody.test")
	if page, err := s.Gatehouse.Audit.List(t.Context(), "nobody.test", "", 10); err != nil || len(page.Entries) != 1 {
		t.Errorf("the audit log of an unknown account has %v, %v; want one entry", entries(page), err)
	}
	s.do(admin, "admin.deleteAccount", object{"did": "at://" + strings.ToUpper(alice.DID)}).ok()
	if s.exists(alice.DID) {
		t.Error("the account is still there")
	}
}

func deletionAsPasted(t *testing.T, s *api) {
	for name := range domaintest.Pasted(noSuchDID) {
		alice := s.someone()
		id := domaintest.Pasted(alice.DID)[name]
		s.do(bearer(alice.AccessJWT), "server.requestAccountDelete", nil).ok()
		code := s.code(alice.Email, deleteMail)
		remove := func(did, password string) *answer {
			t.Helper()
			return s.do(nobody, "server.deleteAccount", object{"did": did, "password": password, "token": " " + strings.ToLower(code)})
		}
		remove(alice.Handle, alice.Password).refused(400, "InvalidRequest", "Input/did must be a valid did")
		remove(id, "wrong").refused(401, "AuthenticationRequired", "Invalid did or password")
		if a := remove(id, alice.Password); a.status != 200 || s.exists(alice.DID) {
			t.Errorf("%s, %+q: %d %s", name, id, a.status, a.body)
		}
	}
}

// programsMethodsStayStrict checks that methods that only programs call keep the lexicon's formats.
func programsMethodsStayStrict(t *testing.T, s *api) {
	alice := s.someone()
	for _, id := range []string{"@" + alice.Handle, "at://" + alice.Handle, alice.Handle + ".", "%E2%80%8E" + alice.Handle} {
		s.do(nobody, "identity.resolveHandle", object{"handle": id}).refused(400, "InvalidRequest", "Error: handle must be a valid handle")
		s.do(nobody, "identity.resolveIdentity", object{"identifier": id}).refused(400, "InvalidRequest", "Error: identifier must be a valid did or a handle")
	}
	s.do(nobody, "identity.resolveDid", object{"did": "at://" + alice.DID}).refused(400, "InvalidRequest", "Error: did must be a valid did")
	s.do(nobody, "identity.resolveHandle", object{"handle": strings.ToUpper(alice.Handle)}).ok()
}

// TestNoSpellingMakesASecondAccount checks that a handle or an address that is taken is taken in
// every spelling.
func TestNoSpellingMakesASecondAccount(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		s.signUp("alice.test")
		bob := s.signUp("bob.test")
		for _, spelt := range domaintest.Pasted("alice.test") {
			s.do(nobody, "server.createAccount", object{"handle": spelt, "email": "mallory@example.com", "password": "password"}).refused(400, "HandleNotAvailable", "Handle already taken: alice.test")
			s.rename(bob, spelt).refused(400, "HandleNotAvailable", "Handle already taken: alice.test")
			s.give(bob, spelt).refused(400, "HandleNotAvailable", "Handle already taken: alice.test")
			if available, _ := s.offered(url.QueryEscape(spelt)); available {
				t.Errorf("checkHandleAvailability says that %+q is available", spelt)
			}
		}
		understood := 0
		for _, spelt := range domaintest.PastedAnywhere("alice@example.com") {
			made := s.do(nobody, "server.createAccount", object{"handle": "mallory.test", "email": spelt, "password": "password"})
			changed := s.do(bearer(bob.AccessJWT), "server.updateEmail", object{"email": spelt})
			byAdmin := s.do(admin, "admin.updateAccountEmail", object{"account": bob.DID, "email": spelt})
			if made.object["message"] == badEmail.message {
				for _, a := range []*answer{changed, byAdmin} {
					a.refused(400, "InvalidRequest", badEmail.message)
				}
				continue
			}
			understood++
			if message, _ := made.object["message"].(string); !strings.EqualFold(message, "Email already taken: alice@example.com") || made.status != 400 {
				t.Errorf("%+q: %d %s", spelt, made.status, made.body)
			}
			changed.refused(400, "InvalidRequest", emailInUse.message)
			byAdmin.refused(400, "InvalidRequest", emailInUse.message)
		}
		if understood < 6 {
			t.Errorf("only %d spellings of an address were accepted, want at least 6", understood)
		}
		if all := s.do(admin, "admin.searchAccounts", nil).ok()["accounts"].([]any); len(all) != 2 {
			t.Errorf("there are %d accounts, want 2", len(all))
		}
		// A search term is not an address: its trailing dot is kept.
		s.signUp("carol.test", object{"email": "alice.b@example.com"})
		if all := s.do(admin, "admin.searchAccounts", object{"email": url.QueryEscape("\u202A Alice.")}).ok()["accounts"].([]any); len(all) != 1 {
			t.Errorf("%d accounts have an address that begins with \"alice.\", want 1", len(all))
		}
	})
}

// codeAsPasted returns spellings of an e-mailed code by a description of each.
func codeAsPasted(code string) map[string]string {
	first, second := code[:5], code[6:]
	return map[string]string{
		"lower case":        strings.ToLower(code),
		"without the dash":  first + second,
		"a space":           first + " " + second,
		"a no-break space":  first + "\u00A0" + second,
		"an en dash":        first + "\u2013" + second,
		"a no-break hyphen": " " + first + "\u2011" + strings.ToLower(second) + "\r\n",
		"hidden marks":      "\u202A" + first[:2] + "\u200B" + first[2:] + "\u00AD" + second + "\u202C",
		"the line":          "Your code: " + code + ".",
		"the link":          "https://account-pages.example.com/reset#code=" + code,
		"the text":          "Type this:\n\n" + code + "\n\nor open https://pages.example.com/#code=" + code + "\n",
		"full-width":        strings.Map(func(r rune) rune { return r - '!' + '\uFF01' }, code),
	}
}

// notCodes returns texts that don't have the form of a code, though some begin like the given one.
func notCodes(code string) []string {
	return []string{
		"x", code[:5], code[:6], code[:10], code + "A", code[:5] + "_" + code[6:], code[:6] + "00000", code[:6] + "AAAA1", " - ", "\u200B",
		"Your code " + code[:5] + code[6:], code + " or AAAAA-AAAAA", code + "-AAAAA", strings.Repeat(code, 100), code[:6] + "ÅAAAA",
	}
}

// TestCodesAsPasted checks that e-mailed codes are accepted as people paste and type them, and that
// text without the form of a code doesn't count as a guess.
func TestCodesAsPasted(t *testing.T) {
	t.Parallel()
	scenes := []scene{{"a sign-in", signInCodesAsPasted}}
	for name, use := range codeUses {
		scenes = append(scenes, scene{name, func(t *testing.T, s *api) { codesAsPasted(t, s, use) }})
	}
	onEachStage(t, scenes)
}

// codeUse is a method that takes a code, and the method that has it mailed.
type codeUse struct {
	mail    string
	request func(s *api, a *gatehousetest.Account) *answer
	use     func(s *api, a *gatehousetest.Account, code string) *answer
}

// asking returns a function that requests a code with a method without input.
func asking(method string) func(*api, *gatehousetest.Account) *answer {
	return func(s *api, a *gatehousetest.Account) *answer { return s.do(bearer(a.AccessJWT), method, nil) }
}

var codeUses = map[string]codeUse{
	"a reset": {resetMail, func(s *api, a *gatehousetest.Account) *answer {
		return s.do(nobody, "server.requestPasswordReset", object{"email": a.Email})
	}, func(s *api, _ *gatehousetest.Account, code string) *answer {
		return s.do(nobody, "server.resetPassword", object{"token": code, "password": "another password"})
	}},
	"a confirmation": {confirmMail, asking("server.requestEmailConfirmation"), func(s *api, a *gatehousetest.Account, code string) *answer {
		return s.do(bearer(a.AccessJWT), "server.confirmEmail", object{"email": " @" + strings.ToUpper(a.Email) + "\u200B", "token": code})
	}},
	"a deletion": {deleteMail, asking("server.requestAccountDelete"), func(s *api, a *gatehousetest.Account, code string) *answer {
		return s.do(nobody, "server.deleteAccount", object{"did": a.DID, "password": a.Password, "token": code})
	}},
	"another address": {updateMail, func(s *api, a *gatehousetest.Account) *answer {
		s.confirm(a)
		return s.do(bearer(a.AccessJWT), "server.requestEmailUpdate", nil)
	}, func(s *api, a *gatehousetest.Account, code string) *answer {
		return s.do(bearer(a.AccessJWT), "server.updateEmail", object{"email": "another-" + a.Email, "token": code})
	}},
	"an operation": {plcMail, asking("identity.requestPlcOperationSignature"), func(s *api, a *gatehousetest.Account, code string) *answer {
		return s.do(bearer(a.AccessJWT), "identity.signPlcOperation", object{"token": code, "alsoKnownAs": []string{"at://" + a.Handle, "https://alice.example"}})
	}},
}

func codesAsPasted(t *testing.T, s *api, u codeUse) {
	for name := range codeAsPasted("AAAAA-BBBBB") {
		alice := s.someone()
		u.request(s, alice).ok()
		code := s.code(alice.Email, u.mail)
		for _, bad := range notCodes(code) { // more than the number of guesses that void a code
			u.use(s, alice, bad).refused(400, "InvalidToken", "Token is invalid")
		}
		spelt := codeAsPasted(code)[name]
		if a := u.use(s, alice, spelt); a.status != 200 {
			t.Errorf("%s, %+q: %d %s", name, spelt, a.status, a.body)
		}
		if u.mail == updateMail { // changing an unconfirmed address needs no code
			alice.Email = "another-" + alice.Email
			s.confirm(alice)
		}
		for _, again := range codeAsPasted(code) { // it works once, in whatever spelling
			if a := u.use(s, alice, again); u.mail == deleteMail {
				a.refused(401, "AuthenticationRequired", "Invalid did or password")
			} else {
				a.refused(400, "InvalidToken", "Token is invalid")
			}
		}
	}
	// A takedown voids the code in all spellings, for good. The other methods need a session, which a
	// takedown ends.
	if u.mail == resetMail || u.mail == deleteMail {
		down := s.someone()
		u.request(s, down).ok()
		code := s.code(down.Email, u.mail)
		s.takeDown(down.DID, "case 1")
		for _, spelt := range codeAsPasted(code) {
			if a := u.use(s, down, spelt); u.mail == deleteMail {
				a.refused(401, "AccountTakedown", "Account has been taken down")
			} else {
				a.refused(400, "InvalidToken", "Token is invalid")
			}
		}
		s.lift(down.DID)
		for _, spelt := range codeAsPasted(code) {
			u.use(s, down, spelt).refused(400, "InvalidToken", "Token is invalid")
		}
	}
	// A wrong code counts as a guess in any spelling: the tenth voids the code.
	alice := s.someone()
	u.request(s, alice).ok()
	code := s.code(alice.Email, u.mail)
	n := 0
	for _, wrong := range codeAsPasted(wrongCode(code)) {
		if n++; n <= 10 {
			u.use(s, alice, wrong).refused(400, "InvalidToken", "Token is invalid")
		}
	}
	u.use(s, alice, code).refused(400, "InvalidToken", "Token is invalid")
}

func signInCodesAsPasted(t *testing.T, s *api) {
	alice := s.someone()
	s.confirm(alice)
	s.do(bearer(alice.AccessJWT), "server.updateEmail", object{"email": alice.Email, "emailAuthFactor": true}).ok()
	login := func(code string) *answer {
		t.Helper()
		return s.do(nobody, "server.createSession", object{"identifier": "@" + alice.Handle, "password": alice.Password, "authFactorToken": code})
	}
	mailed := func() string {
		t.Helper()
		n := len(s.coded(alice.Email, signInMail))
		s.login(alice.Handle, alice.Password).refused(401, "AuthFactorTokenRequired")
		return s.codes(n+1, alice.Email, signInMail)[n]
	}
	for name := range codeAsPasted("AAAAA-BBBBB") {
		code := mailed()
		for _, bad := range notCodes(code) {
			login(bad).refused(400, "InvalidToken", "Token is invalid")
		}
		spelt := codeAsPasted(code)[name]
		if a := login(spelt); a.status != 200 {
			t.Errorf("%s, %+q: %d %s", name, spelt, a.status, a.body)
		}
		login(code).refused(400, "InvalidToken", "Token is invalid") // it works once, in whatever spelling
	}
	code := mailed()
	n := 0
	for _, wrong := range codeAsPasted(wrongCode(code)) {
		if n++; n <= 10 {
			login(wrong).refused(400, "InvalidToken", "Token is invalid")
		}
	}
	login(code).refused(400, "InvalidToken", "Token is invalid")
}

// TestInviteCodesAsPasted checks that spaces, invisible characters, capitals and kinds of dashes
// don't matter in an invite code, and that its uses are counted over all spellings.
func TestInviteCodesAsPasted(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		code := s.newCode(3)
		spellings := []string{" " + code + "\r\n", "\u202A" + strings.ToUpper(code) + "\u202C", strings.ReplaceAll(code, "-", "\u2011")}
		for _, spelt := range spellings {
			a := s.do(nobody, "server.createAccount", object{"handle": newHandle(), "email": fmt.Sprintf("%d@example.com", names.Add(1)), "password": "password", "inviteCode": spelt})
			info := s.do(admin, "admin.getAccountInfo", object{"did": a.text("did")}).ok()
			if by, _ := info["invitedBy"].(object); by["code"] != code {
				t.Errorf("%+q: invited by %v, want the code %s", spelt, info["invitedBy"], code)
			}
		}
		again := object{"handle": newHandle(), "email": "fourth@example.com", "password": "password"}
		for _, spelt := range append(spellings, code) { // it is used up
			again["inviteCode"] = spelt
			s.do(nobody, "server.createAccount", again).refused(400, "InvalidInviteCode", "Provided invite code not available")
		}
		other := s.newCode(1)
		s.do(admin, "admin.disableInviteCodes", object{"codes": []string{" " + strings.ToUpper(other)}}).ok()
		for _, spelt := range []string{other, strings.ToUpper(other), other + "\u200B", strings.ReplaceAll(other, "-", "\u2013")} {
			again["inviteCode"] = spelt
			s.do(nobody, "server.createAccount", again).refused(400, "InvalidInviteCode", "Provided invite code not available")
		}
		if !s.audited(t, other, "admin.disableInviteCodes") {
			t.Error("the audit log doesn't have the code in its original spelling")
		}
		for _, not := range []string{strings.ReplaceAll(code, "-", ""), "code: " + code} {
			again["inviteCode"] = not
			s.do(nobody, "server.createAccount", again).refused(400, "InvalidInviteCode", "Provided invite code not available")
		}
	})
}

// TestAppPasswordsAsPasted checks that a password with the form of an app password, apart from
// case, spaces and dashes, is tried as one, and then literally, since account passwords are exact.
func TestAppPasswordsAsPasted(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice, bob := s.signUp("alice.test"), s.signUp("bob.test")
		app, _ := s.appLogin(alice, "app", false)
		plain := strings.ReplaceAll(app, "-", "")
		spellings := []string{
			strings.ToUpper(app), " " + app + "\n", plain, strings.ReplaceAll(app, "-", " "), strings.ReplaceAll(app, "-", "\u2013"),
			strings.ToUpper(plain), "\u202A" + app + "\u202C", plain[:8] + "\u00AD" + plain[8:],
		}
		for _, spelt := range spellings {
			a := s.login(alice.Handle, spelt)
			if a.status != 200 || !strings.Contains(string(claimsOf(t, a.text("accessJwt"))), `"com.atproto.appPass"`) {
				t.Errorf("%+q: %d %s", spelt, a.status, a.body)
			}
			s.login(bob.Handle, spelt).refused(401, "AuthenticationRequired", "Invalid identifier or password")
		}
		for _, not := range []string{app[:18], app + "a", strings.ReplaceAll(app, "-", "_"), plain[:3] + "-" + plain[3:], "app password: " + app} {
			s.login(alice.Handle, not).refused(401, "AuthenticationRequired", "Invalid identifier or password")
		}
		// While the account is taken down the app password can't log in, not even with allowTakendown,
		// and neither can it once it is revoked.
		s.takeDown(alice.DID, "case 1")
		for _, spelt := range spellings {
			s.login(alice.Handle, spelt).refused(401, "AccountTakedown", "Account has been taken down")
			s.leave(&gatehousetest.Account{DID: alice.DID, Password: spelt}).refused(401, "AccountTakedown", "Account has been taken down")
		}
		s.lift(alice.DID)
		s.login(alice.Handle, strings.ToUpper(app)).ok()
		s.again(alice)
		s.do(bearer(alice.AccessJWT), "server.revokeAppPassword", object{"name": "app"}).ok()
		for _, spelt := range append(spellings, app) {
			s.login(alice.Handle, spelt).refused(401, "AuthenticationRequired", "Invalid identifier or password")
		}

		// An account password may look like one, and stays exact.
		const looksLikeOne = "Abcd efgh ijkl mnop"
		s.do(admin, "admin.updateAccountPassword", object{"did": bob.DID, "password": looksLikeOne}).ok()
		if a := s.login(bob.Handle, looksLikeOne); !strings.Contains(string(claimsOf(t, a.text("accessJwt"))), `"com.atproto.access"`) {
			t.Errorf("with the account password: %s", a.body)
		}
		for _, spelt := range []string{strings.ToLower(looksLikeOne), strings.ReplaceAll(looksLikeOne, " ", "-"), " " + looksLikeOne, looksLikeOne + "\u200B"} {
			s.login(bob.Handle, spelt).refused(401, "AuthenticationRequired", "Invalid identifier or password")
		}
	})
}

// TestResetByHandle checks that owners who don't remember the address can request a reset by handle
// or DID. The code goes to the account's address, and the answer is the same for every input.
func TestResetByHandle(t *testing.T) {
	t.Parallel()
	onEachStage(t, []scene{
		{"any identifier of the account", resetByAnyIdentifier},
		{"the answer reveals nothing", resetByHandleRevealsNothing},
		{"only to a trusted address", resetByHandleNeedsATrustedAddress},
		{"the status stays", resetByHandleKeepsTheStatus},
	})
}

func resetByAnyIdentifier(t *testing.T, s *api) {
	alice, bob := s.someone(), s.someone()
	n := 0
	for _, all := range []map[string]string{domaintest.Pasted(alice.Handle), domaintest.Pasted(alice.DID), domaintest.PastedAnywhere(alice.Email)} {
		for name, id := range all {
			if n > 0 && len(s.codes(n, alice.Email, resetMail)) != n {
				t.Errorf("before %s: more than %d e-mails", name, n)
			}
			s.do(nobody, "server.requestPasswordReset", object{"email": id}).ok()
			n++
			code := s.codes(n, alice.Email, resetMail)[n-1]
			if n%7 == 0 { // the code resets the password
				s.do(nobody, "server.resetPassword", object{"token": code, "password": "another password"}).ok()
				s.login(alice.Handle, "another password").ok()
			}
		}
	}
	if got := s.mails(bob.Email, resetMail); len(got) != 0 {
		t.Errorf("another account got %v", got)
	}
}

func resetByHandleRevealsNothing(t *testing.T, s *api) {
	alice, down := s.someone(), s.someone()
	s.takeDown(down.DID, "case 1")
	told := ""
	for _, id := range []string{
		alice.Email, alice.Handle, alice.DID, down.Handle, "@" + alice.Handle, newHandle(), noSuchDID, "nobody@example.com", "al ice.test", "", "@", "\u200B",
		"https://bsky.app/profile/", strings.Repeat("a", 5000), "a\x00b",
	} {
		a := s.do(nobody, "server.requestPasswordReset", object{"email": id})
		a.header.Del("Date")
		if got := fmt.Sprint(a.status, a.header, string(a.body)); told == "" {
			told = got
		} else if got != told || a.status != http.StatusOK {
			t.Errorf("%+q is answered %s, but others %s", id, got, told)
		}
	}
}

// resetByHandleNeedsATrustedAddress checks that the code goes to the account's current address, and
// only three days after the change if a session changed the address without a code.
func resetByHandleNeedsATrustedAddress(t *testing.T, s *api) {
	alice, bob := s.someone(), s.someone()
	quiet := func(email string) { t.Helper(); s.getsNoReset(email, bob) }
	old := alice.Email
	alice.Email = "new-" + old
	s.do(admin, "admin.updateAccountEmail", object{"account": alice.DID, "email": alice.Email}).ok()
	s.do(nobody, "server.requestPasswordReset", object{"email": old}).ok()
	quiet(old)
	quiet(alice.Email)
	s.do(nobody, "server.requestPasswordReset", object{"email": alice.Handle}).ok()
	s.code(alice.Email, resetMail)
	quiet(old)

	// A thief with a stolen session changes the address and then requests a reset by handle.
	carol := s.someone()
	thiefs := "thief-" + carol.Email
	s.do(bearer(carol.AccessJWT), "server.updateEmail", object{"email": thiefs}).ok()
	for _, id := range []string{carol.Handle, carol.DID, thiefs} {
		s.do(nobody, "server.requestPasswordReset", object{"email": id}).ok()
	}
	quiet(thiefs)
	quiet(carol.Email)
	s.Clock.Advance(72 * time.Hour)
	s.do(nobody, "server.requestPasswordReset", object{"email": carol.Handle}).ok()
	s.code(thiefs, resetMail)
}

// getsNoReset checks that no requested reset was mailed to an address. It requests one for another
// account, which goes through the same queue, to know that earlier requests have been handled.
func (s *api) getsNoReset(email string, other *gatehousetest.Account) {
	s.t.Helper()
	before := len(s.coded(other.Email, resetMail))
	s.do(nobody, "server.requestPasswordReset", object{"email": other.Handle}).ok()
	s.codes(before+1, other.Email, resetMail)
	if got := s.mails(email, resetMail); len(got) != 0 {
		s.t.Errorf("a reset was mailed to %s: %v", email, got)
	}
}

// resetByHandleKeepsTheStatus checks that a reset of an account that is taken down or deactivated
// changes the password and not the status, and that nothing is mailed for a deleted account.
func resetByHandleKeepsTheStatus(t *testing.T, s *api) {
	down, gone, resting, bob := s.someone(), s.someone(), s.someone(), s.someone()
	request := func(id string) { t.Helper(); s.do(nobody, "server.requestPasswordReset", object{"email": id}).ok() }
	reset := func(a *gatehousetest.Account) {
		t.Helper()
		request(a.Handle)
		a.Password = "another password"
		s.do(nobody, "server.resetPassword", object{"token": s.code(a.Email, resetMail), "password": a.Password}).ok()
	}
	s.takeDown(down.DID, "case 1")
	leaving := s.leave(down).text("accessJwt")
	reset(down)
	s.stillDown(down, "case 1")
	s.login(down.Handle, down.Password).refused(401, "AccountTakedown", "Account has been taken down")
	s.do(bearer(leaving), "server.getSession", nil).refused(400, "ExpiredToken", "Token has been revoked")
	s.leave(down).ok()

	s.do(bearer(resting.AccessJWT), "server.deactivateAccount", object{}).ok()
	reset(resting)
	if got := s.login(resting.Handle, resting.Password).ok(); got["active"] != false || got["status"] != "deactivated" {
		t.Errorf("after a reset: %v", got)
	}

	s.do(admin, "admin.deleteAccount", object{"did": gone.DID}).ok()
	for _, id := range []string{gone.Handle, "@" + strings.ToUpper(gone.Handle), gone.DID, gone.Email} {
		request(id)
	}
	s.getsNoReset(gone.Email, bob)
	// The handle now belongs to another account. The deleted account's DID and address name none.
	heir := s.signUp(gone.Handle, object{"email": "heir-" + gone.Email})
	request(gone.DID)
	request(gone.Email)
	s.getsNoReset(gone.Email, bob)
	s.getsNoReset(heir.Email, bob)
}

// TestResetsByHandleShareTheRecipientsBudget checks that a stranger who knows only the handle can't
// have more e-mails sent than one who knows the address, and doesn't use up the owner's budget.
func TestResetsByHandleShareTheRecipientsBudget(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	alice, bob := s.CreateAccount("alice.test"), s.CreateAccount("bob.test")
	thief := s.from(theThiefs)
	for i := range 12 {
		thief.do(nobody, "server.requestPasswordReset", object{"email": []string{alice.Handle, alice.Email, alice.DID, "@Alice.test"}[i%4]}).ok()
	}
	s.codes(5, alice.Email, resetMail)
	s.from(somebodys).requestReset(1, bob.Email) // the queue has handled the earlier requests
	if n := len(s.mails(alice.Email, resetMail)); n != 5 {
		t.Errorf("a stranger had %d e-mails sent in an hour, want 5", n)
	}
	me := s.from(hers)
	me.do(nobody, "server.requestPasswordReset", object{"email": alice.Handle}).ok()
	code := s.codes(6, alice.Email, resetMail)[5]
	me.do(nobody, "server.resetPassword", object{"token": code, "password": "another password"}).ok()
}

// TestResetsByHandleLeaveBudgetForTheAddress checks that requests by handle, which everybody knows,
// don't use up the budget for requests by e-mail address.
func TestResetsByHandleLeaveBudgetForTheAddress(t *testing.T) {
	t.Parallel()
	s := newAPI(t, limited)
	alice, bob := s.CreateAccount("alice.test"), s.CreateAccount("bob.test")
	for i := range 14 { // from many addresses
		s.from(fmt.Sprint("203.0.113.", i+1)).do(nobody, "server.requestPasswordReset", object{"email": []string{alice.Handle, alice.DID}[i%2]}).ok()
	}
	s.codes(7, alice.Email, resetMail)
	me := s.from(hers)
	me.do(nobody, "server.requestPasswordReset", object{"email": alice.Handle}).ok()
	s.from(somebodys).requestReset(1, bob.Email) // the queue has handled the earlier requests
	if n := len(s.mails(alice.Email, resetMail)); n != 7 {
		t.Errorf("%d e-mails were sent in an hour for requests by handle or DID, want 7", n)
	}
	me.do(nobody, "server.requestPasswordReset", object{"email": alice.Email}).ok()
	code := s.codes(8, alice.Email, resetMail)[7]
	me.do(nobody, "server.resetPassword", object{"token": code, "password": "another password"}).ok()
}
