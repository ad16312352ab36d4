package sessions

import (
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Scope says what a token may do, in the words of the reference server.
type Scope string

// The scopes of tokens.
const (
	// ScopeAccess may do everything: the session was opened with the account password.
	ScopeAccess Scope = "com.atproto.access"
	// ScopeAppPass may not manage the account: the session was opened with an app password.
	ScopeAppPass Scope = "com.atproto.appPass"
	// ScopeAppPassPrivileged is ScopeAppPass with access to direct messages and the like.
	ScopeAppPassPrivileged Scope = "com.atproto.appPassPrivileged"
	// ScopeTakendown may only prepare to leave: the account is taken down.
	ScopeTakendown Scope = "com.atproto.takendown"
	// ScopeRefresh is that of refresh tokens.
	ScopeRefresh Scope = "com.atproto.refresh"
)

// Full are the scopes that may manage the account.
var Full = []Scope{ScopeAccess}

// Standard are the scopes of every session of an account in good standing.
var Standard = []Scope{ScopeAccess, ScopeAppPass, ScopeAppPassPrivileged}

// The ways to open a session that this package knows. A program that embeds
// Gatehouse may record others.
const (
	MethodSignUp      = "sign-up"
	MethodPassword    = "password"
	MethodAppPassword = "app-password"
)

// Grant says how a session was opened and what it may do.
type Grant struct {
	// Method is how the account's owner proved who they are.
	Method string `json:"method"`
	// AppPassword is the name of the app password, if it was one.
	AppPassword string `json:"appPassword,omitempty"`
	// Scope is that of the session's access tokens. Default [ScopeAccess].
	Scope Scope `json:"scope"`
}

// Session is a line of tokens that began with one login: at any time one refresh
// token, and the access tokens made with it and its forerunners.
type Session struct {
	// ID is a UUIDv7.
	ID  string     `json:"id"`
	DID syntax.DID `json:"did"`
	Grant
	CreatedAt time.Time `json:"createdAt"`
	// LastUsedAt is when the session was last refreshed.
	LastUsedAt time.Time `json:"lastUsedAt"`
	// ExpiresAt is when the session ends unless it is refreshed before.
	ExpiresAt time.Time `json:"expiresAt"`
}

// record is a session as it is stored.
type record struct {
	Session
	// Refresh is the hash of the refresh token's id.
	Refresh string `json:"refresh"`
	// Replaced are refresh tokens that were used and still work for a while.
	Replaced []replaced `json:"replaced,omitempty"`
}

// replaced is a refresh token in its grace period.
type replaced struct {
	Refresh string    `json:"refresh"`
	Until   time.Time `json:"until"`
}

var table = storage.NewCollection("sessions",
	func(r *record) string { return r.ID },
	storage.Ordered("account", func(r *record) string {
		return storage.Join(r.DID.String(), storage.TimeKey(r.CreatedAt))
	}),
	storage.Ordered("app_password", func(r *record) string { return openedBy(r.DID, r.AppPassword) }),
	storage.Ordered("expires", func(r *record) string { return storage.TimeKey(r.ExpiresAt) }),
).OwnedBy(storage.OwnerGatehouse)

// openedBy stands for all sessions of an account that were opened with its password, or with an app
// password.
func openedBy(did syntax.DID, appPassword string) string {
	return storage.Join(did.String(), appPassword)
}
