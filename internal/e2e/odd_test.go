package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/lexicons"
)

// TestMalformedInputIsNeverAnInternalError sends malformed text in each text field of each method,
// with the other fields valid, and checks that no answer is an internal error.
func TestMalformedInputIsNeverAnInternalError(t *testing.T) {
	t.Parallel()
	catalog, err := lexicons.Load()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{
		"empty text": "", "a NUL byte": "a\x00b", "control characters": "a\r\n\t\x1b[31mb", "long text": strings.Repeat("å", 1200), "a path": "../../%2e%2e/",
		"half of a surrogate pair": `\ud800`, "a non-ASCII character": "☃", "spaces": "  ", "a DID with a NUL byte": "did:web:a\x00b",
		"a long DID": "did:web:" + strings.Repeat("a", 1500) + ".test", "an e-mail address with a NUL byte": "a\x00@example.com",
		"a long handle": strings.Repeat("a.", 126) + "test",
	}
	onEach(t, func(t *testing.T, s *api) {
		for i, nsid := range catalog.Methods("com.atproto.server.", "com.atproto.admin.", "com.atproto.identity.", "com.atproto.temp.") {
			m, _ := catalog.Method(nsid)
			method := strings.TrimPrefix(nsid, "com.atproto.")
			if s.do(nobody, method, nil).status == http.StatusNotImplemented {
				continue // not one of Gatehouse's methods
			}
			label := fmt.Sprintf("alice%d", i)
			alice := s.CreateAccount(label + ".test")
			who := bearer(alice.AccessJWT)
			switch {
			case strings.HasPrefix(method, "admin."), strings.HasPrefix(method, "server.createInviteCode"),
				method == "temp.addReservedHandle", method == "temp.revokeAccountCredentials":
				who = admin
			case method == "server.createAccount", method == "server.createSession":
				who = nobody
			}
			good := object{
				"handle": label + "x.test", "did": alice.DID, "dids": []string{alice.DID}, "account": alice.DID, "accounts": []string{alice.DID},
				"identifier": alice.Handle, "email": alice.Email, "password": alice.Password, "token": "AAAAA-AAAAA", "name": "app",
				"aud": "did:web:service.test", "lxm": "com.example.method", "useCount": 1, "codeCount": 1, "codes": []string{"x"},
				"content": "text", "recipientDid": alice.DID, "senderDid": alice.DID, "limit": 1, "operation": object{},
				"subject": object{"$type": "com.atproto.admin.defs#repoRef", "did": alice.DID}, "signingKey": "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
				"takedown": object{"applied": true, "ref": "x"},
			}
			for _, property := range slices.Sorted(maps.Keys(m.Input)) {
				for name, odd := range texts {
					input := object{}
					for known := range m.Input {
						v, ok := good[known]
						if _, text := v.(string); ok && !text && m.Input[known] == "string" {
							v = "text"
						}
						if ok {
							input[known] = v
						}
					}
					if m.Query {
						odd = url.QueryEscape(odd)
					}
					switch kind := m.Input[property]; {
					case kind == "string":
						input[property] = odd
					case kind == "array":
						input[property] = []string{odd}
					case property == "takedown":
						input[property] = object{"applied": true, "ref": odd}
					case property == "subject" && kind == "union":
						input[property] = object{"$type": "com.atproto.admin.defs#repoRef", "did": odd}
					case kind == "unknown":
						input[property] = object{odd: odd}
					default:
						continue
					}
					if a := s.do(who, method, input); a.status >= 500 {
						t.Errorf("%s with %s as %s: %d %s", method, name, property, a.status, a.body)
					}
				}
			}
		}
	})
}
