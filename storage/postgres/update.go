package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/gatehouse-at/gatehouse/storage"
)

// maxAttempts is how often a transaction that conflicts with others is run before it fails with
// [storage.ErrUnavailable].
const maxAttempts = 40

// maxStale is how often a transaction may find that the definitions have changed before it fails.
const maxStale = 10

// maxLost is the number of connections that a transaction may lose before it fails.
const maxLost = 3

// View implements [storage.Store]. It runs fn once: when the connection is lost, only the first
// exchange with the database is repeated, before fn has read anything.
func (s *Store) View(ctx context.Context, fn func(storage.Tx) error) error {
	id, err := s.nested.Enter()
	if err != nil {
		return err
	}
	defer s.nested.Leave(id)
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.running.Done()
	tx := s.newTx(ctx, false, nil)
	defer tx.end()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.doom
}

// ViewOf implements [storage.RefViewer]. It reads everything in one exchange, and releases the
// connection before it runs fn.
func (s *Store) ViewOf(ctx context.Context, refs []storage.Ref, fn func(storage.Tx) error) error {
	return s.View(ctx, func(tx storage.Tx) error {
		own := tx.(*transaction)
		if err := own.fetch(refs, closing); err != nil {
			return err
		}
		own.release()
		return fn(tx)
	})
}

// Update implements [storage.Store].
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
	met := map[kind]int{}
	var held heldLocks
	for attempt := 1; ; attempt++ {
		tx := s.newTx(ctx, true, held)
		broken, err := tx.attempt(fn)
		if broken == nil {
			return err
		}
		met[broken.kind]++
		switch {
		case broken.kind == contended && attempt < maxAttempts:
			// Others change what it relies on, so it takes its turn.
			if held == nil {
				held = heldLocks{}
			}
			held.add(tx.changes().locks)
		case broken.kind == uncovered && met[uncovered]%3 != 0:
			held.add(tx.changes().locks)
		case broken.kind == uncovered && attempt < maxAttempts:
			// It reads something else each time, such as a random key: nothing can be locked before.
			held = nil
			if err := pause(ctx, attempt); err != nil {
				return err
			}
		case broken.kind == lost && met[lost] < maxLost:
		case broken.kind == stale && met[stale] < maxStale:
			if _, err := s.refresh(ctx); err != nil {
				return err
			}
		case broken.kind == contended, broken.kind == uncovered:
			return fmt.Errorf("postgres: gave up after %d attempts: %w", attempt, broken.err)
		default:
			return err
		}
		s.retries.Add(1)
	}
}

// attempt runs fn in the transaction. A failure of the database that another attempt may avoid is
// returned in addition to the error, whatever fn has returned for it.
func (tx *transaction) attempt(fn func(storage.Tx) error) (*failure, error) {
	defer tx.end()
	err := fn(tx)
	if err == nil {
		if err = tx.ready(); err == nil {
			err = tx.commit()
		}
	}
	var f *failure
	if errors.As(tx.doom, &f) && f.kind != final {
		return f, err
	}
	return nil, err
}

// pause waits for a random time that grows with the number of attempts.
func pause(ctx context.Context, attempt int) error {
	most := min(time.Millisecond<<min(attempt, 10), 200*time.Millisecond)
	t := time.NewTimer(rand.N(most))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// outdated is the code of a division by zero, which only the expression of checkVersion causes.
const outdated = "22012"

// checkVersion returns an expression that fails as [outdated] if the definitions have another
// version. Every Update evaluates it when it has locked the documents that it writes: an Update
// that doesn't know an index would leave old entries in it. A process that knows the index may have
// written such entries only before, so its definitions are committed by then.
func (s *Store) checkVersion(version int) string {
	return "1 / (SELECT count(*) FROM " + s.in("_meta") + " WHERE name = '" + versionRow + "' AND value = " + quoteText(strconv.Itoa(version)) + ")"
}
