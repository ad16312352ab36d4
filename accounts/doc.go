// Package accounts keeps the accounts of an AT Protocol server: how they are created, what identifies
// them (DID, handle, e-mail address), how their owners authenticate with a password or an e-mailed
// code, what status they have, and how they are deleted.
//
// It is the middle of Gatehouse: sessions, app passwords and invite codes build on it. It knows none
// of them. What follows from a change of an account, such as sessions that end, is done by the
// [Hook] functions of the [Config], in the transaction of the change.
//
// # Changes of DIDs
//
// A new account with a did:plc, a new handle and a new signing key have an effect outside the store:
// an operation is published in a DID directory. No transaction spans both, so [Service.Create],
// [Service.UpdateHandle], [Service.RotateSigningKey] and [Service.SetSigningKey] take three steps. A
// first transaction makes all checks, reserves what is needed, and stores what is about to happen:
// handle and address of a new account are taken and its invite code is redeemed, but the account
// can't be seen yet. Then the operation is published. A last transaction makes the change in the
// account.
//
// If the directory refuses, the first step is undone. If a hook refuses the last step, the DID is
// changed back, or tombstoned if it was new. If the server crashes in between, or the directory
// doesn't answer, what is stored tells [Service.Maintain] what to do: it asks the directory, and
// finishes the change or undoes it. The file saga.go has the details.
//
// # Identifiers
//
// People paste handles, DIDs and addresses with all kinds of characters around and inside them.
// [NormalizeIdentifier] is the one place that defines what is understood; every lookup and every
// budget of guesses goes through it, so that no spelling makes a second account or a second budget.
//
// # Handles
//
// Package handle decides which handles accounts may have; [Service.Handles] returns its service.
package accounts
