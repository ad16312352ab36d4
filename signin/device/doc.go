// Package device knows the browsers on which people are signed in to accounts.
//
// A [Device] is one browser, with up to 20 accounts. The browser shows which one it is by a cookie,
// whose value names the device and has a secret of 256 bits, which is stored only hashed. Each
// account that is signed in on it is a session of package sessions, without tokens, so that what
// ends sessions signs browsers out too: a new password, a takedown, a deletion, a sign-out
// everywhere. A sign-in lasts 7 days if the browser is to be remembered, and otherwise 15 minutes,
// however much it is used. The operations on a device don't depend on HTTP: package web sets and
// reads the cookie.
//
// # The secret changes
//
// At each sign-in the browser gets a new secret, and the one that it had is worth nothing from then
// on. So nobody who has put a cookie of theirs into a browser, or has read it before, is signed in
// with its owner. The ID of the device stays, since what began before a sign-in, such as the
// authorization request of an OAuth client, is bound to it.
//
// With use the secret is replaced every few hours too. Answers get lost, and browsers send several
// requests at once, so the former secret is taken until its successor has been used, and for a
// minute longer, and everybody who shows it is given the same successor.
//
// A secret that comes back later was copied: either its owner or a thief has gone on with its
// successor, and nobody can tell which. The device ends then, with all its sign-ins. A cookie also
// has a keyed hash of its own, so that only somebody who once had a real one can cause that. One
// that somebody has made up is refused without a look into the store.
package device
