package storagetest

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
)

// transaction is a View or an Update.
type transaction struct {
	name string
	run  func(storage.Store, context.Context, func(storage.Tx) error) error
}

var transactions = []transaction{
	{"View", storage.Store.View},
	{"Update", storage.Store.Update},
}

// testNested calls every method of a store inside its transactions, with several contexts, directly
// and through [storage.Conditional].
func testNested(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("a", `{}`))
	canceled, cancel := context.WithCancel(f.ctx)
	cancel()
	nothing := func(storage.Tx) error { t.Error("a nested closure ran"); return nil }
	calls := map[string]func(storage.Store, context.Context) error{
		"View":   func(s storage.Store, ctx context.Context) error { return s.View(ctx, nothing) },
		"Update": func(s storage.Store, ctx context.Context) error { return s.Update(ctx, nothing) },
		"Define": func(s storage.Store, ctx context.Context) error {
			return s.Define(ctx, things, storage.Table{Name: "more"})
		},
		"Tables": func(s storage.Store, ctx context.Context) error { _, err := s.Tables(ctx); return err },
		"Close":  func(s storage.Store, _ context.Context) error { return s.Close() },
	}
	stores := map[string]storage.Store{"the store": f.Store, "a Conditional": storage.Conditional(f.Store)}
	for outerName, outerStore := range stores {
		for _, outer := range transactions {
			type captured struct{}
			ctx, stop := context.WithCancel(context.WithValue(f.ctx, captured{}, true))
			err := outer.run(outerStore, ctx, func(tx storage.Tx) error {
				for innerName, innerStore := range stores {
					for name, call := range calls {
						for which, inner := range map[string]context.Context{"its context": ctx, "another": context.Background(), "one that is done": canceled} {
							if err := call(innerStore, inner); !errors.Is(err, storage.ErrNested) {
								t.Errorf("%s of %s inside %s of %s, context: %s: error is %v, want ErrNested",
									name, innerName, outer.name, outerName, which, err)
							}
						}
					}
				}
				for _, err := range tx.Scan("things", storage.Range{}) { // also during a scan
					if err != nil {
						return err
					}
					wantError(t, "View in a scan", f.View(ctx, nothing), storage.ErrNested)
					wantError(t, "Update in a scan", f.Update(ctx, nothing), storage.ErrNested)
				}
				// The transaction goes on.
				if outer.name == "Update" {
					if err := tx.Put("things", doc("b", `{}`)); err != nil {
						return err
					}
				}
				_, err := tx.Get("things", "a")
				return err
			})
			stop()
			if err != nil {
				t.Errorf("a %s that ignored errors of nested calls: %v", outer.name, err)
			}
			f.view(func(tx storage.Tx) error { return nil })
			f.put(doc("a", `{}`))
		}
	}
	tables, err := f.Tables(f.ctx)
	if err != nil || len(tables) != 1 {
		t.Errorf("Tables = %v, %v", tables, err)
	}
	f.view(func(tx storage.Tx) error { wantKeys(t, tx, storage.Range{}, "a b"); return nil })
}

// testNestedFails ends closures by the error of a nested call, by a panic and by the end of their
// goroutine: after that, the next transaction of the goroutine must not be taken for a nested one.
func testNestedFails(t *testing.T, f *fixture) {
	f.define(things)
	nested := func(inner transaction) error {
		return inner.run(f.Store, f.ctx, func(storage.Tx) error { return nil })
	}
	for _, outer := range transactions {
		for _, inner := range transactions {
			err := outer.run(f.Store, f.ctx, func(tx storage.Tx) error {
				if outer.name == "Update" {
					if err := tx.Put("things", doc("lost", `{}`)); err != nil {
						return err
					}
				}
				return nested(inner)
			})
			wantError(t, inner.name+" inside "+outer.name, err, storage.ErrNested)
			func() {
				defer func() { wantError(t, "the panic", recover().(error), storage.ErrNested) }()
				_ = outer.run(f.Store, f.ctx, func(storage.Tx) error { panic(nested(inner)) })
			}()
			f.put(doc("kept", `{}`))
			var after error
			exited := make(chan struct{})
			go func() {
				defer close(exited)
				defer func() { after = f.View(f.ctx, func(storage.Tx) error { return nil }) }()
				_ = outer.run(f.Store, f.ctx, func(storage.Tx) error { runtime.Goexit(); return nil })
			}()
			if <-exited; after != nil {
				t.Errorf("View after a closure of %s ended its goroutine: %v", outer.name, after)
			}
		}
	}
	check := func(storage.Tx) error { return f.View(f.ctx, func(storage.Tx) error { return nil }) }
	err := storage.Conditional(f.Store).Update(storage.WithPrecondition(f.ctx, check), func(storage.Tx) error { return nil })
	wantError(t, "View inside a precondition", err, storage.ErrNested)
	f.view(func(tx storage.Tx) error { wantKeys(t, tx, storage.Range{}, "kept"); return nil })
}

// testStoresNest uses each of two stores inside transactions of the other.
func testStoresNest(t *testing.T, f *fixture) {
	other := f.backend.Open(t)
	defer other.Close()
	f.define(things)
	if err := other.Define(f.ctx, things); err != nil {
		t.Fatal(err)
	}
	put := func(tx storage.Tx) error { return tx.Put("things", doc("a", `{}`)) }
	for _, outer := range transactions {
		err := outer.run(f.Store, f.ctx, func(storage.Tx) error {
			return other.Update(f.ctx, func(tx storage.Tx) error {
				wantError(t, "a store inside another inside it", f.View(f.ctx, put), storage.ErrNested)
				return put(tx)
			})
		})
		if err != nil {
			t.Errorf("Update of another store inside %s: %v", outer.name, err)
		}
		err = outer.run(other, f.ctx, func(storage.Tx) error {
			return f.View(f.ctx, func(tx storage.Tx) error { wantKeys(t, tx, storage.Range{}, ""); return nil })
		})
		if err != nil {
			t.Errorf("View of another store inside %s: %v", outer.name, err)
		}
	}
}

// testNestedElsewhere makes a closure wait for another goroutine that uses the store: a View works
// there, and a call that has to wait for the outer transaction ends with its context.
func testNestedElsewhere(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("a", `{}`))
	read := func(tx storage.Tx) error { _, err := tx.Get("things", "a"); return err }
	for _, outer := range transactions {
		err := outer.run(f.Store, f.ctx, func(tx storage.Tx) error {
			noErrors(t, together(1, func(int) error { return f.View(f.ctx, read) }))
			for name, call := range map[string]func(context.Context) error{
				"Update": func(ctx context.Context) error {
					return f.Update(ctx, func(tx storage.Tx) error { return tx.Put("things", doc("elsewhere", `{}`)) })
				},
				"Define": func(ctx context.Context) error { return f.Define(ctx, storage.Table{Name: "elsewhere"}) },
			} {
				ctx, cancel := context.WithCancel(f.ctx)
				waiting := &watchedContext{Context: ctx, watched: make(chan struct{})}
				done := make(chan error, 1)
				go func() { done <- call(waiting) }()
				var err error
				select {
				case err = <-done: // the backend doesn't have to wait
				case <-waiting.watched:
					cancel()
					err = <-done
				}
				cancel()
				if err != nil {
					wantError(t, name+" in another goroutine inside "+outer.name, err, context.Canceled)
				}
			}
			return read(tx)
		})
		if err != nil {
			t.Errorf("%s: %v", outer.name, err)
		}
		f.put(doc("a", `{}`))
		f.define(storage.Table{Name: "elsewhere"})
	}
}
