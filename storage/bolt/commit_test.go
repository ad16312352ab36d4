package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

func openNotes(t *testing.T) *bolt.Store {
	t.Helper()
	s := open(t, filepath.Join(t.TempDir(), "store.db"))
	t.Cleanup(func() { s.Close() })
	if err := storage.Define(ctx, s, notes); err != nil {
		t.Fatal(err)
	}
	return s
}

func put(id string) func(storage.Tx) error {
	return func(tx storage.Tx) error { return notes.Put(tx, &note{ID: id}) }
}

// queued runs first in an Update, and starts the calls one after the other while it is running.
// first goes on when all calls are waiting. queued returns their errors.
func queued(t *testing.T, s *bolt.Store, first func(storage.Tx) error, calls []func() error) []error {
	t.Helper()
	inside, release := make(chan struct{}), make(chan struct{})
	go func() {
		err := s.Update(ctx, func(tx storage.Tx) error {
			close(inside)
			<-release
			return first(tx)
		})
		if err != nil {
			t.Error(err)
		}
	}()
	<-inside
	errs := make([]error, len(calls))
	for i, call := range calls {
		go func() { errs[i] = call() }()
		synctest.Wait() // until the call waits
	}
	close(release)
	synctest.Wait()
	return errs
}

func TestUpdatesShareACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openNotes(t)
		defer s.Close()
		before := s.Commits()
		var calls []func() error
		for i := range 20 {
			calls = append(calls, func() error { return s.Update(ctx, put(fmt.Sprint(i))) })
		}
		for _, err := range queued(t, s, put("first"), calls) {
			if err != nil {
				t.Error(err)
			}
		}
		if n := s.Commits() - before; n != 1 {
			t.Errorf("21 Updates took %d commits, want 1", n)
		}
	})
}

// TestRefusalsRestOnWhatIsOnDisk refuses because of a neighbour's write: Update must not return the
// refusal before that write is on disk.
func TestRefusalsRestOnWhatIsOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openNotes(t)
		defer s.Close()
		before, refused := s.Commits(), errors.New("refused")
		errs := queued(t, s, put("first"), []func() error{func() error {
			err := s.Update(ctx, func(tx storage.Tx) error {
				if _, err := notes.Get(tx, "first"); err != nil {
					return err
				}
				return refused
			})
			if n := s.Commits() - before; n != 1 {
				t.Errorf("%d commits before the refusal was returned, want 1", n)
			}
			return err
		}})
		if !errors.Is(errs[0], refused) {
			t.Errorf("Update: %v", errs[0])
		}
	})
}

// TestCloseWaitsForTheQueue closes a store while Updates wait for their turns: Close must wait
// until they have had them.
func TestCloseWaitsForTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openNotes(t)
		written := func(id string) func() error {
			return func() error { return s.Update(ctx, put(id)) }
		}
		for _, err := range queued(t, s, put("first"), []func() error{written("a"), written("b"), s.Close}) {
			if err != nil {
				t.Error(err)
			}
		}
		if err := s.Update(ctx, put("late")); !errors.Is(err, storage.ErrClosed) {
			t.Errorf("Update after Close: %v", err)
		}
	})
}

func TestNoWriteNoCommit(t *testing.T) {
	s := openNotes(t)
	before := s.Commits()
	if err := s.Update(ctx, func(tx storage.Tx) error { _, err := notes.All(tx, storage.Range{}); return err }); err != nil {
		t.Error(err)
	}
	refused := errors.New("refused")
	err := s.Update(ctx, func(tx storage.Tx) error { return errors.Join(put("a")(tx), refused) })
	if !errors.Is(err, refused) {
		t.Error(err)
	}
	if n := s.Commits() - before; n != 0 {
		t.Errorf("%d commits without a write", n)
	}
}

