package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/audit"
)

// audited reports whether the audit log has an action on a subject.
func (s *api) audited(t *testing.T, subject, action string) bool {
	t.Helper()
	page, err := s.Gatehouse.Audit.List(t.Context(), subject, "", 500)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(page.Entries, func(e *audit.Entry) bool {
		return e.Action == "com.atproto."+action && e.Admin == "admin" && e.Outcome == "ok"
	})
}

// TestTheAuditLogHasAllThatWasDoneToAnAccount, by whatever name the admin knew it, and with however
// many others.
func TestTheAuditLogHasAllThatWasDoneToAnAccount(t *testing.T) {
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		for method, input := range map[string]object{
			"admin.updateAccountEmail":      {"account": "ALICE.test", "email": "new@example.com"},
			"temp.revokeAccountCredentials": {"account": "alice.test"},
			"admin.updateAccountPassword":   {"did": alice.DID, "password": "password"},
			"admin.disableAccountInvites":   {"account": alice.DID},
			"admin.sendEmail":               {"recipientDid": alice.DID, "senderDid": noSuchDID, "content": "x"},
			"server.createInviteCode":       {"useCount": 1, "forAccount": alice.DID},
			"admin.updateSubjectStatus":     {"subject": repoRef(alice.DID), "takedown": object{"applied": true}},
		} {
			s.do(admin, method, input).ok()
			if !s.audited(t, alice.DID, method) {
				t.Errorf("%s with %v isn't in the log of the account", method, input)
			}
		}

		// One entry for each of many.
		dids := []string{alice.DID, s.signUp("bob.test").DID}
		for i := range 40 { // more than an entry holds
			dids = append(dids, fmt.Sprintf("did:web:account-%d.example.com", i))
		}
		made := s.do(admin, "server.createInviteCodes", object{"codeCount": 1, "useCount": 1, "forAccounts": dids}).ok()["codes"].([]any)
		var codes []string
		for _, m := range made {
			codes = append(codes, m.(object)["codes"].([]any)[0].(string))
		}
		s.do(admin, "admin.disableInviteCodes", object{"codes": codes, "accounts": dids}).ok()
		for _, did := range dids {
			for _, method := range []string{"server.createInviteCodes", "admin.disableInviteCodes"} {
				if !s.audited(t, did, method) {
					t.Errorf("%s isn't in the log of %s", method, did)
				}
			}
		}
		for _, code := range codes {
			if !s.audited(t, code, "admin.disableInviteCodes") {
				t.Errorf("disableInviteCodes isn't in the log of the code %s", code)
			}
		}
		s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
		if !s.audited(t, alice.DID, "admin.deleteAccount") {
			t.Error("deleteAccount isn't in the log of the account")
		}
	})
}

// TestOneRuleForTheDocumentsOfHostedDIDs: while there is the account its document is served, in
// both places, whatever became of the account; and its handle doesn't resolve unless it is active.
func TestOneRuleForTheDocumentsOfHostedDIDs(t *testing.T) {
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		agree := func(when string, document, handle bool) {
			t.Helper()
			resolved := s.do(nobody, "identity.resolveDid", object{"did": alice.DID})
			status, body := s.get("alice.test", "/.well-known/did.json")
			if (resolved.status == 200) != document || (status == 200) != document {
				t.Errorf("%s, resolveDid: %d %s, did.json: %d %s", when, resolved.status, resolved.body, status, body)
			}
			if document && status == 200 {
				var served object
				if err := json.Unmarshal([]byte(body), &served); err != nil || fmt.Sprint(served) != fmt.Sprint(resolved.object["didDoc"]) {
					t.Errorf("%s, resolveDid: %s, did.json: %s", when, resolved.body, body)
				}
			}
			found := s.do(nobody, "identity.resolveHandle", object{"handle": "alice.test"}).status == 200
			well, _ := s.get("alice.test", "/.well-known/atproto-did")
			if found != handle || (well == 200) != handle {
				t.Errorf("%s, resolveHandle found it: %v, atproto-did: %d", when, found, well)
			}
		}
		agree("active", true, true)
		s.do(bearer(alice.AccessJWT), "server.deactivateAccount", object{}).ok()
		agree("deactivated", true, false)
		s.takeDown(alice.DID, "case 1")
		agree("deactivated and taken down", true, false)
		s.lift(alice.DID)
		s.again(alice)
		s.do(bearer(alice.AccessJWT), "server.activateAccount", nil).ok()
		s.takeDown(alice.DID, "case 2")
		agree("taken down", true, false)
		s.lift(alice.DID)
		agree("active again", true, true)
		s.do(admin, "admin.deleteAccount", object{"did": alice.DID}).ok()
		agree("deleted", false, false)
	}, config(func(c *gatehouse.Config) { c.DIDMethod = gatehouse.MethodWeb }))
}

