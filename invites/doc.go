// Package invites keeps invite codes: it creates them, redeems them at sign-up, lets accounts earn
// them with time, and lists and disables them.
//
// A code is redeemed in the transaction that creates the account, so a code with one use lets in
// one account, however many try at the same time.
package invites
