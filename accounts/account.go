package accounts

import (
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Account is an account without its secrets.
type Account struct {
	DID syntax.DID `json:"did"`
	// Handle is in lower case.
	Handle syntax.Handle `json:"handle"`
	// Email is the e-mail address, in lower case. It is empty if the account has none.
	Email string `json:"email,omitempty"`
	// EmailConfirmedAt is when the address was confirmed with a code. It is nil until then.
	EmailConfirmedAt *time.Time `json:"emailConfirmedAt,omitempty"`
	// EmailAuthFactor is set if a login with the account password also takes an e-mailed code.
	EmailAuthFactor bool      `json:"emailAuthFactor,omitempty"`
	CreatedAt       time.Time `json:"createdAt"`

	// SigningKey is the account's atproto signing key, as a did:key.
	SigningKey string `json:"signingKey,omitempty"`

	// Takedown is set while the account is taken down by the server's moderators.
	Takedown *Takedown `json:"takedown,omitempty"`
	// DeactivatedAt is set while the account is deactivated by its owner, or not yet activated
	// after a migration.
	DeactivatedAt *time.Time `json:"deactivatedAt,omitempty"`
	// DeleteAfter is when a deactivated account is deleted, unless its owner logs in before. It is
	// nil if no deletion is scheduled.
	DeleteAfter *time.Time `json:"deleteAfter,omitempty"`

	// Brought is set if the account moved here with an existing DID.
	Brought bool `json:"brought,omitempty"`
	// NotYetActivated is set until the first activation of an account that moved here.
	NotYetActivated bool `json:"notYetActivated,omitempty"`
	// EmailUnvouchedAt is when a session changed the address without a code, which it can while the
	// present address is unconfirmed. It is nil if the address is that of the sign-up, or was
	// changed by an admin, or with a code that had been mailed to a trusted address.
	EmailUnvouchedAt *time.Time `json:"emailUnvouchedAt,omitempty"`
}

// Takedown says when and under which reference an account was taken down.
type Takedown struct {
	// Ref is the moderators' reference.
	Ref string    `json:"ref,omitempty"`
	At  time.Time `json:"at"`
}

// Status says why an account isn't active, in the words of com.atproto.server.getSession.
type Status string

// The values of [Status].
const (
	StatusActive      Status = ""
	StatusTakendown   Status = "takendown"
	StatusDeactivated Status = "deactivated"
)

// Status returns the account's status. An account that is both taken down and deactivated is
// [StatusTakendown].
func (a *Account) Status() Status {
	switch {
	case a.Takedown != nil:
		return StatusTakendown
	case a.DeactivatedAt != nil:
		return StatusDeactivated
	}
	return StatusActive
}

// Active reports whether the account is neither taken down nor deactivated.
func (a *Account) Active() bool { return a.Status() == StatusActive }

// HandleResolves reports whether the account's handle resolves to its DID. The handle of an account
// that is taken down doesn't. The handle of a deactivated account does: its identity isn't
// deactivated, nobody else can have the handle, and clients resolve it before its owner can log in.
func (a *Account) HandleResolves() bool { return a.Takedown == nil }

// record is an account as it is stored, with its secrets.
type record struct {
	Account
	PasswordHash string `json:"passwordHash,omitempty"`
	// HashWork is the work of verifying the hash, in the unit of the [PasswordHasher].
	HashWork int64 `json:"hashWork,omitempty"`
	// DeletionReminded is set once the owner has been reminded of the deletion.
	DeletionReminded bool `json:"deletionReminded,omitempty"`
	// SealedKey is the private half of SigningKey, as the key store sealed it.
	SealedKey []byte `json:"sealedKey,omitempty"`
	// Pending is set from the first step of a sign-up to the last. A pending account is invisible,
	// but nobody else gets its handle or its e-mail address.
	Pending *pending `json:"pending,omitempty"`
	// StoredStatus is written for people who query the database, and never read.
	StoredStatus string `json:"status"`
}

// pending marks the account of a sign-up whose state is in a didChange. It is an object because
// earlier versions stored that state here: see [Service.adoptSignUps].
type pending struct{}

const accountsName = "accounts" // of the table

var accountsTable = storage.NewCollection(accountsName,
	func(r *record) string { return r.DID.String() },
	storage.Unique("handle", func(r *record) string { return r.Handle.String() }),
	storage.Unique("email", func(r *record) string { return r.Email }),
	storage.Ordered("created", func(r *record) string { return storage.TimeKey(r.CreatedAt) }),
	storage.Ordered("delete_after", func(r *record) string {
		if r.DeleteAfter == nil {
			return ""
		}
		return storage.TimeKey(*r.DeleteAfter)
	}),
	storage.Ordered("remind_after", func(r *record) string {
		if r.DeleteAfter == nil || r.DeletionReminded {
			return ""
		}
		return storage.TimeKey(r.DeleteAfter.Add(-reminderBefore))
	}),
	storage.Ordered("hash_work", func(r *record) string {
		if r.HashWork == 0 {
			return ""
		}
		return fmt.Sprintf("%015d", r.HashWork)
	}),
).OwnedBy(storage.OwnerGatehouse)

// put derives the StoredStatus of a record, and writes it.
func put(tx storage.Tx, r *record) error {
	r.StoredStatus = string(r.Status())
	switch {
	case r.Pending != nil:
		r.StoredStatus = "pending"
	case r.StoredStatus == "":
		r.StoredStatus = "active"
	}
	return accountsTable.Put(tx, r)
}

// Ref refers to the document of an account, for [storage.Prefetch].
func Ref(did syntax.DID) storage.Ref { return accountsTable.Ref(did.String()) }
