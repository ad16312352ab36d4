package sessions_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
)

// ours are the permissions of this package.
var ours = []sessions.Permission{
	sessions.SeeSession, sessions.UseAccount, sessions.ManageAccount, sessions.DeactivateAccount, sessions.ReadEmail, sessions.ConfirmEmail,
	sessions.ChangeEmail, sessions.ChangeHandle, sessions.SignIdentity, sessions.SubmitIdentity,
}

const (
	appView = "did:web:api.bsky.app#bsky_appview"
	chat    = "did:web:api.bsky.chat#bsky_chat"
)

// theirs are permissions in the syntax of the protocol.
var theirs = []sessions.Permission{
	"repo:app.bsky.feed.post", "repo:app.bsky.feed.post?action=create", "repo:app.bsky.feed.post?action=create&action=delete",
	"repo?collection=app.bsky.feed.post&collection=app.bsky.feed.like&action=delete", "repo:*?action=create", "repo:*",
	"blob:image/png", "blob:image/*", "blob:video/mp4", "blob:*/*",
	"rpc:app.bsky.feed.getTimeline?aud=did:web:api.bsky.app%23bsky_appview", "rpc:chat.bsky.convo.getLog?aud=did:web:api.bsky.chat%23bsky_chat",
	sessions.RPC("com.atproto.server.createAccount", "did:web:elsewhere.test"), sessions.RPC("*", appView), sessions.RPC("*", chat),
	"account:email", "account:email?action=manage", "account:repo?action=manage", "identity:handle", "identity:*",
}

// allows checks that of all permissions exactly some are in a set.
func allows(t *testing.T, what string, ps sessions.Permissions, some ...sessions.Permission) {
	t.Helper()
	want := map[sessions.Permission]bool{}
	for _, p := range some {
		want[p] = true
	}
	for _, p := range append(ours[:len(ours):len(ours)], theirs...) {
		if err := p.Check(); err != nil {
			t.Error(err)
		}
		if got := ps.Allow(p); got != want[p] {
			t.Errorf("%s: %s is allowed: %t", what, p, got)
		}
		delete(want, p)
	}
	for p := range want {
		t.Errorf("%s is not among those that are tried", p)
	}
}

func TestScopesAreSetsOfPermissions(t *testing.T) {
	s := domaintest.New(t)
	records := theirs[:10]
	timeline, log, createAccount, anyOfApp, anyOfChat := theirs[10], theirs[11], theirs[12], theirs[13], theirs[14]
	allows(t, "access", s.Sessions.Permissions(sessions.ScopeAccess), append(ours[:len(ours):len(ours)], theirs...)...)
	app := []sessions.Permission{
		sessions.SeeSession, sessions.UseAccount, sessions.ConfirmEmail, sessions.ChangeHandle, sessions.SubmitIdentity, timeline, anyOfApp, anyOfChat,
	}
	app = append(app, records...)
	allows(t, "app password", s.Sessions.Permissions(sessions.ScopeAppPass), app...)
	allows(t, "privileged app password", s.Sessions.Permissions(sessions.ScopeAppPassPrivileged), append(app, log, createAccount)...)
	allows(t, "leaving", s.Sessions.Permissions(sessions.ScopeTakendown),
		sessions.SeeSession, sessions.DeactivateAccount, sessions.ReadEmail, sessions.SignIdentity, createAccount)
	allows(t, "refresh", s.Sessions.Permissions(sessions.ScopeRefresh))
	allows(t, "unknown", s.Sessions.Permissions("atproto transition:generic"))
	allows(t, "nothing", sessions.Permissions{})
}

