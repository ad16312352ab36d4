package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/audit"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

func TestAdmin(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		code := s.newCode(2)
		alice := s.signUp("alice.test", object{"inviteCode": code})
		bob := s.signUp("bob.test", object{"inviteCode": code})
		own := s.do(admin, "server.createInviteCode", object{"useCount": 1, "forAccount": alice.DID}).text("code")
		info := func(did string) object {
			t.Helper()
			return s.do(admin, "admin.getAccountInfo", object{"did": did}).ok()
		}
		got := info(alice.DID)
		if got["handle"] != "alice.test" || got["email"] != "alice@example.com" || got["invitesDisabled"] != false ||
			got["invitedBy"].(object)["code"] != code || got["invites"].([]any)[0].(object)["code"] != own {
			t.Errorf("getAccountInfo: %v", got)
		}
		const nobodyDID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
		s.do(admin, "admin.getAccountInfo", object{"did": nobodyDID}).refused(400, "NotFound", "Account not found")
		infos := s.do(admin, "admin.getAccountInfos", object{"dids": []string{bob.DID, nobodyDID, alice.DID}}).ok()["infos"].([]any)
		if len(infos) != 2 || infos[0].(object)["did"] != bob.DID {
			t.Errorf("getAccountInfos: %v", infos)
		}
		if none, ok := infos[0].(object)["invites"].([]any); !ok || len(none) != 0 {
			t.Errorf("getAccountInfos of an account without invite codes: %v, want an empty list of invites", infos[0])
		}

		// searchAccounts, which the reference implementation declares but doesn't implement.
		search := func(params object) object { t.Helper(); return s.do(admin, "admin.searchAccounts", params).ok() }
		if found := search(object{"email": "ALICE@example.com"})["accounts"].([]any); len(found) != 1 || found[0].(object)["did"] != alice.DID {
			t.Errorf("searchAccounts: %v", found)
		}
		if found := search(object{"email": "b"})["accounts"].([]any); len(found) != 1 || found[0].(object)["did"] != bob.DID {
			t.Errorf("searchAccounts: %v", found)
		}
		page := search(object{"limit": 1})
		rest := search(object{"limit": 1, "cursor": page["cursor"]})
		if len(page["accounts"].([]any)) != 1 || len(rest["accounts"].([]any)) != 1 || rest["cursor"] != nil {
			t.Errorf("searchAccounts in pages of one: %v and %v, want one account each and no further cursor", page, rest)
		}
		s.do(admin, "admin.searchAccounts", object{"cursor": "nonsense"}).refused(400, "InvalidRequest", "Malformed cursor")

		// E-mail address, handle and password.
		s.do(admin, "admin.updateAccountEmail", object{"account": "alice.test", "email": "new@example.com"}).ok()
		s.do(admin, "admin.updateAccountEmail", object{"account": nobodyDID, "email": "x@example.com"}).
			refused(400, "InvalidRequest", "Account does not exist: "+nobodyDID)
		s.do(admin, "admin.updateAccountEmail", object{"account": alice.DID, "email": "bob@example.com"}).refused(400, "InvalidRequest")
		s.do(admin, "admin.updateAccountHandle", object{"did": alice.DID, "handle": "support.test"}).ok()
		s.do(admin, "admin.updateAccountHandle", object{"did": alice.DID, "handle": "bob.test"}).refused(400, "HandleNotAvailable", "Handle already taken: bob.test")
		s.do(admin, "admin.updateAccountPassword", object{"did": alice.DID, "password": "changed by the admin"}).ok()
		s.do(bearer(alice.AccessJWT), "server.getSession", nil).refused(400, "ExpiredToken", "Token has been revoked")
		alice.AccessJWT = s.login("new@example.com", "changed by the admin").text("accessJwt")
		if got := info(alice.DID); got["handle"] != "support.test" || got["email"] != "new@example.com" {
			t.Errorf("getAccountInfo: %v", got)
		}

		// Signing keys.
		key := s.do(nobody, "server.reserveSigningKey", object{}).text("signingKey")
		s.do(admin, "admin.updateAccountSigningKey", object{"did": alice.DID, "signingKey": "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc"}).
			refused(400, "InvalidRequest", "reserved signing key does not exist")
		for range 2 {
			s.do(admin, "admin.updateAccountSigningKey", object{"did": alice.DID, "signingKey": key}).ok()
		}
		doc := s.do(nobody, "identity.resolveDid", object{"did": alice.DID}).ok()["didDoc"].(object)
		if k := doc["verificationMethod"].([]any)[0].(object)["publicKeyMultibase"]; "did:key:"+k.(string) != key {
			t.Errorf("the signing key in the DID document is %v, want %s", k, key)
		}
		s.do(bearer(alice.AccessJWT), "server.getServiceAuth", object{"aud": "did:web:x.example.com"}).ok()

		// Invites.
		s.do(admin, "admin.disableAccountInvites", object{"account": alice.DID, "note": "too many"}).ok()
		if got := info(alice.DID); got["invitesDisabled"] != true || got["inviteNote"] != "too many" {
			t.Errorf("getAccountInfo: %v", got)
		}
		s.do(admin, "admin.enableAccountInvites", object{"account": alice.DID}).ok()
		codes := func(params object) []any {
			t.Helper()
			return s.do(admin, "admin.getInviteCodes", params).ok()["codes"].([]any)
		}
		if all := codes(object{"sort": "usage"}); len(all) != 2 || all[0].(object)["code"] != code || len(all[0].(object)["uses"].([]any)) != 2 {
			t.Errorf("getInviteCodes: %v", all)
		}
		if all := codes(object{"sort": "recent", "limit": 1}); len(all) != 1 {
			t.Errorf("getInviteCodes: %v", all)
		}
		s.do(admin, "admin.getInviteCodes", object{"sort": "x"}).refused(400, "InvalidRequest", "unknown sort method: x")
		s.do(admin, "admin.getInviteCodes", object{"cursor": "x"}).refused(400, "InvalidRequest", "Malformed cursor")
		s.do(admin, "admin.getInviteCodes", object{"limit": 501}).refused(400, "InvalidRequest")
		s.do(admin, "admin.disableInviteCodes", object{"accounts": []string{"admin"}}).refused(400, "InvalidRequest", "cannot disable admin invite codes")
		s.do(admin, "admin.disableInviteCodes", object{"codes": []string{code, "unknown"}, "accounts": []string{alice.DID}}).ok()
		for _, c := range codes(nil) {
			if c.(object)["disabled"] != true {
				t.Errorf("disableInviteCodes left this code enabled: %v", c)
			}
		}

		// Takedown and deactivation.
		subject := object{"$type": "com.atproto.admin.defs#repoRef", "did": bob.DID}
		set := func(input object) *answer {
			t.Helper()
			input["subject"] = subject
			return s.do(admin, "admin.updateSubjectStatus", input)
		}
		status := func() object { t.Helper(); return s.do(admin, "admin.getSubjectStatus", object{"did": bob.DID}).ok() }
		set(object{"takedown": object{"applied": true}, "deactivated": object{"applied": false}}).
			refused(400, "InvalidRequest", "Cannot activate and takedown an account at the same time")
		set(object{"takedown": object{"applied": true}}).ok()
		if got := status()["takedown"].(object); got["applied"] != true || got["ref"] != s.Clock.Now().UTC().Format(syntax.AtprotoDatetimeLayout) {
			t.Errorf("a takedown without a reference: %v, want the current time as its reference", got)
		}
		set(object{"takedown": object{"applied": true, "ref": "case 1"}}).ok()
		if got := status()["takedown"].(object); got["applied"] != true || got["ref"] != "case 1" {
			t.Errorf("getSubjectStatus: %v", got)
		}
		s.do(bearer(bob.AccessJWT), "server.getSession", nil).refused(401, "AccountTakedown")
		set(object{"takedown": object{"applied": false}}).ok()
		set(object{"deactivated": object{"applied": true}}).ok()
		if got := status(); got["deactivated"].(object)["applied"] != true || got["takedown"].(object)["applied"] != false {
			t.Errorf("getSubjectStatus: %v", got)
		}
		set(object{"deactivated": object{"applied": false}}).ok()
		s.do(admin, "admin.getSubjectStatus", nil).refused(400, "InvalidRequest", "No provided subject: did must be given")
		s.do(admin, "admin.getSubjectStatus", object{"did": nobodyDID}).refused(400, "NotFound", "Subject not found")
		for _, id := range []string{"bob.test", "bob@example.com", "nonsense"} {
			subject = object{"$type": "com.atproto.admin.defs#repoRef", "did": id}
			set(object{"takedown": object{"applied": true}}).refused(400, "InvalidRequest", "Input/subject/did must be a valid did")
		}
		subject = object{"$type": "com.atproto.repo.strongRef", "uri": "at://" + bob.DID + "/app.bsky.feed.post/1", "cid": "bafyreidsjgdosuszzuwrcrsrssb6mol6iinbpyznvfqyp4a4idis22kofi"}
		set(object{"takedown": object{"applied": true}}).refused(400, "InvalidRequest", "Invalid subject (com.atproto.repo.strongRef): subject must be a com.atproto.admin.defs#repoRef")
		subject = object{"$type": "com.example.list", "did": bob.DID}
		set(object{"takedown": object{"applied": true}}).refused(400, "InvalidRequest", "Invalid subject (of an unknown type): subject must be a com.atproto.admin.defs#repoRef")

		// E-mails from admins.
		send := object{"recipientDid": alice.DID, "senderDid": "did:web:mod.example.com", "content": "Please <stop>."}
		if got := s.do(admin, "admin.sendEmail", send).ok(); got["sent"] != true {
			t.Errorf("sendEmail: %v", got)
		}
		if m, ok := s.Mail.Last("new@example.com"); !ok || m.Subject != "Message via your PDS" || m.Text != "Please <stop>.\n" {
			t.Errorf("the e-mail that sendEmail sent: %+v", m)
		}
		send["recipientDid"] = nobodyDID
		s.do(admin, "admin.sendEmail", send).refused(400, "InvalidRequest", "Recipient not found")

		// Revoked credentials and deletion.
		s.do(admin, "temp.revokeAccountCredentials", object{"account": bob.DID}).ok()
		s.login("bob.test", bob.Password).refused(401, "AuthenticationRequired")
		s.do(nobody, "server.requestPasswordReset", object{"email": bob.Email}).ok()
		s.do(nobody, "server.resetPassword", object{"token": s.Mail.Code(bob.Email), "password": "a new password"}).ok()
		s.login("bob.test", "a new password").ok()
		s.do(admin, "admin.deleteAccount", object{"did": bob.DID}).ok()
		s.do(admin, "admin.deleteAccount", object{"did": bob.DID}).refused(400, "InvalidRequest", "Account does not exist: "+bob.DID)

		// All of it is in the audit log.
		s.do(admin, "server.createInviteCodes", object{"useCount": 1, "forAccounts": []string{alice.DID}}).ok()
		for subject, action := range map[string]string{"admin": "createInviteCode", alice.DID: "createInviteCodes"} {
			log, err := s.Gatehouse.Audit.List(t.Context(), subject, "", 100)
			if err != nil || !slices.ContainsFunc(log.Entries, func(e *audit.Entry) bool {
				return e.Action == "com.atproto.server."+action && e.Admin == "admin" && e.Outcome == "ok"
			}) {
				t.Errorf("the audit log has no entry for %s: %v, %v", action, log, err)
			}
		}
		log, err := s.Gatehouse.Audit.List(t.Context(), bob.DID, "", 100)
		if err != nil || len(log.Entries) < 7 {
			t.Fatalf("the audit log of bob: %v, %v; want at least 7 entries", log, err)
		}
		last, before := log.Entries[0], log.Entries[1]
		if last.Action != "com.atproto.admin.deleteAccount" || before.Admin != "admin" ||
			last.Outcome+before.Outcome != "okInvalidRequest" && last.Outcome+before.Outcome != "InvalidRequestok" {
			t.Errorf("the newest audit entries: %+v, %+v; want a successful and a failed deleteAccount", last, before)
		}
	})
}

