package did

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Local is a [Directory] in a store, for tests and for use without a network. It checks operations
// as the public directory does, but doesn't limit how many a DID may have in an hour, a day or a
// week. DIDs that are published in a Local directory exist nowhere else.
type Local struct {
	store storage.Store
	now   func() time.Time
}

// history is the whole log of a DID, including nullified entries.
type history struct {
	DID syntax.DID `json:"did"`
	Log []*Logged  `json:"log"`
}

var histories = storage.NewCollection("plc_directory", func(h *history) string { return h.DID.String() }).OwnedBy(storage.OwnerGatehouse)

// Tables returns the collections of this package, for [storage.Define].
func Tables() []storage.Definer { return []storage.Definer{histories} }

// NewLocal returns a directory that is kept in a store, and defines its table there. If now is nil,
// the directory uses [time.Now].
func NewLocal(ctx context.Context, store storage.Store, now func() time.Time) (*Local, error) {
	if now == nil {
		now = time.Now
	}
	return &Local{store, now}, storage.Define(ctx, store, Tables()...)
}

// Submit implements [Directory].
func (l *Local) Submit(ctx context.Context, id syntax.DID, op *Operation) error {
	var added bool
	err := l.store.Update(ctx, func(tx storage.Tx) (err error) {
		added, err = l.submit(tx, id, op)
		return err
	})
	if err == nil && added {
		receiptOf(ctx).added = true
	}
	return unavailable(err)
}

// unavailable turns an error of the store into one of a directory.
func unavailable(err error) error {
	if err == nil || errors.Is(err, ErrRefused) || errors.Is(err, ErrNotFound) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// submit adds an operation to the log of a DID, and reports whether it did: not if it is there
// already. It returns an [ErrRefused] or an error of the store.
func (l *Local) submit(tx storage.Tx, id syntax.DID, op *Operation) (added bool, err error) {
	if !isPLC(id) {
		return false, refused("%s is not a did:plc", id)
	}
	c, err := op.CID()
	if err != nil {
		return false, invalid("it must be encodable as DAG-CBOR")
	}
	h, err := histories.Get(tx, id.String())
	if errors.Is(err, storage.ErrNotFound) {
		h, err = &history{DID: id}, nil
	}
	if err != nil {
		return false, err
	}
	inForce := h.inForce()
	if slices.ContainsFunc(inForce, func(l *Logged) bool { return l.CID == c }) {
		return false, nil
	}
	if err := op.Validate(); err != nil {
		return false, err
	}
	now := h.after(l.now())
	keep, err := next(id, inForce, op, now)
	if err != nil {
		return false, err
	}
	for _, undone := range inForce[keep:] {
		undone.Nullified = true
	}
	h.Log = append(h.Log, &Logged{DID: id, Operation: op, CID: c, CreatedAt: now})
	return true, histories.Put(tx, h)
}

// after returns the time of the next entry in whole milliseconds. The times in a log increase even
// if the clock doesn't.
func (h *history) after(now time.Time) time.Time {
	now = now.UTC().Truncate(time.Millisecond)
	if n := len(h.Log); n > 0 && !now.After(h.Log[n-1].CreatedAt) {
		return h.Log[n-1].CreatedAt.Add(time.Millisecond)
	}
	return now
}

// inForce returns the entries that aren't nullified.
func (h *history) inForce() []*Logged {
	var log []*Logged
	for _, l := range h.Log {
		if !l.Nullified {
			log = append(log, l)
		}
	}
	return log
}

// Log implements [Directory].
func (l *Local) Log(ctx context.Context, id syntax.DID) ([]*Operation, error) {
	audit, err := l.Audit(ctx, id)
	if err != nil {
		return nil, err
	}
	var ops []*Operation
	for _, entry := range (&history{Log: audit}).inForce() {
		ops = append(ops, entry.Operation)
	}
	return ops, nil
}

// Audit returns the whole log of a DID, oldest first, including nullified entries. Errors:
// [ErrNotFound], [ErrUnavailable].
func (l *Local) Audit(ctx context.Context, id syntax.DID) ([]*Logged, error) {
	if !isPLC(id) {
		return nil, ErrNotFound
	}
	var h *history
	err := l.store.View(ctx, func(tx storage.Tx) (err error) {
		h, err = histories.Get(tx, id.String())
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return h.Log, nil
}
