package accounts

import (
	"context"
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// heldHandle is a handle that its account has given up. For a while nobody else gets it: whoever
// writes to it, or mentions it, means the account that had it.
type heldHandle struct {
	Handle syntax.Handle `json:"handle"`
	// DID is that of the former owner, who may take the handle back.
	DID   syntax.DID `json:"did"`
	Until time.Time  `json:"until"`
}

var heldHandles = storage.NewCollection("held_handles",
	func(h *heldHandle) string { return h.Handle.String() },
	storage.Ordered("did", func(h *heldHandle) string { return h.DID.String() }),
	storage.Ordered("until", func(h *heldHandle) string { return storage.TimeKey(h.Until) }),
)

// maxHeldHandles is how many handles are held for one DID, so that nobody hoards them. Those that
// are given up beyond that are free at once: if they took the place of others, a thief could have
// the owner's own handle pushed out.
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

// checkNotHeld refuses a handle that is held for another DID than that of who asks for it.
func (s *Service) checkNotHeld(tx storage.Tx, handle syntax.Handle, id syntax.DID) error {
	switch former, err := s.formerOwner(tx, handle); {
	case err != nil:
		return err
	case former != "" && former != id:
		return handleTaken(handle)
	}
	return nil
}

// handleTaken refuses a handle that somebody else has, or that is held for somebody else. Which of
// these it is isn't said.
func handleTaken(handle syntax.Handle) error {
	return refusal.Newf(ErrHandleNotAvailable, "Handle already taken: %s", handle)
}

// exchangeHandle goes with an account's change of its handle: a hold of the handle that comes ends,
// and the one that goes is held, if hold is set.
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
		// The place of what is taken back stays free for it. Otherwise a thief would take it back,
		// have its place filled by the handle that goes, and give it up once more.
		places--
	}
	return s.holdHandle(tx, id, from, s.cfg.HandleHold, places)
}

// holdHandle holds a handle that an account has no longer, if it is on one of the server's domains
// and fewer others than places are held for its DID.
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

// endHold ends the hold of a handle that an account has got.
func endHold(tx storage.Tx, handle syntax.Handle) error {
	return heldHandles.Delete(tx, handle.String())
}

// holdDeleted holds the handle of an account that is deleted, if the [Config] says so. Otherwise
// nothing is held any more for its DID: its owner may want to start again.
func (s *Service) holdDeleted(tx storage.Tx, r *record) error {
	if s.cfg.HandleHoldAfterDeletion > 0 {
		return s.holdHandle(tx, r.DID, r.Handle, s.cfg.HandleHoldAfterDeletion, maxHeldHandles)
	}
	_, err := heldHandles.DeleteAll(tx, storage.Exactly("did", r.DID.String()))
	return err
}

// PurgeHeldHandles forgets handles that were held long enough. It is housekeeping, to be run
// periodically.
func (s *Service) PurgeHeldHandles(ctx context.Context) error {
	return heldHandles.Purge(ctx, s.store, storage.Range{Index: "until", To: storage.TimeKey(s.now().Add(time.Millisecond))})
}
