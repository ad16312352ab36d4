package signin

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
)

// Attempt is what somebody offers to prove who they are.
type Attempt struct {
	// Identifier is a handle, a DID or an e-mail address, in any spelling that
	// [accounts.NormalizeIdentifier] understands. A [Way] of the embedding program may take other
	// names, or none.
	Identifier string
	// Password is the account password, an app password in any spelling that [apppasswords.Normalize]
	// understands, or what else a [Way] takes for a password.
	Password string
	// Credential is what a [Way] of the embedding program takes in place of a password, such as the
	// token of a link or the assertion of a passkey. Ways recognize theirs by its type.
	Credential any
	// Code is a code of a second factor, if one was asked for. Without a factor it isn't looked at.
	Code string
	// AllowTakendown lets the owner of an account that is taken down pass. It is for those who prepare
	// to leave the server, with tokens that allow nothing else.
	AllowTakendown bool

	account *accounts.Account
	guess   *guess
}

// Account returns the account that Identifier names, or nil if it names none. It is set inside of
// [Way.Prove], where a way needs it to look up whose secret to check. A way should do the same work
// whether there is an account or not, so that its time tells nobody.
func (a Attempt) Account() *accounts.Account { return a.account }

// did returns the DID of the account that the identifier names, or an empty one.
func (a Attempt) did() syntax.DID {
	if a.account == nil {
		return ""
	}
	return a.account.DID
}

// charge charges the guess of the attempt, if that hasn't been done.
func (a Attempt) charge(ctx context.Context) error {
	if a.guess == nil { // a way of the embedding program calls another with an attempt that it made
		return nil
	}
	return a.guess.charge(ctx)
}
