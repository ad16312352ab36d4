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

// MaxAttempts is how often a transaction that meets others is run before it fails with
// [storage.ErrUnavailable].
const MaxAttempts = 40

// maxStale is how often a transaction may find the definitions of tables changed before it fails.
const maxStale = 10

// maxLost is how many connections a transaction may lose before it fails.
const maxLost = 3

// View implements [storage.Store]. Its closure runs once: only the first exchange with
// the database, of which the closure has seen nothing yet, is repeated when the connection is lost.
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
	tx := s.newTx(ctx, false)
	defer tx.end()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.doom
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
	for attempt := 1; ; attempt++ {
		broken, err := s.attempt(ctx, fn)
		if broken == nil {
			return err
		}
		met[broken.kind]++
		switch {
		case broken.kind == contended && attempt < MaxAttempts:
			if err := pause(ctx, attempt); err != nil {
				return err
			}
		case broken.kind == conflict && met[conflict] == 1 && attempt < MaxAttempts:
		case broken.kind == lost && met[lost] < maxLost:
		case broken.kind == stale && met[stale] < maxStale:
			if _, err := s.refresh(ctx); err != nil {
				return err
			}
		case broken.kind == contended:
			return fmt.Errorf("postgres: gave up after %d attempts: %w", attempt, broken.err)
		default:
			return err
		}
		s.retries.Add(1)
	}
}

// attempt runs fn in one transaction. A failure of the database that may pass with
// another attempt is returned beside the error, whatever fn has made of it.
func (s *Store) attempt(ctx context.Context, fn func(storage.Tx) error) (*failure, error) {
	tx := s.newTx(ctx, true)
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

// pause waits a random time, the longer the more attempts have failed.
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

// outdated is the error of a division by zero, which nothing but checkVersion asks for.
const outdated = "22012"

// checkVersion returns the statement that fails as [outdated] if the definitions of tables have
// another version. It goes with the first statements of each Update: one that doesn't know of an
// index would leave old entries in it.
func (s *Store) checkVersion(version int) string {
	return "SELECT 1 / count(*) FROM " + s.in("_meta") + " WHERE name = 'definitions' AND value = " + quoteText(strconv.Itoa(version))
}
