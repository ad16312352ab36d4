// Package handle decides which handles accounts may have. Sign-up, changes of handles, the check of
// availability and admins all ask one [Service], so they get the same answer.
//
// The answer has two halves. [Service.Check] looks at the handle itself, outside transactions: its
// form, the [Policy] of the server, the server's own names, the labels that are allowed on its
// domains, and for a handle on a foreign domain the DID that it resolves to. [Service.CheckFree]
// looks at the store, inside the transaction that gives the handle to an account: whether an admin
// has reserved the handle, whether another account has it or is about to get it, and whether it is
// held for the account that had it before. Where DIDs follow from handles (did:web), a new account
// also needs a DID that is free, which [Service.CheckDID] checks.
//
// # Policies
//
// Which words may be in a handle is up to the [Policy], which is [DefaultPolicy] unless an embedder
// replaces or extends it. Everything else is fixed by the AT Protocol, or follows from the
// [Config].
//
// # Holds
//
// When an account gives up a handle on one of the server's domains, the handle is held for it for a
// while, since people who mention that handle still mean this account. See [Config].
package handle
