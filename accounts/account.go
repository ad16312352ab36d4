package accounts

import (
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Account is what is known of an account, without its secrets.
type Account struct {
	DID    syntax.DID    `json:"did"`
	Handle syntax.Handle `json:"handle"`
	// Email is stored lower-case. It is empty if the account has none.
	Email            string     `json:"email,omitempty"`
	EmailConfirmedAt *time.Time `json:"emailConfirmedAt,omitempty"`
	// EmailAuthFactor asks for an e-mailed code at each login with the account password.
	EmailAuthFactor bool      `json:"emailAuthFactor,omitempty"`
	CreatedAt       time.Time `json:"createdAt"`

	// SigningKey is the account's atproto signing key, as a did:key.
	SigningKey string `json:"signingKey,omitempty"`

	// Takedown is set while the account is taken down by the server's moderators.
	Takedown *Takedown `json:"takedown,omitempty"`
	// DeactivatedAt is set while the account is deactivated by its owner, or not yet
	// activated after a migration.
	DeactivatedAt *time.Time `json:"deactivatedAt,omitempty"`
	// DeleteAfter is when a deactivated account is to be deleted, unless its owner logs in before.
	DeleteAfter *time.Time `json:"deleteAfter,omitempty"`

	// Brought is set for an account that came here with its DID.
	Brought bool `json:"brought,omitempty"`
	// NotYetActivated is set from the arrival of such an account to its first activation.
	NotYetActivated bool `json:"notYetActivated,omitempty"`
	// EmailUnvouchedAt is when a session changed the address without a code, which it can while the
	// address is unconfirmed. Nil: the address is that of the sign-up, or somebody vouched for the
	// change.
	EmailUnvouchedAt *time.Time `json:"emailUnvouchedAt,omitempty"`
}

// Takedown says when and under which reference an account was taken down.
type Takedown struct {
	Ref string    `json:"ref,omitempty"`
	At  time.Time `json:"at"`
}

// Status is why an account isn't active, in the words of com.atproto.server.getSession.
type Status string

// The statuses. An active account has none.
const (
	StatusActive      Status = ""
	StatusTakendown   Status = "takendown"
	StatusDeactivated Status = "deactivated"
)

// Status returns the account's status; takedown outweighs deactivation.
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

// HandleResolves reports whether the account's handle resolves to its DID. The handle of a
// deactivated account does: the identity isn't deactivated, nobody else can have the handle, and
// clients resolve it before its owner can log in. The handle of an account that is taken down
// doesn't.
func (a *Account) HandleResolves() bool { return a.Takedown == nil }

// record is an account as it is stored, with its secrets.
type record struct {
	Account
	PasswordHash string `json:"passwordHash,omitempty"`
	// HashWork is what verifying the hash costs; the unit is the hasher's.
	HashWork int64 `json:"hashWork,omitempty"`
	// DeletionReminded is set when the owner has been told that the deletion is near.
	DeletionReminded bool `json:"deletionReminded,omitempty"`
	// SealedKey is the private half of SigningKey, as the key store sealed it.
	SealedKey []byte `json:"sealedKey,omitempty"`
	// Pending is set from the first step of a sign-up to the last. Nobody else gets the handle and the
	// e-mail address of a pending account, which can't be seen otherwise.
	Pending *pending `json:"pending,omitempty"`
	// Status is kept for whoever queries the database.
	StoredStatus string `json:"status"`
}

// pending marks the account of a sign-up whose state is in a [didChange]. It is an object because
// earlier versions stored that state here: see [Service.adoptSignUps].
type pending struct{}

var accountsTable = storage.NewCollection("accounts",
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

// put writes a record with its derived fields.
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

// Ref names an account's document for storage.Prefetch.
func Ref(did syntax.DID) storage.Ref { return accountsTable.Ref(did.String()) }
