// Package did makes, changes and resolves the DIDs of accounts.
//
// A did:plc is the hash of its first signed operation. Operations are kept by a
// [Directory]: a real one over HTTP ([Client]), or one in a Gatehouse store ([Local]) for
// tests and offline use, which checks operations as the real one does. A did:web
// is a host name, and its document is served by that host.
//
// A [Registrar] is what accounts need of either: minting a DID for a new account, and
// keeping it up to date. A [Resolver] finds the documents of all DIDs, whoever made them.
//
// Anybody can have a server look up any DID, and strangers' hosts answer for some of them.
// Therefore caches are bounded in bytes and lookups in number, equal lookups at the same time are
// made once, "not found" is cached for some seconds, a directory that answers 429 is left alone for
// as long as it asks, and of a long log only the operations are verified that are new.
package did