// TestAProxyThatIsNotTrustedIsWarnedAbout: behind it all visitors count as one, and the first who
// fails too often locks everybody out.
func TestAProxyThatIsNotTrustedIsWarnedAbout(t *testing.T) {
	for name, c := range map[string]struct {
		peer, forwarded string
		trusted         []string
		warnings        int
	}{
		"a private peer":                  {"10.0.0.7:1234", theThiefs, nil, 1},
		"a private peer by IPv6":          {"[fd00::7]:1234", theThiefs, nil, 1},
		"loopback":                        {"127.0.0.1:1234", theThiefs, nil, 1},
		"another peer than the one":       {"10.0.0.7:1234", theThiefs, []string{"10.0.0.8"}, 1},
		"a peer that is trusted":          {"10.0.0.7:1234", theThiefs, []string{"10.0.0.0/8"}, 0},
		"a peer that forwards for nobody": {"10.0.0.7:1234", "", nil, 0},
		"a visitor who writes it himself": {"203.0.113.9:1234", theThiefs, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var log logbook
			s := newAPI(t, logged(&log), config(func(cfg *gatehouse.Config) { cfg.TrustedProxies = c.trusted }),
				withHandler(func(h http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						r.RemoteAddr = c.peer
						h.ServeHTTP(w, r)
					})
				}))
			for range 5 {
				nsid, req := s.request(nobody, "server.describeServer", nil)
				if c.forwarded != "" {
					req.Header.Set("X-Forwarded-For", c.forwarded)
				}
				s.send(nsid, req).ok()
			}
			var found []string
			for _, line := range log.warnings() {
				if strings.Contains(line, "TrustedProxies") || strings.Contains(line, "X-Forwarded-For") {
					found = append(found, line)
				}
			}
			if len(found) != c.warnings {
				t.Errorf("%d warnings, want %d: %q", len(found), c.warnings, log.warnings())
			}
		})
	}
}

// TestLookalikeHandles: a label of punycode is shown as other letters, which can be made to look
// like somebody else's name.
func TestLookalikeHandles(t *testing.T) {
	s := newAPI(t)
	alice := s.signUp("alice.test")
	for _, handle := range []string{"xn--80ak6aa92e.test", "XN--80AK6AA92E.test", "xn--a-0ga.test"} {
		s.do(nobody, "server.createAccount", object{"handle": handle, "email": "mallory@example.com", "password": "password"}).
			refused(400, "InvalidHandle")
		s.do(bearer(alice.AccessJWT), "identity.updateHandle", object{"handle": handle}).refused(400, "InvalidHandle")
		available := s.do(nobody, "temp.checkHandleAvailability", object{"handle": handle})
		if result, _ := available.object["result"].(object); available.status == 200 && result["$type"] != "com.atproto.temp.checkHandleAvailability#resultUnavailable" {
			t.Errorf("checkHandleAvailability of %s: %s", handle, available.body)
		}
	}
	// Admins may, as with other names that aren't for everybody.
	s.do(admin, "admin.updateAccountHandle", object{"did": alice.DID, "handle": "xn--80ak6aa92e.test"}).ok()
}
