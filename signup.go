package gatehouse

import "github.com/gatehouse-at/gatehouse/accounts"

// SignUpMode says who may sign up.
type SignUpMode string

// The modes of sign-up.
const (
	// SignUpOpen takes everybody.
	SignUpOpen SignUpMode = "open"
	// SignUpInvites takes people with an invite code; accounts that move here need one too.
	SignUpInvites SignUpMode = "invites"
	// SignUpMigrations takes accounts that move here from another server, and no new ones: a sign-up
	// needs a DID, and proof of it.
	SignUpMigrations SignUpMode = "migrations"
	// SignUpClosed takes nobody.
	SignUpClosed SignUpMode = "closed"
)

// SignUpModes returns all modes of sign-up.
func SignUpModes() []SignUpMode {
	return []SignUpMode{SignUpOpen, SignUpInvites, SignUpMigrations, SignUpClosed}
}

// accounts is the mode for the accounts, which leave invite codes to their gate.
func (m SignUpMode) accounts() accounts.SignUpMode {
	if m == SignUpInvites {
		return accounts.SignUpOpen
	}
	return accounts.SignUpMode(m)
}
