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

// update is a caller of Update or Define in the queue.
type update struct {
	turn chan *bbolt.Tx  // the caller's turn; closed if there is no transaction to run in
	quit <-chan struct{} // closed when the caller no longer waits for its turn
	ran  chan outcome    // what the caller did in its turn
	done chan error      // sent when the batch is on disk, or has failed
}

// outcome is what a caller did to the shared transaction.
type outcome struct {
	dirty  bool
	broken error // the shared transaction can't be used any longer
}

// Update implements [storage.Store].
//
// The closure runs in the caller's own goroutine, when the committing goroutine gives it its turn.
// Its writes stay in an overlay until it has succeeded; those that come later in the batch read
// them.
func (s *Store) Update(ctx context.Context, fn func(storage.Tx) error) error {
	id, err := s.nested.Enter()
	if err != nil {
		return err
	}
	defer s.nested.Leave(id)
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.running.Done()
	return s.inTurn(ctx, func(btx *bbolt.Tx) (o outcome, err error) {
		tx := kv.NewTx(ctx, *s.tables.Load(), reader{btx}, true)
		defer tx.Finish() //nolint:errcheck // ends it also on a panic
		if err := fn(tx); err != nil {
			return o, err
		}
		if err := tx.Finish(); err != nil {
			return o, err
		}
		return outcome{dirty: tx.Dirty(), broken: apply(btx, tx)}, nil
	})
}

// inTurn waits for a turn, runs do in the shared transaction, and waits until that is on disk. A
// caller whose context is done before its turn withdraws.
func (s *Store) inTurn(ctx context.Context, do func(*bbolt.Tx) (outcome, error)) error {
	u := &update{turn: make(chan *bbolt.Tx), quit: ctx.Done(), ran: make(chan outcome, 1), done: make(chan error, 1)}
	select {
	case s.queue <- u:
	case <-u.quit:
		return ctx.Err()
	}
	select {
	case btx := <-u.turn:
		if btx == nil {
			return <-u.done
		}
		refused := u.run(btx, do)
		// Wait even if refused: what do read of its neighbours' writes, and refused over, may not be
		// on disk yet.
		if err := <-u.done; err != nil {
			return err
		}
		return refused
	case <-u.quit:
		return ctx.Err()
	}
}

// run runs do, and passes the turn on even if do panics.
func (u *update) run(btx *bbolt.Tx, do func(*bbolt.Tx) (outcome, error)) (err error) {
	var o outcome
	defer func() { u.ran <- o }()
	o, err = do(btx)
	return err
}

// give gives a caller its turn and waits until it has run, unless it has withdrawn.
func (u *update) give(btx *bbolt.Tx) (o outcome, ran bool) {
	select {
	case u.turn <- btx:
		return <-u.ran, true
	case <-u.quit:
		return outcome{}, false
	}
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

// commit takes callers from the queue until the store closes: all that have come while the batch
// before was being written share one transaction.
func (s *Store) commit() {
	defer close(s.stopped)
	for first := range s.queue {
		s.batch(first)
	}
}

func (s *Store) batch(first *update) {
	btx, err := s.db.Begin(true)
	if err != nil {
		first.done <- unavailable("beginning", err)
		close(first.turn)
		return
	}
	var waiting []*update // for the disk
	dirty, broken, yielded := false, error(nil), false
	for u := first; u != nil; {
		o, ran := u.give(btx)
		dirty, broken = dirty || o.dirty, o.broken
		switch {
		case ran && dirty:
			waiting = append(waiting, u)
		case ran:
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
