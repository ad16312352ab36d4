package accounts

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// former is what stays known of a DID: a takedown that outlives its account, and the keys that this
// server held for it a while ago. Whoever comes back with the DID is still taken down, and can't
// prove that it is theirs with what the server itself signed for the account.
type former struct {
	DID syntax.DID `json:"did"`
	// Takedown is that of an account that an admin deleted. While there is an account, it has its
	// own.
	Takedown *Takedown `json:"takedown,omitempty"`
	// Keys are signing keys that an account here no longer has, the newest first.
	Keys []heldKey `json:"keys,omitempty"`
}

// heldKey is a key that this server held, as a did:key.
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
	// A service token that a key has signed is good for an hour at most. The rest is for clocks and
	// backups.
	rememberKeysFor = 30 * 24 * time.Hour
	// maxHeldKeys is how many keys of one DID are remembered.
	maxHeldKeys = 10
)

// ErrHeldKey says that the proof for a DID was signed with a key that this server holds, or held
// until a while ago. What it signed for an account is void here, while there is the account and
// when it is gone.
var ErrHeldKey = errors.New("accounts: the proof for the DID was signed with a key that was held here")

// checkProofKey refuses a proof for a DID that is no more than what this server itself signed.
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

// formerOf returns what is known of a DID, which may be nothing.
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

// putFormer writes what is known of a DID, if it is anything.
func putFormer(tx storage.Tx, f *former) error {
	if f.Takedown == nil && len(f.Keys) == 0 {
		return formerTable.Delete(tx, f.DID.String())
	}
	return formerTable.Put(tx, f)
}

// dropKey remembers a key that an account has no longer.
func (s *Service) dropKey(f *former, key string) {
	f.Keys = slices.DeleteFunc(f.Keys, func(k heldKey) bool { return k.Key == key })
	f.Keys = slices.Insert(f.Keys, 0, heldKey{key, s.now().Add(rememberKeysFor)})
	f.Keys = f.Keys[:min(len(f.Keys), maxHeldKeys)]
}

// leaveBehind takes note of an account that is deleted.
func (s *Service) leaveBehind(tx storage.Tx, r *record) error {
	f, err := formerOf(tx, r.DID)
	if err != nil {
		return err
	}
	f.Takedown = r.Takedown
	s.dropKey(f, r.SigningKey)
	return putFormer(tx, f)
}

// replaceKey takes note that an account has another key now.
func (s *Service) replaceKey(tx storage.Tx, id syntax.DID, old string) error {
	f, err := formerOf(tx, id)
	if err != nil {
		return err
	}
	s.dropKey(f, old)
	return putFormer(tx, f)
}

// comeBack gives an account that arrives with a DID the takedown that has stayed with that.
func (s *Service) comeBack(tx storage.Tx, r *record) error {
	f, err := formerOf(tx, r.DID)
	if err != nil {
		return err
	}
	if r.Takedown = f.Takedown; r.Takedown == nil {
		return nil
	}
	f.Takedown = nil // it is the account's from now on
	return putFormer(tx, f)
}

// PurgeFormer forgets keys that accounts had long ago. It is housekeeping, to be run periodically.
func (s *Service) PurgeFormer(ctx context.Context) error {
	const page = 500
	for {
		n := 0
		err := s.store.Update(ctx, func(tx storage.Tx) error {
			old, _, err := formerTable.Page(tx, storage.Range{Index: "until", To: storage.TimeKey(s.now()), Limit: page})
			n = len(old)
			for _, f := range old {
				f.Keys = nil
				if err == nil {
					err = putFormer(tx, f)
				}
			}
			return err
		})
		if err != nil || n < page {
			return err
		}
	}
}