func TestOAuthScopesAreSetsOfPermissions(t *testing.T) {
	always := []sessions.Permission{sessions.SeeSession, sessions.UseAccount}
	records := theirs[:10]
	timeline, log, createAccount, anyOfApp, anyOfChat := theirs[10], theirs[11], theirs[12], theirs[13], theirs[14]
	for scope, more := range map[string][]sessions.Permission{
		"atproto":                   nil,
		"atproto transition:email":  {sessions.ReadEmail, "account:email"},
		"transition:email  atproto": {sessions.ReadEmail, "account:email"},
		// The reference server gives a token for any method to whoever has transition:generic.
		"atproto transition:generic":                                           append([]sessions.Permission{timeline, createAccount, anyOfApp, anyOfChat}, records...),
		"atproto transition:chat.bsky":                                         {log},
		"atproto transition:generic transition:chat.bsky":                      append([]sessions.Permission{timeline, createAccount, anyOfApp, anyOfChat, log}, records...),
		"atproto account:email":                                                {sessions.ReadEmail, "account:email"},
		"atproto account:email?action=read":                                    {sessions.ReadEmail, "account:email"},
		"atproto account:email?action=manage":                                  {sessions.ReadEmail, sessions.ConfirmEmail, "account:email", "account:email?action=manage"},
		"atproto account?attr=email&action=manage":                             {sessions.ReadEmail, sessions.ConfirmEmail, "account:email", "account:email?action=manage"},
		"atproto account:repo?action=manage":                                   {"account:repo?action=manage"},
		"atproto account:repo":                                                 nil,
		"atproto identity:handle":                                              {sessions.ChangeHandle, "identity:handle"},
		"atproto identity:*":                                                   {sessions.ChangeHandle, sessions.SignIdentity, sessions.SubmitIdentity, "identity:handle", "identity:*"},
		"atproto repo:*":                                                       {"repo:app.bsky.feed.post", "repo:app.bsky.feed.post?action=create", theirs[2], theirs[3], "repo:*?action=create", "repo:*"},
		"atproto repo:*?action=create":                                         {"repo:app.bsky.feed.post?action=create", "repo:*?action=create"},
		"atproto repo:app.bsky.feed.post":                                      {"repo:app.bsky.feed.post", "repo:app.bsky.feed.post?action=create", theirs[2]},
		"atproto repo:app.bsky.feed.post?action=create":                        {"repo:app.bsky.feed.post?action=create"},
		"atproto repo:app.bsky.feed.like repo:app.bsky.feed.post":              {"repo:app.bsky.feed.post", "repo:app.bsky.feed.post?action=create", theirs[2], theirs[3]},
		"atproto repo:app.bsky.feed.*":                                         nil, // isn't a permission
		"atproto blob:image/*":                                                 {"blob:image/png", "blob:image/*"},
		"atproto blob:IMAGE/png":                                               {"blob:image/png"},
		"atproto blob:*/*":                                                     {"blob:image/png", "blob:image/*", "blob:video/mp4", "blob:*/*"},
		"atproto rpc:app.bsky.feed.getTimeline?aud=*":                          {timeline},
		"atproto rpc:app.bsky.feed.getTimeline?aud=" + appView:                 {timeline},
		"atproto rpc:app.bsky.feed.getTimeline?aud=did:web:api.bsky.app%23x":   nil,
		"atproto rpc:*?aud=did:web:api.bsky.app%23bsky_appview":                {timeline, anyOfApp},
		"atproto rpc:*?aud=*":                                                  nil,
		"atproto rpc:chat.bsky.convo.getLog?aud=*":                             {log},
		"atproto include:app.bsky.authFull?aud=did:web:api.bsky.app%23appview": nil, // has to be resolved before
		"atproto com.atproto.access":                                           nil,
		"atproto manage-account see-session always never":                      nil,
		"atproto transition:generic:x":                                         nil,
	} {
		ps, err := sessions.OAuthPermissions(scope)
		if err != nil {
			t.Errorf("%s: %v", scope, err)
		}
		allows(t, scope, ps, append(always, more...)...)
	}
	for _, scope := range []string{"", "transition:generic", "repo:*", "Atproto", "com.atproto.access"} {
		if ps, err := sessions.OAuthPermissions(scope); !errors.Is(err, sessions.ErrPermission) || ps.Allow(sessions.SeeSession) {
			t.Errorf("%q: %v", scope, err)
		}
	}
}