func TestSeveralAdminsAndAModerationService(t *testing.T) {
	t.Parallel()
	moderator := newAPI(t, config(func(c *gatehouse.Config) { c.Hostname = "mod.test" }))
	labeler := moderator.signUp("watcher.test") // the moderation service: its account's key signs the service tokens
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		basic := func(name, password string) string {
			return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
		}
		params := object{"did": alice.DID}
		for who, status := range map[string]int{
			basic("carol", "secret:of:carol"): 200, basic("dave", "secret of dave"): 200, admin: 200,
			basic("carol", "secret of dave"): 401, basic("", ""): 401, basic("eve", ""): 401,
		} {
			if a := s.do(who, "admin.getAccountInfo", params); a.status != status {
				t.Errorf("getAccountInfo with %s: %d, want %d", who, a.status, status)
			}
		}
		s.do(basic("carol", "secret:of:carol"), "admin.disableAccountInvites", object{"account": alice.DID}).ok()
		if log, err := s.Gatehouse.Audit.List(t.Context(), "", "", 1); err != nil || log.Entries[0].Admin != "carol" {
			t.Errorf("the audit log: %+v, %v; want carol as the admin", log, err)
		}

		token := func(aud, lxm string) string {
			return bearer(moderator.do(bearer(labeler.AccessJWT), "server.getServiceAuth", object{"aud": aud, "lxm": lxm}).text("token"))
		}
		call := func(method string, input object) *answer {
			t.Helper()
			return s.do(token("did:web:localhost", "com.atproto."+method), method, input)
		}
		takedown := object{"subject": object{"$type": "com.atproto.admin.defs#repoRef", "did": alice.DID}, "takedown": object{"applied": true}}
		call("admin.getAccountInfo", params).ok()
		call("admin.getAccountInfos", object{"dids": []string{alice.DID}}).ok()
		call("admin.getInviteCodes", nil).ok()
		call("admin.getSubjectStatus", params).ok()
		call("admin.disableInviteCodes", object{"codes": []string{"x"}}).ok()
		call("admin.disableAccountInvites", object{"account": alice.DID}).ok()
		call("admin.enableAccountInvites", object{"account": alice.DID}).ok()
		call("admin.updateSubjectStatus", takedown).ok()
		for method, input := range map[string]object{
			"admin.deleteAccount":         {"did": alice.DID},
			"admin.searchAccounts":        nil,
			"admin.updateAccountPassword": {"did": alice.DID, "password": "password"},
			"admin.updateAccountHandle":   {"did": alice.DID, "handle": "x-y-z.test"},
			"admin.updateAccountEmail":    {"account": alice.DID, "email": "x@example.com"},
		} {
			call(method, input).refused(401, "AuthenticationRequired", "Authentication Required")
		}
		s.do(token("did:web:elsewhere.test", "com.atproto.admin.getAccountInfo"), "admin.getAccountInfo", params).
			refused(401, "BadJwtAudience", "jwt audience does not match service did")
		stranger := bearer(s.do(bearer(s.signUp("bob.test").AccessJWT), "server.getServiceAuth", object{"aud": "did:web:localhost", "lxm": "com.atproto.admin.getAccountInfo"}).text("token"))
		s.do(stranger, "admin.getAccountInfo", params).refused(401, "UntrustedIss", "Untrusted issuer")
	}, config(func(c *gatehouse.Config) {
		c.Admins = xrpc.Passwords{"admin": gatehousetest.AdminPassword, "carol": "secret:of:carol", "dave": "secret of dave"}
		c.ModService = labeler.DID
		c.DIDs.Directory = moderator.Gatehouse.Directory
	}))
}

