// Package sessions issues, checks, refreshes and ends the sessions of accounts.
//
// A session begins with a login and is one stored record: whose it is, how it was
// opened, what it may do. Its access tokens name it, and checking one reads the record, so
// that ending a session takes effect at once. Its refresh token changes with each use;
// the used one works on for a grace period and leads everybody who uses it to the same
// successor. After the grace period it counts as stolen, and the whole session ends.
//
// Tokens are JWTs that existing clients and services understand (typ "at+jwt" and
// "refresh+jwt"), signed with HS256 or ES256K. Refresh tokens are stored only as hashes.
package sessions