// TestPermissionsAreWrittenWhateverTheyHold: what a client sends can't make one permission another.
func TestPermissionsAreWrittenWhateverTheyHold(t *testing.T) {
	s := domaintest.New(t)
	for want, p := range map[sessions.Permission]sessions.Permission{
		"repo:app.bsky.feed.post":                             sessions.Repo("app.bsky.feed.post"),
		"repo:app.bsky.feed.post?action=create&action=update": sessions.Repo("app.bsky.feed.post", "create", "update"),
		"repo:*?action=delete":                                sessions.Repo("*", "delete"),
		"blob:image/png":                                      sessions.Blob("image/png"),
		"rpc:app.bsky.feed.getTimeline?aud=did%3Aweb%3Aapi.bsky.app%23bsky_appview": sessions.RPC("app.bsky.feed.getTimeline", appView),
	} {
		if p != want || p.Check() != nil {
			t.Errorf("%s, not %s: %v", p, want, p.Check())
		}
	}
	narrow, err := sessions.OAuthPermissions("atproto repo:app.bsky.feed.post?action=create blob:image/png rpc:app.bsky.feed.getTimeline?aud=*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []sessions.Permission{
		sessions.Repo("app.bsky.feed.post?action=create", "delete"), sessions.Repo("app.bsky.feed.post?action=create&action=", "delete"),
		sessions.Repo("app.bsky.feed.post", "delete&action=create"), sessions.Repo("", "create"), sessions.Repo("app.bsky.feed.post", ""),
		sessions.Blob("image/png?"), sessions.Blob("image/png?accept=image/png"), sessions.Blob(""), sessions.Blob("image/png image/*"),
		sessions.RPC("app.bsky.feed.getTimeline?aud=*&lxm=", appView), sessions.RPC("", appView), sessions.RPC("app.bsky.feed.getTimeline\u00e9", appView),
	} {
		if narrow.Allow(p) {
			t.Errorf("%s is allowed", p)
		}
	}
	for _, p := range []sessions.Permission{"", "manage", "ManageAccount", "repo", "repo:", "repo:app", "account:password", "include:app.bsky.authFull", "identity", "always", "never"} {
		if err := p.Check(); !errors.Is(err, sessions.ErrPermission) || s.Sessions.Permissions(sessions.ScopeAccess).Allow(p) {
			t.Errorf("%q: %v", p, err)
		}
	}
}

func TestAppPasswordsSeeTheEmailAddressIfTheyMay(t *testing.T) {
	for _, may := range []bool{false, true} {
		s := domaintest.New(t, func(c *domaintest.Config) { c.Sessions.EmailForAppPasswords = may })
		id := s.SignUp("alice").Account.DID
		for _, privileged := range []bool{false, true} {
			name := map[bool]string{false: "plain", true: "privileged"}[privileged]
			_, app, err := s.AppPasswords.Create(ctx, id, name, privileged)
			if err != nil {
				t.Fatal(err)
			}
			k, err := s.SignIn.SignIn(ctx, signin.Attempt{Identifier: "alice.test", Password: app})
			if err != nil {
				t.Fatal(err)
			}
			auth, err := s.Sessions.Verify(ctx, sessions.Bearer(k.AccessJWT))
			if err != nil || auth.Allows(sessions.ReadEmail) != may || k.Permissions.Allow(sessions.ReadEmail) != may {
				t.Errorf("%s, where they may: %t: %v", name, may, err)
			}
		}
	}
}

