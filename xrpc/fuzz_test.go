package xrpc_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// FuzzRequest sends anything: no request panics or causes an internal error, and every refusal has
// an error name and a message in JSON.
func FuzzRequest(f *testing.F) {
	srv := gatehousetest.NewServer(f)
	alice := srv.CreateAccount("alice.test")
	const json1 = "application/json"
	for _, seed := range [][5]string{
		{"GET", describe, "", "", ""},
		{"POST", createSession, "", json1, `{"identifier":"alice.test","password":"password"}`},
		{"POST", createSession, "", json1, `{"identifier":"ALICE@example.com ","password":"aaaa-bbbb-cccc-dddd","authFactorToken":"x","allowTakendown":true}`},
		{"POST", createSession, "", json1, `{"identifier":"\u202ahttps://bsky.app/profile/%40Alice.test.\u202c","password":"AAAA BBBB CCCC DDDD","authFactorToken":"code=aaaaa bbbbb"}`},
		{"POST", "/xrpc/com.atproto.server.createAccount", "Bearer x.y.z", json1, `{"handle":"bob.test","email":"bob@example.com","password":"password","inviteCode":"x","recoveryKey":"did:key:z","did":"did:plc:iowu64gp7dw45k7uky3m3yos"}`},
		{"POST", "/xrpc/com.atproto.server.createAppPassword", "A", json1, `{"name":"\u0000","privileged":true}`},
		{"POST", "/xrpc/com.atproto.server.createInviteCodes", "Basic YWRtaW46YWRtaW4tcGFzc3dvcmQ=", json1, `{"codeCount":2,"useCount":9223372036854775807,"forAccounts":["did:web:a"]}`},
		{"POST", "/xrpc/com.atproto.server.createInviteCode", "Basic YWRtaW46YWRtaW4tcGFzc3dvcmQ=", json1, `{"useCount":1e3,"forAccount":"did:web:x%20y"}`},
		{"POST", "/xrpc/com.atproto.server.resetPassword", "", json1, `{"token":"AAAAA-BBBBB","password":"☃"}`},
		{"POST", "/xrpc/com.atproto.server.deleteAccount", "", json1, `{"did":"did:plc:x","password":"p","token":"☃"}`},
		{"POST", "/xrpc/com.atproto.server.requestPasswordReset", "", json1, `{"email":"\u0000@"}`},
		{"POST", "/xrpc/com.atproto.server.requestPasswordReset", "", json1, `{"email":"at://alice.test/x"}`},
		{"POST", "/xrpc/com.atproto.server.revokeAppPassword", "A", json1, `{"name":"` + strings.Repeat("n", 2000) + `"}`},
		{"GET", "/xrpc/com.atproto.server.getAccountInviteCodes?includeUsed=%ff&createAvailable", "A", "", ""},
		{"POST", "/xrpc/com.atproto.server.refreshSession", "R", "", ""},
		{"POST", "/xrpc/com.atproto.server.deleteSession", "Bearer", "", ""},
		{"OPTIONS", "/xrpc/\x00", "", "", ""},
		{"POST", "/xrpc/com.atproto.admin.disableInviteCodes", "Basic YWRtaW46YWRtaW4tcGFzc3dvcmQ=", json1, `{"codes":["\u0000"],"accounts":["☃"]}`},
		{"POST", "/xrpc/com.atproto.admin.updateSubjectStatus", "Basic YWRtaW46YWRtaW4tcGFzc3dvcmQ=", json1, `{"subject":{"$type":"com.atproto.admin.defs#repoRef","did":"did:web:a.test"},"takedown":{"applied":true,"ref":"x"}}`},
		{"GET", "/xrpc/com.atproto.admin.searchAccounts?email=a%00&cursor=x&limit=1", "Basic YWRtaW46YWRtaW4tcGFzc3dvcmQ=", "", ""},
		{"POST", "/xrpc/com.atproto.identity.signPlcOperation", "A", json1, `{"token":"AAAAA-AAAAA","services":{"":{}},"verificationMethods":[]}`},
		{"POST", "/xrpc/com.atproto.identity.submitPlcOperation", "A", json1, `{"operation":{"type":"plc_operation","sig":"x"}}`},
		{"GET", "/xrpc/com.atproto.server.getServiceAuth?aud=did:web:a.test%23b&lxm=com.example.x&exp=1", "A", "", ""},
		{"POST", "/xrpc/com.atproto.server.deactivateAccount", "A", json1, `{"deleteAfter":"2026-01-02T03:04:05Z"}`},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], []byte(seed[4]))
	}
	f.Fuzz(func(t *testing.T, verb, path, authorization, contentType string, body []byte) {
		u, err := url.Parse(path)
		if err != nil || !validVerb(verb) {
			return
		}
		// A and R stand for valid tokens, which the fuzzer can't guess.
		switch authorization {
		case "A":
			authorization = "Bearer " + alice.AccessJWT
		case "R":
			authorization = "Bearer " + alice.RefreshJWT
		}
		r := httptest.NewRequest("GET", "/", strings.NewReader(string(body)))
		r.Method, r.URL = verb, u
		r.Header = http.Header{"Authorization": {authorization}, "Content-Type": {contentType}}
		w := httptest.NewRecorder()
		srv.Gatehouse.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusNotImplemented {
			t.Fatalf("%s %q %q %q: %d %s", verb, path, authorization, body, w.Code, w.Body)
		}
		if w.Code >= 400 && verb != http.MethodHead {
			var e struct{ Error, Message string }
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Error == "" || e.Message == "" {
				t.Fatalf("%s %q: %d %q", verb, path, w.Code, w.Body)
			}
		}
	})
}

func validVerb(verb string) bool {
	return verb != "" && strings.Trim(verb, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func BenchmarkGetSession(b *testing.B) {
	srv := gatehousetest.NewServer(b)
	alice := srv.CreateAccount("alice.test")
	empty := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("{}")) })
	for _, c := range []struct {
		name    string
		handler http.Handler
	}{{"gatehouse", srv.Gatehouse}, {"empty", empty}} {
		// Over a real connection, as a client meets it.
		server := httptest.NewServer(c.handler)
		b.Run(c.name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, _ := http.NewRequest("GET", server.URL+getSession, nil)
					req.Header.Set("Authorization", "Bearer "+alice.AccessJWT)
					resp, err := server.Client().Do(req)
					if err != nil || resp.StatusCode != 200 {
						b.Error(resp, err)
						return
					}
					resp.Body.Close()
				}
			})
		})
		server.Close()
	}
}
