// Package apppasswords keeps the app passwords of accounts. An app password is for one program,
// which the owner of the account doesn't have to trust with the account password.
//
// An app password has the form xxxx-xxxx-xxxx-xxxx and 80 random bits. It is shown once, when it is
// created, and stored as a keyed hash. Sessions that are opened with it can't manage the account,
// and end when it is revoked.
package apppasswords