// TestNeighboursInABatch runs one closure of each kind in one batch: only the successful ones write
// anything, and they see each other's writes.
func TestNeighboursInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openNotes(t)
		defer s.Close()
		before := s.Commits()
		refused := errors.New("refused")
		canceled, cancel := context.WithCancel(ctx)
		exited := make(chan struct{})
		calls := []func() error{
			func() error { return s.Update(ctx, put("good")) },
			func() error {
				return s.Update(ctx, func(tx storage.Tx) error { return errors.Join(put("refused")(tx), refused) })
			},
			func() error {
				return s.Update(ctx, func(tx storage.Tx) error { return notes.Insert(tx, &note{ID: "first"}) })
			},
			func() (err error) {
				defer func() { err, _ = recover().(error) }()
				return s.Update(ctx, func(tx storage.Tx) error { _ = put("panicked")(tx); panic(refused) })
			},
			func() error {
				defer close(exited)
				return s.Update(ctx, func(tx storage.Tx) error { _ = put("exited")(tx); runtime.Goexit(); return nil })
			},
			func() error {
				return s.Update(canceled, func(storage.Tx) error { t.Error("a closure ran after its context was done"); return nil })
			},
			func() error { cancel(); return nil }, // while all of them wait
		}
		errs := queued(t, s, put("first"), calls)
		<-exited
		for i, want := range []error{nil, refused, storage.ErrConflict, refused, nil, context.Canceled, nil} {
			if !errors.Is(errs[i], want) {
				t.Errorf("call %d: %v, want %v", i, errs[i], want)
			}
		}
		if n := s.Commits() - before; n != 1 {
			t.Errorf("%d commits, want 1", n)
		}
		err := s.View(ctx, func(tx storage.Tx) error {
			all, err := notes.All(tx, storage.Range{})
			if len(all) != 2 || all[0].ID != "first" || all[1].ID != "good" {
				t.Errorf("there are %d documents, want two: %v", len(all), all)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestWaitersWithdraw cancels an Update and a Define that wait for their turns.
func TestWaitersWithdraw(t *testing.T) {
	s := openNotes(t)
	for i := range 20 {
		release, err := s.HoldWriter()
		if err != nil {
			t.Fatal(err)
		}
		waiting, cancel := context.WithCancel(ctx)
		errs := make(chan error, 2)
		go func() { errs <- s.Update(waiting, put(fmt.Sprint("withdrawn", i))) }()
		go func() { errs <- s.Define(waiting, storage.Table{Name: "withdrawn"}) }()
		for range 100 * (i % 3) { // let them get as far as they can
			runtime.Gosched()
		}
		cancel()
		for range 2 {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Errorf("error is %v, want Canceled", err)
			}
		}
		release()
		if err := s.Update(ctx, put("written")); err != nil {
			t.Errorf("Update afterwards: %v", err)
		}
	}
	tables, err := s.Tables(ctx)
	if err != nil || len(tables) != 1 {
		t.Errorf("Tables = %v, %v", tables, err)
	}
	err = s.View(ctx, func(tx storage.Tx) error {
		all, err := notes.All(tx, storage.Range{})
		if len(all) != 1 || all[0].ID != "written" {
			t.Errorf("there are %v", all)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestUpdatesAfterOneThatEmptiesATable writes and scans in a transaction that is shared with an
// Update which has deleted all documents of a large table.
func TestUpdatesAfterOneThatEmptiesATable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openNotes(t)
		defer s.Close()
		const n = 1000
		id := func(i int) string { return fmt.Sprintf("note %04d", i) }
		err := s.Update(ctx, func(tx storage.Tx) error {
			for i := range n {
				if err := notes.Put(tx, &note{ID: id(i)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		before := s.Commits()
		empty := func(tx storage.Tx) error {
			_, err := notes.DeleteAll(tx, storage.Range{})
			return err
		}
		var last *note
		errs := queued(t, s, empty, []func() error{
			func() error { return s.Update(ctx, put(id(n/2))) },
			func() error {
				return s.Update(ctx, func(tx storage.Tx) error {
					for found, err := range notes.Scan(tx, storage.Range{Reverse: true}) {
						if err != nil {
							return err
						}
						last = found
						break
					}
					return put("last")(tx)
				})
			},
		})
		for _, err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
		if last == nil || last.ID != id(n/2) || s.Commits() != before+1 {
			t.Errorf("the last note is %v, after %d commits", last, s.Commits()-before)
		}
	})
}
