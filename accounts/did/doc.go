// Package did creates, changes and resolves the DIDs of accounts.
//
// A did:plc is the hash of its first signed operation. A [Directory] keeps the log of operations of
// each did:plc: [Client] is a real directory over HTTP, and [Local] is one in a Gatehouse store for
// tests and offline use, which checks operations as a real one does. A did:web is a host name, and
// that host serves its document.
//
// A [Registrar] mints the DIDs of new accounts and changes those that the server controls. A
// [Resolver] finds the documents of all DIDs and caches them; it learns of the Registrar's own
// changes without asking the directory. A program can replace the Directory, and the [Signer] that
// holds the server's rotation key.
//
// Anybody can have a server look up any DID, and some of those documents are served by strangers'
// hosts. Therefore caches are bounded in bytes, lookups are bounded in number, concurrent lookups
// of one DID are merged, "not found" is cached for some seconds, a directory that answers 429 isn't
// asked before the time that it names, and of a long log only the new operations are verified.
package did
