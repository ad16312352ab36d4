package accounts

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// former is what the server remembers of a DID that has or had an account here: a takedown that
// outlives the account, and signing keys that the account no longer has. If an account moves back
// here with the DID, it is still taken down, and what the server itself has signed for the old
// account is no proof of control of the DID.
type former struct {
	DID syntax.DID `json:"did"`
	// Takedown is the takedown of an account that an admin has deleted. It is nil while there is an
	// account, which has its own.
	Takedown *Takedown `json:"takedown,omitempty"`
	// Keys are the signing keys that the account no longer has, newest first.
	Keys []heldKey `json:"keys,omitempty"`
}

// heldKey is a signing key that this server has held, as a did:key. It is remembered until Until.
type heldKey struct {
	Key   string    `json:"key"`
	Until time.Time `json:"until"`
}

var formerTable = storage.NewCollection("former_accounts",
	func(f *former) string { return f.DID.String() },
	storage.Ordered("until", func(f *former) string {
		if len(f.Keys) == 0 {
			return ""
		}
		return storage.TimeKey(f.Keys[0].Until)
	}),
).OwnedBy(storage.OwnerGatehouse)

const (
	// rememberKeysFor is how long a key is remembered. Service tokens are valid for an hour at
	// most; the rest allows for wrong clocks and restored backups.
	rememberKeysFor = 30 * 24 * time.Hour
	// maxHeldKeys is how many keys of one DID are remembered at most.
	maxHeldKeys = 10
)

// ErrHeldKey is returned when the proof of control of a DID was signed with a key that this server
// holds for the DID, or has held in the last 30 days: what the server itself has signed proves
// nothing. Clients are answered 401 BadJwtSignature.
var ErrHeldKey = errors.New("accounts: the proof for the DID was signed with a key that was held here")

// checkProofKey refuses a key that this server holds or has held for a DID.
func checkProofKey(tx storage.Tx, id syntax.DID, key string) error {
	switch r, err := accountsTable.Get(tx, id.String()); {
	case err == nil && r.SigningKey == key:
		return ErrHeldKey
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return err
	}
	f, err := formerOf(tx, id)
	if err == nil && slices.ContainsFunc(f.Keys, func(k heldKey) bool { return k.Key == key }) {
		return ErrHeldKey
	}
	return err
}

// formerOf returns what is remembered of a DID, which may be nothing.
func formerOf(tx storage.Tx, id syntax.DID) (*former, error) {
	f, err := formerTable.Get(tx, id.String())
	if errors.Is(err, storage.ErrNotFound) {
		return &former{DID: id}, nil
	}
	return f, err
}

// stickyTakedown returns the takedown of a DID that has no account here any more, or nil.
func stickyTakedown(tx storage.Tx, id syntax.DID) (*Takedown, error) {
	f, err := formerOf(tx, id)
	if err != nil {
		return nil, err
	}
	return f.Takedown, nil
}

// empty reports whether nothing is remembered of the DID.
func (f *former) empty() bool { return f.Takedown == nil && len(f.Keys) == 0 }

// putFormer stores what is remembered of a DID, or deletes the record if that is nothing.
func putFormer(tx storage.Tx, f *former) error {
	if f.empty() {
		return formerTable.Delete(tx, f.DID.String())
	}
	return formerTable.Put(tx, f)
}

// dropKey adds a key that the account no longer has to those that are remembered.
func (s *Service) dropKey(f *former, key string) {
	f.Keys = slices.DeleteFunc(f.Keys, func(k heldKey) bool { return k.Key == key })
	f.Keys = slices.Insert(f.Keys, 0, heldKey{key, s.now().Add(rememberKeysFor)})
	f.Keys = f.Keys[:min(len(f.Keys), maxHeldKeys)]
}

// leaveBehind stores what is remembered of an account that is deleted.
func (s *Service) leaveBehind(tx storage.Tx, r *record) error {
	f, err := formerOf(tx, r.DID)
	if err != nil {
		return err
	}
	f.Takedown = r.Takedown
	s.dropKey(f, r.SigningKey)
	return putFormer(tx, f)
}

// replaceKey remembers the old key of an account that gets another.
func (s *Service) replaceKey(tx storage.Tx, id syntax.DID, old string) error {
	f, err := formerOf(tx, id)
	if err != nil {
		return err
	}
	s.dropKey(f, old)
	return putFormer(tx, f)
}

// comeBack moves a takedown that is remembered of a DID to its new account.
func (s *Service) comeBack(tx storage.Tx, r *record) error {
	f, err := formerOf(tx, r.DID)
	if err != nil {
		return err
	}
	if r.Takedown = f.Takedown; r.Takedown == nil {
		return nil
	}
	f.Takedown = nil // the account has it from now on
	return putFormer(tx, f)
}

// purgeFormer forgets keys that accounts stopped using more than 30 days ago.
func (s *Service) purgeFormer(ctx context.Context) error {
	old := storage.Range{Index: "until", To: storage.TimeKey(s.now())}
	return formerTable.PurgeFunc(ctx, s.store, old, func(tx storage.Tx, f *former) (remove bool, err error) {
		f.Keys = nil
		if f.empty() {
			return true, nil
		}
		return false, formerTable.Put(tx, f)
	})
}
