// Package apppasswords keeps the app passwords of accounts: one for each program that the owner of
// an account doesn't want to trust with the account password.
//
// An app password has the form xxxx-xxxx-xxxx-xxxx and 80 random bits. It is shown once, when it is
// made, and stored as a keyed hash. Sessions that it opens can't manage the account, and end when
// it is revoked.
package apppasswords
