package sessions

import (
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Grant says how a session was opened and what it may do.
type Grant struct {
	// Method names the way in which somebody proved who they are, such as "password".
	Method string `json:"method"`
	// AppPassword is the name of the app password, if it was one.
	AppPassword string `json:"appPassword,omitempty"`
	// Scope is that of the session's access tokens. Default [ScopeAccess].
	Scope Scope `json:"scope"`
}

// Session is a line of tokens that began with one login. At any time it has one refresh token, and
// the access tokens that were issued with it and with the refresh tokens before it.
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
	// Replaced are refresh tokens that were used and are in their grace period.
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

// openedBy is the key of all sessions of an account that were opened with an app password, or, if
// its name is empty, in any other way.
func openedBy(did syntax.DID, appPassword string) string {
	return storage.Join(did.String(), appPassword)
}
