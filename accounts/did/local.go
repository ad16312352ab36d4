package did

import (
	"context"
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Local is a directory in a store, for tests and for use without a network. It checks operations
// as the public directory does. DIDs that are only known to it exist nowhere else.
type Local struct {
	store storage.Store
	now   func() time.Time
}

// history is the whole log of a DID, nullified entries included.
type history struct {
	DID syntax.DID `json:"did"`
	Log []*Logged  `json:"log"`
}

var histories = storage.NewCollection("plc_directory", func(h *history) string { return h.DID.String() })

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
	return l.store.Update(ctx, func(tx storage.Tx) error { return l.SubmitTx(tx, id, op) })
}

// SubmitTx is Submit inside a transaction of the directory's store.
func (l *Local) SubmitTx(tx storage.Tx, id syntax.DID, op *Operation) error {
	if id.Method() != "plc" {
		return refused("%s is not a did:plc", id)
	}
	h, err := histories.Get(tx, id.String())
	if errors.Is(err, storage.ErrNotFound) {
		h, err = &history{DID: id}, nil
	}
	if err != nil {
		return err
	}
	inForce := h.inForce()
	if len(inForce) > 0 && contains(operations(inForce), op) {
		return nil
	}
	now := l.now().UTC().Truncate(time.Millisecond)
	keep, err := next(id, inForce, op, now)
	if err != nil {
		return err
	}
	for _, undone := range inForce[keep:] {
		undone.Nullified = true
	}
	c, err := op.CID()
	if err != nil {
		return err
	}
	h.Log = append(h.Log, &Logged{DID: id, Operation: op, CID: c, CreatedAt: now})
	return histories.Put(tx, h)
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
func (l *Local) Audit(ctx context.Context, id syntax.DID) ([]*Logged, error) {
	var h *history
	err := l.store.View(ctx, func(tx storage.Tx) (err error) {
		h, err = histories.Get(tx, id.String())
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return h.Log, nil
}
