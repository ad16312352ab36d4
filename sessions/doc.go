// Package sessions opens, verifies, refreshes and ends the sessions of accounts, and decides what
// their tokens may do.
//
// A session begins with a login, which package signin lets pass, and is one stored record: whose it
// is, how it was opened, and what it may do. Its access tokens name it, and verifying one reads the
// record, so that a session that has ended is refused at once. Its refresh token changes with each
// use. The used token works on for a grace period, in which everybody who uses it gets the same
// successor. After the grace period it is taken for stolen, and the whole session ends.
//
// What a token may do is a set of [Permissions], which its [Scope] stands for. Each method of the
// HTTP API, and each route that an embedding program protects, names the [Permission] that it
// needs.
//
// The tokens of most sessions are JWTs that existing clients and services understand (typ "at+jwt"
// and "refresh+jwt"), signed with HS256 or ES256K, and good for whoever has them.
//
// The session of an OAuth client ([Client]) has access tokens that are bound to a key: they are
// good only with a proof of the key, which package
// [github.com/gatehouse-at/gatehouse/sessions/dpop] verifies. They are signed with ES256, so that
// other servers can verify them too, live for minutes, and end when the session is refreshed. Its
// refresh tokens are opaque. It has an absolute end.
//
// The session of a browser, on which somebody has signed in to the server's own pages, has no
// tokens.
//
// Refresh tokens are stored only as hashes.
package sessions
