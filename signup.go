package gatehouse

import "github.com/gatehouse-at/gatehouse/accounts"

// SignUpMode says who may sign up.
type SignUpMode string

// The modes of sign-up.
const (
	// SignUpOpen lets everybody sign up.
	SignUpOpen SignUpMode = "open"
	// SignUpInvites requires an invite code, from accounts that move here too.
	SignUpInvites SignUpMode = "invites"
	// SignUpMigrations lets only accounts sign up that move here from another server: a sign-up
	// must bring a DID, and prove control of it.
	SignUpMigrations SignUpMode = "migrations"
	// SignUpClosed lets nobody sign up.
	SignUpClosed SignUpMode = "closed"
)

// SignUpModes returns all modes of sign-up.
func SignUpModes() []SignUpMode {
	return []SignUpMode{SignUpOpen, SignUpInvites, SignUpMigrations, SignUpClosed}
}

// accounts returns the mode as package accounts has it. It doesn't know of invite codes: these are
// checked by its Gate.
func (m SignUpMode) accounts() accounts.SignUpMode {
	if m == SignUpInvites {
		return accounts.SignUpOpen
	}
	return accounts.SignUpMode(m)
}
