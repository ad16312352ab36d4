package e2e

import (
	"net/url"
	"strings"
	"testing"
)

// TestAdminsMayTypeAnything has admins name what can't be: it is refused or does nothing, and is in the audit log.
func TestAdminsMayTypeAnything(t *testing.T) {
	onEach(t, func(t *testing.T, s *api) {
		alice := s.signUp("alice.test")
		subject := object{"$type": "com.atproto.admin.defs#repoRef", "did": alice.DID}
		for name, odd := range map[string]string{
			"nothing": "", "a zero": "a\x00b", "controls": "a\n\t\x1b[31mb", "many letters": strings.Repeat("å", 600), "a lone surrogate": `\ud800`,
			"not ASCII": "☃", "spaces": "  ",
		} {
			for _, call := range []struct {
				method string
				input  object
			}{
				{"admin.disableInviteCodes", object{"codes": []string{odd}}},
				{"admin.disableInviteCodes", object{"accounts": []string{odd}}},
				{"temp.addReservedHandle", object{"handle": odd}},
				{"admin.updateAccountEmail", object{"account": odd, "email": odd}},
				{"admin.updateAccountSigningKey", object{"did": "did:web:nobody.test", "signingKey": odd}},
				{"admin.updateAccountPassword", object{"did": alice.DID, "password": odd}},
				{"admin.disableAccountInvites", object{"account": alice.DID, "note": odd}},
				{"admin.updateSubjectStatus", object{"subject": subject, "takedown": object{"applied": true, "ref": odd}}},
				{"admin.updateSubjectStatus", object{"subject": object{"$type": odd}, "takedown": object{"applied": true, "ref": odd}}},
				{"admin.getInviteCodes", object{"sort": url.QueryEscape(odd)}},
				{"admin.getInviteCodes", object{"cursor": url.QueryEscape(odd)}},
				{"admin.searchAccounts", object{"email": url.QueryEscape(odd)}},
				{"admin.searchAccounts", object{"cursor": url.QueryEscape(odd)}},
			} {
				if a := s.do(admin, call.method, call.input); a.status != 200 && a.status != 400 {
					t.Errorf("%s with %s: %d %s", call.method, name, a.status, a.body)
				}
			}
		}
		if page, err := s.Gatehouse.Audit.List(t.Context(), "", "", 500); err != nil || len(page.Entries) == 0 {
			t.Errorf("the audit log: %d entries, %v", len(page.Entries), err)
		}
	})
}