// TestVerifyAsksForEveryPermission, of a request with a bearer token.
func TestVerifyAsksForEveryPermission(t *testing.T) {
	s := domaintest.New(t)
	k := s.SignUp("alice")
	_, app, err := s.AppPasswords.Create(ctx, k.Account.DID, "app", false)
	if err != nil {
		t.Fatal(err)
	}
	apps, err := s.SignIn.SignIn(ctx, signin.Attempt{Identifier: "alice.test", Password: app})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		request sessions.Request
		all     []sessions.Permission
		good    bool
	}{
		"none":                          {sessions.Bearer(apps.AccessJWT), nil, true},
		"one it has":                    {sessions.Bearer(apps.AccessJWT), []sessions.Permission{sessions.ChangeHandle}, true},
		"two it has":                    {sessions.Bearer(apps.AccessJWT), []sessions.Permission{sessions.ChangeHandle, "repo:app.bsky.feed.post"}, true},
		"one of two":                    {sessions.Bearer(apps.AccessJWT), []sessions.Permission{sessions.ChangeHandle, sessions.ManageAccount}, false},
		"what the owner has":            {sessions.Bearer(k.AccessJWT), []sessions.Permission{sessions.ChangeHandle, sessions.ManageAccount}, true},
		"what nobody has":               {sessions.Bearer(k.AccessJWT), []sessions.Permission{"nothing"}, false},
		"of a refresh token":            {sessions.Bearer(k.RefreshJWT), nil, false},
		"with the scheme of bound ones": {sessions.Request{Scheme: sessions.SchemeDPoP, Token: k.AccessJWT, Method: "GET", URL: "https://pds.test/", Proofs: []string{"x"}}, nil, false},
		"with another scheme":           {sessions.Request{Scheme: "Basic", Token: k.AccessJWT}, nil, false},
		"without a scheme":              {sessions.Request{Token: k.AccessJWT}, nil, false},
	} {
		_, err := s.Sessions.Verify(ctx, c.request, c.all...)
		_, active := s.Sessions.VerifyActive(ctx, c.request, c.all...)
		if (err == nil) != c.good || (active == nil) != c.good || err != nil && (!errors.Is(err, sessions.ErrInvalidToken) || !errors.Is(active, sessions.ErrInvalidToken)) {
			t.Errorf("%s: %v, %v", name, err, active)
		}
	}
}

// TestARefreshTokenIsParsedOnce: what was parsed is all that its charge and its use need.
func TestARefreshTokenIsParsedOnce(t *testing.T) {
	s := domaintest.New(t)
	k := s.SignUp("alice")
	for name, c := range map[string]struct {
		token string
		alive bool
	}{"a good one": {k.RefreshJWT, true}, "an access token": {k.AccessJWT, false}, "junk": {"junk", false}, "nothing": {"", false}} {
		token := s.Sessions.ParseRefresh(c.token)
		auth, err := token.Session(ctx)
		if err != nil || (auth != nil) != c.alive || auth != nil && (auth.Account.DID != k.Account.DID || auth.Allows(sessions.SeeSession)) {
			t.Errorf("%s: its session is %+v, %v", name, auth, err)
		}
		if _, err := token.Refresh(ctx); (err == nil) != c.alive || err != nil && !errors.Is(err, sessions.ErrInvalidToken) {
			t.Errorf("%s: a refresh: %v", name, err)
		}
		if err := token.End(ctx); (err == nil) != c.alive || err != nil && !errors.Is(err, sessions.ErrInvalidToken) {
			t.Errorf("%s: its end: %v", name, err)
		}
		if auth, err := token.Session(ctx); auth != nil || err != nil {
			t.Errorf("%s: after its end its session is %+v, %v", name, auth, err)
		}
	}
	// One that has expired ends its session, and refreshes nothing.
	k = s.SignUp("bob")
	token := s.Sessions.ParseRefresh(k.RefreshJWT)
	s.Advance(91 * 24 * time.Hour)
	late := s.Sessions.ParseRefresh(k.RefreshJWT)
	if _, err := late.Refresh(ctx); !errors.Is(err, sessions.ErrExpiredToken) {
		t.Errorf("a late refresh: %v", err)
	}
	if _, err := token.Refresh(ctx); !errors.Is(err, sessions.ErrExpiredToken) { // the session has ended since
		t.Errorf("a refresh with a token that was parsed before: %v", err)
	}
	if err := late.End(ctx); err != nil {
		t.Errorf("its end: %v", err)
	}
}
