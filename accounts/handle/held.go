package handle

import (
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// heldHandle is a handle that its account has given up, and that no other account gets for a while.
type heldHandle struct {
	Handle syntax.Handle `json:"handle"`
	// DID is the DID of the former owner, who may take the handle back.
	DID   syntax.DID `json:"did"`
	Until time.Time  `json:"until"`
}

var heldHandles = storage.NewCollection("held_handles",
	func(h *heldHandle) string { return h.Handle.String() },
	storage.Ordered("did", func(h *heldHandle) string { return h.DID.String() }),
	storage.Ordered("until", func(h *heldHandle) string { return storage.TimeKey(h.Until) }),
).OwnedBy(storage.OwnerGatehouse)

// maxHolds is how many handles are held for one DID, so that nobody hoards them. A handle that is
// given up beyond that is free at once. It doesn't replace an older hold, or a thief could push out
// the owner's own handle.
const maxHolds = 10

// heldFor returns the DID for which a handle is held, or an empty one.
func (s *Service) heldFor(tx storage.Tx, h syntax.Handle) (syntax.DID, error) {
	held, err := heldHandles.Get(tx, h.String())
	switch {
	case errors.Is(err, storage.ErrNotFound), err == nil && !s.now().Before(held.Until):
		return "", nil
	case err != nil:
		return "", err
	}
	return held.DID, nil
}

// Exchange updates the holds when an account changes its handle: a hold of the new handle ends, and
// the old handle is held for the account if hold is set.
func (s *Service) Exchange(tx storage.Tx, id syntax.DID, from, to syntax.Handle, hold bool) error {
	former, err := s.heldFor(tx, to)
	if err != nil {
		return err
	}
	if err := s.EndHold(tx, to); err != nil || !hold {
		return err
	}
	most := maxHolds
	if former == id {
		// The hold that ends leaves a place, which is kept for the same handle. Otherwise a thief could
		// take a held handle back, fill its place with the old handle, and then give up the first one
		// without a hold.
		most--
	}
	return s.hold(tx, id, from, s.cfg.Hold, most)
}

// hold holds a handle that an account no longer has, if it is on one of the server's domains and
// fewer than most other handles are held for its DID.
func (s *Service) hold(tx storage.Tx, id syntax.DID, h syntax.Handle, d time.Duration, most int) error {
	if !s.Hosted(h) || d <= 0 {
		return nil
	}
	now := s.now()
	others := 0
	for other, err := range heldHandles.Scan(tx, storage.Exactly("did", id.String())) {
		if err != nil {
			return err
		}
		if other.Handle != h && now.Before(other.Until) {
			others++
		}
	}
	if others >= most {
		return nil
	}
	return heldHandles.Put(tx, &heldHandle{Handle: h, DID: id, Until: now.Add(d)})
}

// EndHold ends the hold of a handle that an account has taken, if there is one.
func (*Service) EndHold(tx storage.Tx, h syntax.Handle) error {
	return heldHandles.Delete(tx, h.String())
}

// HoldDeleted holds the handle of a deleted account, if the [Config] says so. Otherwise it ends all
// holds for the DID, since its owner may want to start again.
func (s *Service) HoldDeleted(tx storage.Tx, id syntax.DID, h syntax.Handle) error {
	if s.cfg.HoldAfterDeletion > 0 {
		return s.hold(tx, id, h, s.cfg.HoldAfterDeletion, maxHolds)
	}
	_, err := heldHandles.DeleteAll(tx, storage.Exactly("did", id.String()))
	return err
}
