// Package accounts keeps the accounts of an AT Protocol server: their creation, what identifies
// them (DID, handle, e-mail address), their passwords, their status, and their deletion.
//
// Sessions, app passwords and invite codes build on this package, which knows none of them. What
// follows from a change of an account, such as the end of its sessions, is done by the [Hook]
// functions of the [Config], in the transaction of the change.
//
// The [Service] has the use cases of an account as a whole. [Service.Identity] has those of what
// its DID says, [Service.Emails] those of its e-mail address, and [Service.Handles] those of
// handles.
//
// # Changes of DIDs
//
// A new account with a did:plc, a new handle and a new signing key have an effect outside the
// store: an operation is published in a DID directory. No transaction spans both, so
// [Service.Create], [Identity.UpdateHandle], [Identity.RotateSigningKey] and
// [Identity.SetSigningKey] take three steps. A first transaction makes all checks, reserves what is
// needed, and stores what is about to happen: the handle and the address of a new account are taken
// and its invite code is redeemed, but the account isn't visible yet. Then the operation is
// published. A last transaction makes the change in the account.
//
// If the directory refuses, the first step is undone. If a hook refuses the last step, the DID is
// changed back, or tombstoned if it was new. If the server crashes in between, or the directory
// doesn't answer, [Service.Maintain] finds the stored change, asks the directory whether it was
// published, and finishes or undoes it. The file saga.go has the details.
//
// # Identifiers
//
// People paste handles, DIDs and addresses with all kinds of characters around and inside them.
// [NormalizeIdentifier] is the one place that defines what is understood. Every lookup and every
// budget of guesses uses it, so that no spelling makes a second account or a second budget.
package accounts
