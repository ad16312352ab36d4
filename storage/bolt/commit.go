package bolt

import (
	"context"
	"fmt"
	"runtime"

	"go.etcd.io/bbolt"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/internal/kv"
)

// maxBatch bounds the Updates that share a transaction.
const maxBatch = 1024

// update is one caller of Update in the queue.
type update struct {
	turn chan *bbolt.Tx // the caller's turn to run its closure
	ran  chan outcome   // what came of it
	done chan error     // the batch is on disk, or failed
}

// outcome is what a closure did to the shared transaction.
type outcome struct {
	dirty  bool
	broken error // the shared transaction can't be used any longer
}

// Update implements [storage.Store].
//
// The closure runs in the caller's own goroutine, when the committing goroutine
// gives it its turn. Its writes stay in an overlay until it has succeeded; those
// that come later in the batch read them.
func (s *Store) Update(ctx context.Context, fn func(storage.Tx) error) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.running.Done()
	u := &update{turn: make(chan *bbolt.Tx), ran: make(chan outcome, 1), done: make(chan error, 1)}
	select {
	case s.queue <- u:
	case <-ctx.Done():
		return ctx.Err()
	}
	btx := <-u.turn
	if btx == nil { // the shared transaction could not begin
		return <-u.done
	}
	refused := s.run(ctx, u, btx, fn)
	// Wait even if refused: what the closure read of its neighbours' writes, and
	// refused over, may not be on disk yet.
	if err := <-u.done; err != nil {
		return err
	}
	return refused
}

// run runs a closure in its turn, and passes the turn on whatever it does.
func (s *Store) run(ctx context.Context, u *update, btx *bbolt.Tx, fn func(storage.Tx) error) error {
	var o outcome
	defer func() { u.ran <- o }()
	tx := kv.NewTx(ctx, *s.tables.Load(), reader{btx}, true)
	defer tx.Finish() //nolint:errcheck // ends it also on a panic
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Finish(); err != nil {
		return err
	}
	o.dirty = tx.Dirty()
	o.broken = apply(btx, tx)
	return nil
}

func apply(btx *bbolt.Tx, tx *kv.Tx) error {
	for bucket, writes := range tx.Writes() {
		b := btx.Bucket([]byte(bucket))
		for k, v := range kv.Ascend(writes, "") {
			var err error
			if v == nil {
				err = b.Delete([]byte(k))
			} else {
				err = b.Put([]byte(k), v)
			}
			if err != nil {
				return unavailable("writing", err)
			}
		}
	}
	return nil
}

// commit takes callers from the queue until the store closes: all that have
// come while the batch before was being written share one transaction.
func (s *Store) commit() {
	defer close(s.stopped)
	for first := range s.queue {
		s.batch(first)
	}
}

func (s *Store) batch(first *update) {
	btx, err := s.db.Begin(true)
	if err != nil {
		first.turn <- nil
		first.done <- unavailable("beginning", err)
		return
	}
	var waiting []*update // for the disk
	dirty, broken, yielded := false, error(nil), false
	for u := first; u != nil; {
		u.turn <- btx
		o := <-u.ran
		dirty, broken = dirty || o.dirty, o.broken
		if dirty {
			waiting = append(waiting, u)
		} else {
			u.done <- nil // it wrote nothing, and nothing that it read is new
		}
		if broken != nil || len(waiting) == maxBatch {
			break
		}
		if u = s.next(); u == nil && !yielded {
			// Those whom the batch before released may be about to come back: let
			// them run up to the queue, or they would all miss this one.
			yielded = true
			runtime.Gosched()
			u = s.next()
		}
	}
	switch {
	case broken != nil:
		err = broken
		_ = btx.Rollback()
	case dirty:
		if err = btx.Commit(); err != nil {
			err = unavailable("committing", err)
		}
	default:
		_ = btx.Rollback()
	}
	for _, u := range waiting {
		u.done <- err
	}
}

// next returns an Update that waits in the queue, or nil.
func (s *Store) next() *update {
	select {
	case u := <-s.queue: // nil once it is closed
		return u
	default:
		return nil
	}
}

// unavailable is the error of a file that can't be written: a full or a failing disk.
func unavailable(doing string, err error) error {
	return fmt.Errorf("%w: bolt: %s: %w", storage.ErrUnavailable, doing, err)
}
