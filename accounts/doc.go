// Package accounts keeps the accounts of an AT Protocol server: how they come to
// be, what identifies them (DID, handle, e-mail address), how their owners prove
// who they are with a password or an e-mailed code, what state they are in, and how they
// end.
//
// It is the middle of Gatehouse: sessions, app passwords and invite codes build on it, and follow what
// happens to an account through the Hooks of its [Config], in the same transaction. It knows none of
// them.
//
// # Sign-up
//
// Creating an account with a new did:plc has an effect outside the store: the DID's first operation
// is published in a directory. So [Service.Create] goes in three steps, once the [SignUpMode] and
// CheckSignUp of the [Config] allow it. One transaction checks everything, reserves handle and
// address, redeems the invite and stores the account as pending with its signed operation. Then the
// operation is submitted; its hash is the DID, so doing it again changes nothing. A last
// transaction makes the account visible. A refusal undoes the first step. A crash in between leaves
// a pending record, which [Service.Recover] finishes or undoes by asking the directory. Changes of
// handles and signing keys go the same way.
//
// # Identifiers
//
// People paste handles, DIDs and addresses with all kinds of things around and inside them.
// [NormalizeIdentifier] is the one place that says what is understood; every lookup and every
// budget of guesses goes through it, so that no spelling makes a second account or a second budget.
//
// # Handles
//
// Package handle decides which handles accounts may have; [Service.Handles] returns its service.
package accounts
