package accounts

import (
	"context"
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// heldHandle is a handle that its account has given up. For a while no other account gets it, since
// people who mention it still mean the account that had it.
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

// maxHeldHandles is how many handles are held for one DID, so that nobody hoards them. A handle
// that is given up beyond that is free at once. It doesn't replace an older hold, or a thief could
// push out the owner's own handle.
const maxHeldHandles = 10

// formerOwner returns the DID for which a handle is held, or an empty one.
func (s *Service) formerOwner(tx storage.Tx, handle syntax.Handle) (syntax.DID, error) {
	h, err := heldHandles.Get(tx, handle.String())
	switch {
	case errors.Is(err, storage.ErrNotFound), err == nil && !s.now().Before(h.Until):
		return "", nil
	case err != nil:
		return "", err
	}
	return h.DID, nil
}

// checkNotHeld refuses a handle that is held for another DID.
func (s *Service) checkNotHeld(tx storage.Tx, handle syntax.Handle, id syntax.DID) error {
	switch former, err := s.formerOwner(tx, handle); {
	case err != nil:
		return err
	case former != "" && former != id:
		return handleTaken(handle)
	}
	return nil
}

// handleTaken refuses a handle that another account has, or that is held for one. It doesn't say
// which.
func handleTaken(handle syntax.Handle) error {
	return refusal.Newf(ErrHandleNotAvailable, "Handle already taken: %s", handle)
}

// exchangeHandle keeps the holds right when an account changes its handle: a hold of the new handle
// ends, and the old handle is held if hold is set.
func (s *Service) exchangeHandle(tx storage.Tx, id syntax.DID, from, to syntax.Handle, hold bool) error {
	former, err := s.formerOwner(tx, to)
	if err != nil {
		return err
	}
	if err := endHold(tx, to); err != nil || !hold {
		return err
	}
	places := maxHeldHandles
	if former == id {
		// The hold that ends leaves a place, which is kept for the same handle. Otherwise a thief could
		// take a held handle back, fill its place with the old handle, and then give it up unheld.
		places--
	}
	return s.holdHandle(tx, id, from, s.cfg.HandleHold, places)
}

// holdHandle holds a handle that an account no longer has, if it is on one of the server's domains
// and fewer than places other handles are held for its DID.
func (s *Service) holdHandle(tx storage.Tx, id syntax.DID, handle syntax.Handle, d time.Duration, places int) error {
	if _, hosted := hostedLabel(handle, s.cfg.HandleDomains); !hosted || d <= 0 {
		return nil
	}
	now := s.now()
	for other, err := range heldHandles.Scan(tx, storage.Exactly("did", id.String())) {
		if err != nil {
			return err
		}
		if other.Handle != handle && now.Before(other.Until) {
			places--
		}
	}
	if places <= 0 {
		return nil
	}
	return heldHandles.Put(tx, &heldHandle{Handle: handle, DID: id, Until: now.Add(d)})
}

// endHold ends the hold of a handle that an account has taken.
func endHold(tx storage.Tx, handle syntax.Handle) error {
	return heldHandles.Delete(tx, handle.String())
}

// holdDeleted holds the handle of a deleted account, if the [Config] says so. Otherwise it ends all
// holds for the DID, since its owner may want to start again.
func (s *Service) holdDeleted(tx storage.Tx, r *record) error {
	if s.cfg.HandleHoldAfterDeletion > 0 {
		return s.holdHandle(tx, r.DID, r.Handle, s.cfg.HandleHoldAfterDeletion, maxHeldHandles)
	}
	_, err := heldHandles.DeleteAll(tx, storage.Exactly("did", r.DID.String()))
	return err
}

// PurgeHeldHandles deletes holds that have ended. It is housekeeping, to be run periodically.
func (s *Service) PurgeHeldHandles(ctx context.Context) error {
	return heldHandles.Purge(ctx, s.store, storage.Range{Index: "until", To: storage.TimeKey(s.now().Add(time.Millisecond))})
}
