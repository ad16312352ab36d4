package sessions

import (
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Grant says how a session was opened and what it may do.
type Grant struct {
	// Method names the way in which somebody proved who they are, such as "password".
	Method string `json:"method"`
	// AppPassword is the name of the app password, if it was one.
	AppPassword string `json:"appPassword,omitempty"`
	// Scope is that of the session's access tokens. Default [ScopeAccess]. Of an OAuth session it is
	// the expanded OAuth scope, such as "atproto repo:*". A session of a browser has none.
	Scope Scope `json:"scope"`
	// Client is the client of an OAuth session (see [Service.OpenOAuthTx]), and nil otherwise.
	Client *Client `json:"client,omitempty"`
	// Device is the ID of the browser on which somebody signed in to the server's own pages (see
	// [Service.OpenBrowserTx]), and empty otherwise.
	Device string `json:"device,omitempty"`
}

// Session is what begins with one login. Most are a line of tokens: at any time one refresh token,
// and the access tokens that were issued with it and, unless it is an OAuth session, with the
// refresh tokens before it. A session of a browser has no tokens.
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
	// EndsAt is when an OAuth session or one of a browser ends, however much it is used. Zero: never.
	EndsAt time.Time `json:"endsAt,omitzero"`
}

// record is a session as it is stored.
type record struct {
	Session
	// Refresh is the hash of the refresh token's id.
	Refresh string `json:"refresh"`
	// Replaced says until when the refresh tokens before the present one may be used again.
	Replaced graces `json:"replaced,omitempty"`
	// Access is the ID of the access tokens of an OAuth session that are good.
	Access string `json:"access,omitempty"`
	// Code is the hash of the code that an OAuth session was opened for.
	Code string `json:"code,omitempty"`
	// RefreshLifetime is how long a refresh token of an OAuth session is good for.
	RefreshLifetime time.Duration `json:"refreshLifetime,omitempty"`
}

// The kinds of sessions: with bearer tokens, with tokens of an OAuth client, of a browser.
type kind int

const (
	kindBearer kind = iota
	kindOAuth
	kindBrowser
)

func (r *record) kind() kind {
	switch {
	case r.Client != nil:
		return kindOAuth
	case r.Device != "":
		return kindBrowser
	}
	return kindBearer
}

var table = storage.NewCollection("sessions",
	func(r *record) string { return r.ID },
	storage.Ordered("account", func(r *record) string {
		return storage.Join(r.DID.String(), storage.TimeKey(r.CreatedAt))
	}),
	storage.Ordered("app_password", func(r *record) string { // of sessions with bearer tokens only
		if r.kind() != kindBearer {
			return ""
		}
		return openedBy(r.DID, r.AppPassword)
	}),
	storage.Ordered("kind", func(r *record) string { // of the others
		if r.kind() == kindBearer {
			return ""
		}
		return storage.Join(ofKind(r.DID, r.kind()), storage.TimeKey(r.CreatedAt))
	}),
	storage.Ordered("client", func(r *record) string {
		if r.Client == nil {
			return ""
		}
		return storage.Join(clientKey(r.Client.ID), r.DID.String(), storage.TimeKey(r.CreatedAt))
	}),
	storage.Ordered("code", func(r *record) string { return r.Code }),
	storage.Ordered("expires", func(r *record) string { return storage.TimeKey(nextDay(r.ExpiresAt)) }),
).OwnedBy(storage.OwnerGatehouse)

// nextDay returns when the day of a time ends, in UTC. Sessions are removed by the day on which they
// have expired, so that few refreshes change the index.
func nextDay(t time.Time) time.Time {
	const day = 24 * time.Hour
	return t.UTC().Truncate(day).Add(day)
}

// openedBy is the key of all sessions of an account that were opened with an app password, or, if
// its name is empty, in any other way.
func openedBy(did syntax.DID, appPassword string) string {
	return storage.Join(did.String(), appPassword)
}

// ofKind is what the keys of all sessions of an account begin with that are of a kind.
func ofKind(did syntax.DID, k kind) string {
	return storage.Join(did.String(), map[kind]string{kindOAuth: "oauth", kindBrowser: "browser"}[k])
}

// clientKey identifies an OAuth client in an index. The client's own ID is a URL, which may be
// long.
func clientKey(clientID string) string { return token.Hash(nil, "client", clientID) }
