// Package dpop verifies DPoP proofs (RFC 9449): small tokens with which a client shows, in each of
// its requests, that it has the private key to which its access token is bound. A token that is
// stolen without the key is of no use.
//
// A proof is good for one request: for its method and its URL, for about a minute, with a nonce
// that the server has given out, and once. The last is the caller's to check by the [Proof], since
// it takes a memory of the proofs that were used.
//
// The package reads no requests and keeps nothing. What the atproto OAuth specification demands
// beside the RFC, nonces above all, is demanded here (source: https://atproto.com/specs/oauth).
package dpop