func TestHandles(t *testing.T) {
	t.Parallel()
	resolver := handles{"alice.example.com": "", "other.example.com": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"}
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		s.signUp("bob.test")
		resolver["alice.example.com"] = syntax.DID(alice.DID)
		me := bearer(alice.AccessJWT)
		update := func(handle string) *answer {
			t.Helper()
			return s.do(me, "identity.updateHandle", object{"handle": handle})
		}
		for range 2 {
			update("Alice2.test").ok()
		}
		got := s.do(me, "server.getSession", nil).ok()
		if aka := got["didDoc"].(object)["alsoKnownAs"].([]any); got["handle"] != "alice2.test" || aka[0] != "at://alice2.test" {
			t.Errorf("getSession: %v", got)
		}
		log, err := s.Gatehouse.Directory.Log(t.Context(), syntax.DID(alice.DID))
		if err != nil || len(log) != 2 {
			t.Errorf("the DID's log has %d operations (error %v), want 2: the repeated change adds none", len(log), err)
		}
		update("bob.test").refused(400, "HandleNotAvailable", "Handle already taken: bob.test")
		update("admin.test").refused(400, "HandleNotAvailable", "Reserved handle")
		update("x.test").refused(400, "InvalidHandle", "Handle too short")
		update("other.example.com").refused(400, "InvalidRequest", "External handle did not resolve to DID")
		update("unknown.example.com").refused(400, "InvalidRequest", "External handle did not resolve to DID")
		update("alice.example.com").ok()

		resolve := func(handle string) *answer {
			t.Helper()
			return s.do(nobody, "identity.resolveHandle", object{"handle": handle})
		}
		if resolve("bob.test").text("did") == alice.DID || resolve("ALICE.example.com").text("did") != alice.DID || resolve("other.example.com").text("did") != "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa" {
			t.Error("resolveHandle returned the DID of another account")
		}
		for _, unknown := range []string{"alice2.test", "alice.invalid", "alice.onion"} {
			resolve(unknown).refused(400, "HandleNotFound", "Unable to resolve handle")
		}
		resolve("unknown.example.com").refused(400, "HandleNotFound", "Unable to resolve handle")

		for _, identifier := range []string{"alice.example.com", alice.DID} {
			for _, method := range []string{"identity.resolveIdentity", "identity.refreshIdentity"} {
				got := s.do(nobody, method, object{"identifier": identifier}).ok()
				if got["did"] != alice.DID || got["handle"] != "alice.example.com" || got["didDoc"].(object)["id"] != alice.DID {
					t.Errorf("%s of %s: %v", method, identifier, got)
				}
			}
		}
		gone := s.signUp("gone.test")
		err = (&did.Registrar{Directory: s.Gatehouse.Directory, Signer: serversRotationKey}).Tombstone(t.Context(), syntax.DID(gone.DID))
		if err != nil {
			t.Fatal(err)
		}
		s.do(admin, "admin.deleteAccount", object{"did": gone.DID}).ok()
		s.do(nobody, "identity.refreshIdentity", object{"identifier": gone.DID}).refused(400, "DidDeactivated")
		s.do(nobody, "identity.resolveIdentity", object{"identifier": gone.DID}).refused(400, "DidDeactivated")
		s.do(nobody, "identity.resolveDid", object{"did": gone.DID}).refused(400, "DidDeactivated")
		for _, method := range []string{"identity.resolveIdentity", "identity.refreshIdentity"} {
			s.do(nobody, method, object{"identifier": "unknown.example.com"}).refused(400, "HandleNotFound")
		}
		for _, method := range []string{"identity.resolveIdentity", "identity.refreshIdentity"} {
			s.do(nobody, method, object{"identifier": "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"}).refused(400, "DidNotFound")
		}
		s.do(nobody, "identity.resolveDid", object{"did": "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"}).refused(400, "DidNotFound")

		// The well-known documents depend on the Host header.
		ask := func(host, path string) (int, string) {
			t.Helper()
			return s.get(host, path)
		}
		update("alice3.test").ok()
		if status, body := ask("alice3.test", "/.well-known/atproto-did"); status != 200 || body != alice.DID {
			t.Errorf("atproto-did: %d %s", status, body)
		}
		if status, _ := ask("nobody.test", "/.well-known/atproto-did"); status != 404 {
			t.Errorf("atproto-did of an unknown handle: %d, want 404", status)
		}
		if status, body := ask("localhost", "/.well-known/did.json"); status != 200 || !contains(body, `"id":"did:web:localhost"`, s.URL) {
			t.Errorf("did.json: %d %s", status, body)
		}
		if status, _ := ask("elsewhere.test", "/.well-known/did.json"); status != 404 {
			t.Errorf("did.json at another host: %d, want 404", status)
		}

		// Availability.
		check := func(handle string) object {
			t.Helper()
			return s.do(nobody, "temp.checkHandleAvailability", object{"handle": handle}).ok()["result"].(object)
		}
		if got := check("free.test"); got["$type"] != "com.atproto.temp.checkHandleAvailability#resultAvailable" {
			t.Errorf("checkHandleAvailability: %v", got)
		}
		s.do(admin, "temp.addReservedHandle", object{"handle": "free.test"}).ok()
		for _, handle := range []string{"bob.test", "free.test", "admin.test"} {
			got := check(handle)
			suggestions, _ := got["suggestions"].([]any)
			if got["$type"] != "com.atproto.temp.checkHandleAvailability#resultUnavailable" || len(suggestions) == 0 {
				t.Errorf("checkHandleAvailability of %s: %v", handle, got)
				continue
			}
			if again := check(suggestions[0].(object)["handle"].(string)); again["$type"] != "com.atproto.temp.checkHandleAvailability#resultAvailable" {
				t.Errorf("the suggested handle %v is not available", suggestions[0])
			}
		}
		update("free.test").refused(400, "HandleNotAvailable", "Reserved handle")
		s.do(nobody, "temp.checkHandleAvailability", object{"handle": "free2.test", "email": "x"}).refused(400, "InvalidEmail")
		s.do(nobody, "server.createAccount", object{"handle": "free.test", "email": "free@example.com", "password": "password"}).
			refused(400, "HandleNotAvailable", "Reserved handle")
		if got := s.do(me, "temp.checkSignupQueue", nil).ok(); got["activated"] != true {
			t.Errorf("checkSignupQueue: %v", got)
		}
	}, config(func(c *gatehouse.Config) { c.Handles.Resolver, c.DIDs.RotationKey = resolver, serversRotationKey }))
}

