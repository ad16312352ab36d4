package bolt

import (
	"context"
	"fmt"
	"runtime"

	"go.etcd.io/bbolt"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/internal/kv"
)

// maxBatch is the maximum number of Updates that share a transaction.
const maxBatch = 1024

// update is a caller of Update or Define that waits for its turn to write.
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
// fn runs in the caller's goroutine, when the committing goroutine gives it its turn. Its writes
// stay in an overlay until it has succeeded; after that, the other Updates of the batch can read
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
		defer tx.Finish() //nolint:errcheck // ends it on a panic too
		if err := fn(tx); err != nil {
			return o, err
		}
		if err := tx.Finish(); err != nil {
			return o, err
		}
		return outcome{dirty: tx.Dirty(), broken: apply(btx, tx)}, nil
	})
}

// inTurn waits for a turn, calls do with the shared transaction, and waits until it is on disk. If
// the context is done before the turn comes, inTurn withdraws and returns its error.
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
		refusal := u.run(btx, do)
		// Wait even if do returned an error: its reason may be a neighbour's write that is not on
		// disk yet.
		if err := <-u.done; err != nil {
			return err
		}
		return refusal
	case <-u.quit:
		return ctx.Err()
	}
}

// run calls do, and passes the turn on even if do panics.
func (u *update) run(btx *bbolt.Tx, do func(*bbolt.Tx) (outcome, error)) (err error) {
	var o outcome
	defer func() { u.ran <- o }()
	o, err = do(btx)
	return err
}

// give gives a caller its turn, and waits for the outcome. ran is false if the caller has
// withdrawn.
func (u *update) give(btx *bbolt.Tx) (o outcome, ran bool) {
	select {
	case u.turn <- btx:
		return <-u.ran, true
	case <-u.quit:
		return outcome{}, false
	}
}

// apply writes what an Update has written to the shared transaction.
func apply(btx *bbolt.Tx, tx *kv.Tx) error {
	for bucket, writes := range tx.Writes() {
		b := btx.Bucket([]byte(bucket))
		if b.FillPercent == bbolt.DefaultFillPercent { // no earlier Update of the batch has changed it
			// If nothing is behind the one in the middle, most of the writes are at the end.
			middle, _, _ := writes.GetAt(writes.Len() / 2)
			if k, _ := b.Cursor().Seek([]byte(middle)); k == nil {
				pack(b, bucket)
			}
		}
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

// How full a page is left behind when a bucket grows at its end. An index entry never changes, so its
// page need have no room. A document may grow a little, as a session does when it is refreshed.
const (
	packedEntries   = 0.95
	packedDocuments = 0.85
)

// pack has the pages of a bucket filled better that grows at its end, as indexes of times and tables
// with keys that begin with the time do. By default bbolt leaves the page that it divides half full,
// which is right for writes in random places, where the other half fills up in time.
func pack(b *bbolt.Bucket, name string) {
	b.FillPercent = packedDocuments
	if kv.IsIndex(name) {
		b.FillPercent = packedEntries
	}
}

// commit serves the queue until the store closes. All callers that arrive while a batch is being
// written share the next transaction.
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
	var waiting []*update // for the commit
	dirty, broken, yielded := false, error(nil), false
	for u := first; u != nil; {
		o, ran := u.give(btx)
		dirty, broken = dirty || o.dirty, o.broken
		switch {
		case ran && dirty:
			waiting = append(waiting, u)
		case ran:
			u.done <- nil // it wrote nothing, and everything it read is on disk
		}
		if broken != nil || len(waiting) == maxBatch {
			break
		}
		if u = s.next(); u == nil && !yielded {
			// The callers that the previous batch has released may be about to come back: let them
			// reach the queue before this batch is written.
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

// next returns a caller that waits in the queue, or nil.
func (s *Store) next() *update {
	select {
	case u := <-s.queue: // nil once it is closed
		return u
	default:
		return nil
	}
}

// unavailable returns the error of a file that can't be written, such as on a full or failing disk.
func unavailable(doing string, err error) error {
	return fmt.Errorf("%w: bolt: %s: %w", storage.ErrUnavailable, doing, err)
}
