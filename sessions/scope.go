package sessions

import (
	"fmt"
	"strings"

	"github.com/bluesky-social/indigo/atproto/auth"
)

// Scope is the scope claim of a token, in the words of the reference server. It stands for a set of
// permissions.
type Scope string

// The scopes of tokens.
const (
	// ScopeAccess is the scope of sessions that the owner of the account has opened, who may do
	// everything.
	ScopeAccess Scope = "com.atproto.access"
	// ScopeAppPass is the scope of sessions that were opened with an app password, which can't manage
	// the account.
	ScopeAppPass Scope = "com.atproto.appPass"
	// ScopeAppPassPrivileged is ScopeAppPass with access to direct messages (chat.bsky) and to moving
	// the account to another server.
	ScopeAppPassPrivileged Scope = "com.atproto.appPassPrivileged"
	// ScopeTakendown is the scope of access tokens of an account that is taken down. They allow its
	// owner to leave for another server.
	ScopeTakendown Scope = "com.atproto.takendown"
	// ScopeRefresh is the scope of refresh tokens, which allow nothing but a refresh.
	ScopeRefresh Scope = "com.atproto.refresh"
)

// Permissions returns what access tokens of a scope may do here: nothing, if the scope isn't one of
// the constants, or is [ScopeRefresh].
func (s *Service) Permissions(scope Scope) Permissions { return s.scopes[scope] }

// scopes returns what access tokens of each scope may do.
func scopes(cfg Config) map[Scope]Permissions {
	app := []Permission{SeeSession, UseAccount, ConfirmEmail, ChangeHandle, SubmitIdentity}
	if cfg.EmailForAppPasswords {
		app = append(app, ReadEmail)
	}
	return map[Scope]Permissions{
		ScopeAccess: {
			ours: []Permission{
				SeeSession, UseAccount, ManageAccount, DeactivateAccount, ReadEmail, ConfirmEmail, ChangeEmail, ChangeHandle, SignIdentity, SubmitIdentity,
			},
			resources: []granted{allRecords, allBlobs, allOfAccount, allOfIdentity, methods(nil)},
		},
		ScopeAppPass: {
			ours:      app,
			resources: []granted{allRecords, allBlobs, methods(func(m string) bool { return !cfg.ServiceAuth.privileges(m) })},
		},
		ScopeAppPassPrivileged: {
			ours:      app,
			resources: []granted{allRecords, allBlobs, methods(nil)},
		},
		ScopeTakendown: {
			ours:      []Permission{SeeSession, DeactivateAccount, ReadEmail, SignIdentity},
			resources: []granted{methods(func(m string) bool { return m == methodCreateAccount })},
		},
	}
}

// The permissions of this package that an OAuth session always has, or never.
const (
	always Permission = "always"
	never  Permission = "never"
)

// oauthNeeds is what an OAuth session needs to be granted to have a permission of this package.
var oauthNeeds = map[Permission]Permission{
	SeeSession:        always,
	UseAccount:        always,
	ManageAccount:     never,
	DeactivateAccount: never,
	ReadEmail:         "account:email?action=read",
	ConfirmEmail:      "account:email?action=manage",
	ChangeEmail:       never,
	ChangeHandle:      "identity:handle",
	SignIdentity:      "identity:*",
	SubmitIdentity:    "identity:*",
}

// OAuthPermissions returns what a session with an OAuth scope may do. Unknown parts of the scope
// allow nothing, and neither do permission sets ("include:"), which have to be resolved before. A
// scope without "atproto" is an [ErrPermission] (source: https://atproto.com/specs/permission).
func OAuthPermissions(scope string) (Permissions, error) {
	parsed, err := auth.ParseOAuthScope(scope)
	if err != nil {
		return Permissions{}, fmt.Errorf("%w: the OAuth scope %q: %w", ErrPermission, scope, err)
	}
	var s Permissions
	for _, p := range parsed {
		s.resources = append(s.resources, granted{Permission: p})
	}
	for _, transition := range strings.Fields(scope) {
		switch transition {
		case "transition:email":
			s.resources = append(s.resources, granted{Permission: auth.Permission{Resource: "account", Attribute: "email"}})
		case "transition:generic":
			s.resources = append(s.resources, allRecords, allBlobs, methods(func(m string) bool { return !isChat(m) }))
		case "transition:chat.bsky":
			s.resources = append(s.resources, methods(isChat))
		}
	}
	for p, need := range oauthNeeds {
		if need == always || need != never && s.Allow(need) {
			s.ours = append(s.ours, p)
		}
	}
	return s, nil
}

// isChat reports whether a method is one of direct messages.
func isChat(method string) bool { return strings.HasPrefix(strings.ToLower(method), "chat.bsky.") }

// Resources as a whole.
var (
	allRecords    = granted{Permission: auth.Permission{Resource: "repo", Collection: []string{"*"}}}
	allBlobs      = granted{Permission: auth.Permission{Resource: "blob", Accept: []string{"*/*"}}}
	allOfAccount  = granted{Permission: auth.Permission{Resource: "account", Attribute: "*", Action: []string{"manage"}}}
	allOfIdentity = granted{Permission: auth.Permission{Resource: "identity", Attribute: "*"}}
)

// methods returns the methods of all services for which allowed returns true. If allowed is nil, it
// returns all methods.
func methods(allowed func(string) bool) granted {
	return granted{auth.Permission{Resource: "rpc", Endpoint: []string{"*"}, Audience: "*"}, allowed}
}