// TestForeignDocumentsAreNotServed requests did.json at the host of an account whose did:web is on
// a foreign host. If that host pointed to this server, resolving the DID would send the server a
// request to itself, which would resolve the DID again, and so on without end.
func TestForeignDocumentsAreNotServed(t *testing.T) {
	t.Parallel()
	const id = syntax.DID("did:web:alice.example.org")
	var resolved atomic.Int32
	s := newAPI(t, config(func(c *gatehouse.Config) {
		c.DIDs.Resolver = func(context.Context, syntax.DID) (json.RawMessage, error) {
			resolved.Add(1)
			return json.RawMessage(`{"id":"did:web:alice.example.org"}`), nil
		}
	}))
	_, err := s.Gatehouse.Accounts.Create(t.Context(), accounts.CreateParams{
		Handle: "alice.test", Email: "alice@example.com", Password: "password", DID: id, ProvenDID: id,
	})
	if err != nil {
		t.Fatal(err)
	}
	resolved.Store(0)
	if status, body := s.get("alice.example.org", "/.well-known/did.json"); status != 404 || resolved.Load() != 0 {
		t.Errorf("did.json: %d %s after %d resolutions, want 404 after none", status, body, resolved.Load())
	}
	if doc := s.do(nobody, "identity.resolveDid", object{"did": id}).ok()["didDoc"].(object); doc["id"] != id.String() {
		t.Errorf("resolveDid: %v", doc)
	}
}

