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

// Local is a directory in a store, for tests and for use without a network. It checks operations
// as the public directory does, but doesn't limit how many there are in an hour, a day or a week.
// DIDs that are only known to it exist nowhere else.
type Local struct {
	store storage.Store
	now   func() time.Time
}

// history is the whole log of a DID, nullified entries included.
type history struct {
	DID syntax.DID `json:"did"`
	Log []*Logged  `json:"log"`
}

var histories = storage.NewCollection("plc_directory", func(h *history) string { return h.DID.String() }).OwnedBy(storage.OwnerGatehouse)

// Tables are the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{histories} }

// NewLocal returns a directory in a store, whose table it defines. A nil now is [time.Now].
func NewLocal(ctx context.Context, store storage.Store, now func() time.Time) (*Local, error) {
	if now == nil {
		now = time.Now
	}
	return &Local{store, now}, storage.Define(ctx, store, Tables()...)
}

// Submit implements [Directory].
func (l *Local) Submit(ctx context.Context, id syntax.DID, op *Operation) error {
	err := l.store.Update(ctx, func(tx storage.Tx) error { return l.SubmitTx(tx, id, op) })
	return unavailable(err)
}

// unavailable makes an error of the store one of a directory.
func unavailable(err error) error {
	if err == nil || errors.Is(err, ErrRefused) || errors.Is(err, ErrNotFound) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// SubmitTx is Submit inside a transaction of the directory's store. Besides [ErrRefused] it
// returns the errors of the store.
func (l *Local) SubmitTx(tx storage.Tx, id syntax.DID, op *Operation) error {
	if !isPLC(id) {
		return refused("%s is not a did:plc", id)
	}
	c, err := op.CID()
	if err != nil {
		return invalid("it must be encodable as DAG-CBOR")
	}
	h, err := histories.Get(tx, id.String())
	if errors.Is(err, storage.ErrNotFound) {
		h, err = &history{DID: id}, nil
	}
	if err != nil {
		return err
	}
	inForce := h.inForce()
	if slices.ContainsFunc(inForce, func(l *Logged) bool { return l.CID == c }) {
		return nil
	}
	if err := op.Validate(); err != nil {
		return err
	}
	now := h.after(l.now())
	keep, err := next(id, inForce, op, now)
	if err != nil {
		return err
	}
	for _, undone := range inForce[keep:] {
		undone.Nullified = true
	}
	h.Log = append(h.Log, &Logged{DID: id, Operation: op, CID: c, CreatedAt: now})
	return histories.Put(tx, h)
}

// after returns a time for the next entry, in whole milliseconds: times in a log increase, even if
// a clock does not.
func (h *history) after(now time.Time) time.Time {
	now = now.UTC().Truncate(time.Millisecond)
	if n := len(h.Log); n > 0 && !now.After(h.Log[n-1].CreatedAt) {
		return h.Log[n-1].CreatedAt.Add(time.Millisecond)
	}
	return now
}

func (h *history) inForce() []*Logged {
	var log []*Logged
	for _, l := range h.Log {
		if !l.Nullified {
			log = append(log, l)
		}
	}
	return log
}

func operations(log []*Logged) []*Operation {
	out := make([]*Operation, len(log))
	for i, l := range log {
		out[i] = l.Operation
	}
	return out
}

// Log implements [Directory].
func (l *Local) Log(ctx context.Context, id syntax.DID) ([]*Operation, error) {
	audit, err := l.Audit(ctx, id)
	if err != nil {
		return nil, err
	}
	return operations((&history{Log: audit}).inForce()), nil
}

// Audit returns the whole log of a DID, with what was nullified, oldest first.
// Errors: [ErrNotFound], [ErrUnavailable].
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
