// Package invites keeps invite codes: making them, using them up at sign-up,
// earning them with time, listing and disabling them.
//
// A code is used up in the transaction that creates the account, so one with a single use lets in
// one account, however many try at once.
package invites
