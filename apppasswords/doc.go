// Package apppasswords keeps the app passwords of accounts: one for each program that its
// owner doesn't want to trust with the account password.
//
// An app password is xxxx-xxxx-xxxx-xxxx with 80 random bits, shown once when it is made
// and stored as a keyed hash. Sessions that it opens can't manage the account, and end
// when it is revoked.
package apppasswords
