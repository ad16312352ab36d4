package xrpc_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// protected are the methods that no session gets a service token for (source: the reference
// server).
var protected = []string{
	"com.atproto.admin.sendEmail",
	"com.atproto.identity.requestPlcOperationSignature",
	"com.atproto.identity.signPlcOperation",
	"com.atproto.identity.updateHandle",
	"com.atproto.server.activateAccount",
	"com.atproto.server.confirmEmail",
	"com.atproto.server.createAppPassword",
	"com.atproto.server.deactivateAccount",
	"com.atproto.server.getAccountInviteCodes",
	"com.atproto.server.getSession",
	"com.atproto.server.listAppPasswords",
	"com.atproto.server.requestAccountDelete",
	"com.atproto.server.requestEmailConfirmation",
	"com.atproto.server.requestEmailUpdate",
	"com.atproto.server.revokeAppPassword",
	"com.atproto.server.updateEmail",
}

func TestServiceAuthRules(t *testing.T) {
	rules := xrpc.ServiceAuthRules()
	slices.Sort(rules.Protected)
	if !slices.Equal(rules.Protected, protected) {
		t.Errorf("protected: %q", rules.Protected)
	}
	if want := []string{"chat.bsky.*", "com.atproto.server.createAccount"}; !slices.Equal(rules.Privileged, want) {
		t.Errorf("privileged: %q, want %q", rules.Privileged, want)
	}
}

// TestServiceTokensByTheTable asks a server for service tokens for each protected and privileged
// method, also in another spelling.
func TestServiceTokensByTheTable(t *testing.T) {
	srv := gatehousetest.NewServer(t)
	alice := srv.CreateAccount("alice.test")
	post := func(path, body string, out any, header ...string) {
		t.Helper()
		resp, answer := do(t, srv, request{path: path, header: asJSON(header...), body: body})
		if err := json.Unmarshal(answer, out); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, answer)
		}
	}
	session := func(privileged bool) string {
		t.Helper()
		var made struct{ Password string }
		post("/xrpc/com.atproto.server.createAppPassword", fmt.Sprintf(`{"name":"app %v","privileged":%v}`, privileged, privileged),
			&made, "Authorization", "Bearer "+alice.AccessJWT)
		var login struct{ AccessJWT string }
		post(createSession, fmt.Sprintf(`{"identifier":"alice.test","password":%q}`, made.Password), &login)
		return login.AccessJWT
	}
	plain, privileged := session(false), session(true)
	refused := func(jwt, method string) bool {
		t.Helper()
		query := url.Values{"aud": {"did:web:elsewhere.test"}, "lxm": {method}}
		resp, body := do(t, srv, request{
			path: "/xrpc/com.atproto.server.getServiceAuth?" + query.Encode(), header: map[string]string{"Authorization": "Bearer " + jwt},
		})
		if resp.StatusCode != http.StatusOK && !strings.Contains(string(body), method) {
			t.Errorf("%s: %d %s", method, resp.StatusCode, body)
		}
		return resp.StatusCode == http.StatusBadRequest
	}
	for _, method := range protected {
		for _, spelling := range []string{method, strings.ToLower(method)} {
			for name, jwt := range map[string]string{"the owner": alice.AccessJWT, "a plain app": plain, "a privileged app": privileged} {
				if !refused(jwt, spelling) {
					t.Errorf("%s gets a token for %s", name, spelling)
				}
			}
		}
	}
	for _, method := range []string{"chat.bsky.convo.sendMessage", "Chat.Bsky.Convo.SendMessage", "com.atproto.server.createAccount", "com.atproto.server.createaccount"} {
		if !refused(plain, method) || refused(privileged, method) || refused(alice.AccessJWT, method) {
			t.Errorf("%s is not for privileged sessions only", method)
		}
	}
	for _, method := range []string{"com.atproto.server.checkAccountStatus", "chat.bskyx.convo.sendMessage", "app.bsky.feed.getTimeline"} {
		if refused(plain, method) {
			t.Errorf("a plain app gets no token for %s", method)
		}
	}
}
