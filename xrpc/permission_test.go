package xrpc

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// The answers of the two ways to what a method asks for: by the scopes of the reference server, and
// by OAuth scopes.
type permissionRow struct {
	scopes string // that may call the method, of those below
	oauth  string // the least OAuth scope that may, beside atproto; "never" if none may
}

var scopeLetters = map[string]sessions.Scope{
	"A": sessions.ScopeAccess, "P": sessions.ScopeAppPass, "V": sessions.ScopeAppPassPrivileged, "T": sessions.ScopeTakendown, "R": sessions.ScopeRefresh,
}

// permissionTable is every method that takes an access token (source:
// https://atproto.com/specs/permission, and the reference server).
var permissionTable = map[string]permissionRow{
	"com.atproto.server.getSession":                     {"APVT", ""},
	"com.atproto.server.getServiceAuth":                 {"APVT", ""}, // and what it asks for beside: see TestServiceAuthAsksForTheMethod
	"com.atproto.server.checkAccountStatus":             {"APV", ""},
	"com.atproto.identity.getRecommendedDidCredentials": {"APV", ""},
	"com.atproto.temp.checkSignupQueue":                 {"APV", ""},
	"com.atproto.identity.updateHandle":                 {"APV", "identity:handle"},
	"com.atproto.identity.requestPlcOperationSignature": {"AT", "identity:*"},
	"com.atproto.identity.signPlcOperation":             {"AT", "identity:*"},
	"com.atproto.identity.submitPlcOperation":           {"APV", "identity:*"},
	"com.atproto.server.requestEmailConfirmation":       {"APV", "account:email?action=manage"},
	"com.atproto.server.confirmEmail":                   {"APV", "account:email?action=manage"},
	"com.atproto.server.requestEmailUpdate":             {"A", "never"},
	"com.atproto.server.updateEmail":                    {"A", "never"},
	"com.atproto.server.createAppPassword":              {"A", "never"},
	"com.atproto.server.listAppPasswords":               {"A", "never"},
	"com.atproto.server.revokeAppPassword":              {"A", "never"},
	"com.atproto.server.activateAccount":                {"A", "never"},
	"com.atproto.server.deactivateAccount":              {"AT", "never"},
	"com.atproto.server.requestAccountDelete":           {"A", "never"},
	"com.atproto.server.getAccountInviteCodes":          {"A", "never"},
	// These take a refresh token, which no OAuth session has.
	"com.atproto.server.refreshSession": {"", "never"},
	"com.atproto.server.deleteSession":  {"", "never"},
}

// everyOAuthScope is all that an OAuth session may be granted that a method of this package could
// ask for.
var everyOAuthScope = []string{
	"transition:email", "transition:generic", "transition:chat.bsky", "account:email", "account:email?action=manage", "account:repo?action=manage",
	"identity:handle", "identity:*", "repo:*", "blob:*/*", "rpc:com.atproto.server.createAccount?aud=*",
}

// covered are the scopes that do as well as the least.
var covered = map[string][]string{
	"identity:handle": {"identity:handle", "identity:*"},
	"identity:*":      {"identity:*"}, "account:email?action=manage": {"account:email?action=manage"},
}

// TestBothWaysAnswerForEveryMethod: each row of the table of methods names permissions, and scopes
// of both kinds say whether they have them.
func TestBothWaysAnswerForEveryMethod(t *testing.T) {
	store := memory.New()
	defer store.Close()
	secret := make([]byte, 32)
	service, err := sessions.New(t.Context(), store, nil, sessions.Config{
		ServiceDID: "did:web:pds.test", Keys: []sessions.Key{{Secret: secret}}, Secret: secret, ServiceAuth: ServiceAuthRules(),
	})
	if err != nil {
		t.Fatal(err)
	}
	rest := maps.Clone(permissionTable)
	for _, m := range table() {
		by, ok := m.auth.(bySession)
		if !ok {
			continue
		}
		want, listed := rest[m.nsid]
		if !listed {
			t.Errorf("%s isn't listed here", m.nsid)
		}
		delete(rest, m.nsid)
		if (len(by.permissions) == 0) != (want.scopes == "") {
			t.Errorf("%s names the permissions %v", m.nsid, by.permissions)
		}
		if len(by.permissions) == 0 {
			continue
		}
		for _, p := range by.permissions {
			if err := p.Check(); err != nil {
				t.Errorf("%s: %v", m.nsid, err)
			}
		}
		for letter, scope := range scopeLetters {
			if got := service.Permissions(scope).Allow(by.permissions...); got != strings.Contains(want.scopes, letter) {
				t.Errorf("%s with %s: %t", m.nsid, scope, got)
			}
		}
		for _, granted := range append(everyOAuthScope, "") {
			ps, err := sessions.OAuthPermissions("atproto " + granted)
			if err != nil {
				t.Fatal(err)
			}
			may := want.oauth == "" || slices.Contains(covered[want.oauth], granted)
			if got := ps.Allow(by.permissions...); got != may {
				t.Errorf("%s with %q: %t", m.nsid, granted, got)
			}
		}
		all, err := sessions.OAuthPermissions("atproto " + strings.Join(everyOAuthScope, " "))
		if got := all.Allow(by.permissions...); err != nil || got != (want.oauth != "never") {
			t.Errorf("%s with everything: %t, %v", m.nsid, got, err)
		}
	}
	for nsid := range rest {
		t.Errorf("%s is no method that takes a session's token", nsid)
	}
}

// TestServiceAuthAsksForTheMethod: what getServiceAuth asks for beside its own permission, and what
// getSession asks for to show the e-mail address.
func TestServiceAuthAsksForTheMethod(t *testing.T) {
	const aud = "did:web:api.example.com#api"
	for scope, want := range map[string]string{ // what is allowed: a method, any method, chat, and the e-mail address
		"atproto":                                                         "----",
		"atproto transition:generic":                                      "ma--",
		"atproto transition:chat.bsky":                                    "--c-",
		"atproto transition:email":                                        "---e",
		"atproto account:email":                                           "---e",
		"atproto account:email?action=manage":                             "---e",
		"atproto rpc:com.example.get?aud=*":                               "m---",
		"atproto rpc:chat.bsky.convo.send?aud=*":                          "--c-",
		"atproto rpc:*?aud=did:web:api.example.com%23api":                 "mac-",
		"atproto rpc:com.example.get?aud=did:web:api.example.com%23api":   "m---",
		"atproto rpc:com.example.get?aud=did:web:api.example.com%23other": "----",
	} {
		ps, err := sessions.OAuthPermissions(scope)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range []sessions.Permission{
			sessions.RPC("com.example.get", aud), sessions.RPC("*", aud), sessions.RPC("chat.bsky.convo.send", aud), sessions.ReadEmail,
		} {
			if got := ps.Allow(p); got != (want[i] != '-') {
				t.Errorf("%s: %s: %t", scope, p, got)
			}
		}
	}
}

// TestRequireAuthPanicsWithoutAPermission: nobody could use such a route.
func TestRequireAuthPanicsWithoutAPermission(t *testing.T) {
	for name, require := range map[string]func(){
		"RequireAuth":   func() { new(Server).RequireAuth("manage") },
		"RequireActive": func() { new(Server).RequireActive(sessions.ManageAccount, "repo:app") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s takes anything for a permission", name)
				}
			}()
			require()
		}()
	}
	new(Server).RequireAuth(sessions.ManageAccount, "repo:app.bsky.feed.post?action=create")
}