// TestIdentityWhenTheStoreIsClosed checks that failures of the store are answered 503. Clients
// would take a "not found" to mean that the handle or the DID no longer exists.
func TestIdentityWhenTheStoreIsClosed(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) {
		c.DIDs.Resolver = func(context.Context, syntax.DID) (json.RawMessage, error) {
			return json.RawMessage(`{"id":"did:web:alice.example.org","alsoKnownAs":["at://alice.test"]}`), nil
		}
	}))
	s.signUp("alice.test")
	if err := s.Store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"resolveDid", "resolveIdentity"} {
		const id = "did:web:alice.example.org"
		s.do(nobody, "identity."+method, object{"did": id, "identifier": id}).refused(503, "ServiceUnavailable")
	}
	for _, path := range []string{"/.well-known/atproto-did", "/.well-known/did.json"} {
		if status, body := s.get("alice.test", path); status != 503 {
			t.Errorf("%s: %d %s, want 503", path, status, body)
		}
	}
}

// serversRotationKey is a rotation key for servers whose DIDs a test itself changes.
var serversRotationKey = func() did.Signer {
	key, err := did.ParseRotationKey("9085d2bef69286a6cbb51623c8fa258629945cd55ca705cc4e66700396894e0c")
	if err != nil {
		panic(err)
	}
	return key
}()

// TestEveryMethodIsServed checks that no method of these lexicons is answered 501.
func TestEveryMethodIsServed(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	for _, nsid := range s.lexicons.Methods("com.atproto.server.", "com.atproto.admin.", "com.atproto.identity.") {
		name := nsid[len("com.atproto."):]
		if a := s.do(nobody, name, nil); a.status == 501 {
			t.Errorf("%s is not served", nsid)
		}
	}
	if n := len(s.lexicons.Methods("com.atproto.server.")); n != 25 {
		t.Errorf("the lexicons have %d methods of com.atproto.server, want 25", n)
	}
}
