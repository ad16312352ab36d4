package storagetest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
)

// testViewOf reads declared documents, and then what wasn't declared.
func testViewOf(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("a", `{"n":1}`, "name=A"), doc("b", `{"n":2}`, "name=B"), doc("c", `{"n":3}`, "aliases=C"))
	ref := func(index, value string) storage.Ref {
		return storage.Ref{Table: "things", Index: index, Value: value}
	}
	refs := []storage.Ref{
		ref("", "a"), ref("name", "B"), ref("aliases", "C"), ref("", "missing"), ref("name", "missing"), ref("", "a"),
		{Table: "undefined", Value: "a"}, ref("undefined", "a"), ref("kind", "a"), ref("", ""), ref("", "\x00"),
	}
	for name, s := range map[string]storage.Store{"the store itself": f.Store, "a Conditional": storage.Conditional(f.Store)} {
		t.Run(name, func(t *testing.T) {
			var leaked storage.Tx
			err := storage.ViewOf(f.ctx, s, refs, func(tx storage.Tx) error {
				leaked = tx
				if err := storage.Prefetch(tx, refs...); err != nil {
					return err
				}
				for want, get := range map[string]func() ([]byte, error){
					`{"n":1}`: func() ([]byte, error) { return tx.Get("things", "a") },
					`{"n":2}`: func() ([]byte, error) { return tx.GetBy("things", "name", "B") },
					`{"n":3}`: func() ([]byte, error) { return tx.GetBy("things", "aliases", "C") },
				} {
					got, err := get()
					if err != nil {
						return err
					}
					same(t, got, want)
				}
				_, err := tx.Get("things", "missing")
				wantError(t, "Get of a declared key that is missing", err, storage.ErrNotFound)
				_, err = tx.GetBy("things", "name", "missing")
				wantError(t, "GetBy of a declared value that is missing", err, storage.ErrNotFound)
				for _, r := range refs[6:] {
					if r.Index == "" {
						_, err = tx.Get(r.Table, r.Value)
					} else {
						_, err = tx.GetBy(r.Table, r.Index, r.Value)
					}
					wantError(t, "reading a bad reference", err, storage.ErrInvalid)
				}
				// What wasn't declared can't be read, even if the backend happens to know it.
				_, err = tx.Get("things", "b")
				wantError(t, "Get of what was declared by its value", err, storage.ErrInvalid)
				_, err = tx.Get("things", "c2")
				wantError(t, "Get of what wasn't declared", err, storage.ErrInvalid)
				_, err = tx.GetBy("things", "name", "A")
				wantError(t, "GetBy of what was declared by its key", err, storage.ErrInvalid)
				_, err = tx.GetBy("things", "", "a")
				wantError(t, "GetBy without an index", err, storage.ErrInvalid)
				wantError(t, "Scan", scanError(tx, "things", storage.Range{}), storage.ErrInvalid)
				if err := storage.Prefetch(tx, ref("", "b")); err == nil {
					_, err = tx.Get("things", "b")
					wantError(t, "Get of what was prefetched and not declared", err, storage.ErrInvalid)
				}
				wantError(t, "Put", tx.Put("things", doc("d", `{}`)), storage.ErrReadOnly)
				wantError(t, "Insert", tx.Insert("things", doc("d", `{}`)), storage.ErrReadOnly)
				wantError(t, "Delete", tx.Delete("things", "a"), storage.ErrReadOnly)
				wantError(t, "a View inside", f.View(f.ctx, func(storage.Tx) error { return nil }), storage.ErrNested)
				return errRefused
			})
			wantError(t, "ViewOf", err, errRefused)
			_, err = leaked.Get("things", "a")
			wantError(t, "Get after the end", err, storage.ErrClosed)
			err = storage.ViewOf(f.ctx, s, nil, func(tx storage.Tx) error {
				_, err := tx.Get("things", "a")
				return err
			})
			wantError(t, "Get when nothing was declared", err, storage.ErrInvalid)
			done, cancel := context.WithCancel(f.ctx)
			err = storage.ViewOf(done, s, refs, func(tx storage.Tx) error {
				cancel()
				_, err := tx.Get("things", "a")
				return err
			})
			wantError(t, "Get, context done", err, context.Canceled)
			err = storage.ViewOf(done, s, refs, func(storage.Tx) error { return nil })
			wantError(t, "ViewOf, context done", err, context.Canceled)
		})
	}
	_, single := f.Store.(storage.SingleProcess)
	if _, still := storage.Conditional(f.Store).(storage.SingleProcess); still != single {
		t.Error("Conditional changes whether the store is that of a single process")
	}
	stranger := storage.NewCollection("owned", func(s *string) string { return *s })
	f.define(storage.Table{Name: "owned", Owner: "somebody"})
	err := storage.ViewOf(f.ctx, f.Store, []storage.Ref{stranger.Ref("a")}, func(tx storage.Tx) error {
		_, err := stranger.Get(tx, "a")
		return err
	})
	wantError(t, "ViewOf of another owner's table", err, storage.ErrInvalid)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	err = storage.ViewOf(f.ctx, f.Store, refs, func(storage.Tx) error { return nil })
	wantError(t, "ViewOf of a closed store", err, storage.ErrClosed)
}

// testViewOfIsASnapshot reads two documents that always change together.
func testViewOfIsASnapshot(t *testing.T, f *fixture) {
	f.define(things)
	both := func(tx storage.Tx, by int) error { return errors.Join(add(tx, "a", by), add(tx, "b", -by)) }
	f.update(func(tx storage.Tx) error { return both(tx, 0) })
	refs := []storage.Ref{{Table: "things", Value: "a"}, {Table: "things", Value: "b"}}
	noErrors(t, together(4, func(i int) error {
		for n := range 50 {
			if i == 0 {
				if err := f.Update(f.ctx, func(tx storage.Tx) error { return both(tx, n) }); err != nil {
					return err
				}
				continue
			}
			err := storage.ViewOf(f.ctx, f.Store, refs, func(tx storage.Tx) error {
				a, err1 := readCounter(tx, "a")
				b, err2 := readCounter(tx, "b")
				if a+b != 0 {
					t.Errorf("a ViewOf saw %d and %d, which never existed together", a, b)
				}
				return errors.Join(err1, err2)
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

// testKeysOnly scans without documents, in the database and among the transaction's own writes.
func testKeysOnly(t *testing.T, f *fixture) {
	f.define(things)
	for _, k := range []string{"a", "b", "c"} {
		f.put(doc(k, `{}`, "name=N"+k, "kind=same", "tags=1", "tags=2", "aliases=A"+k))
	}
	check := func(tx storage.Tx, all string) error {
		for _, r := range []storage.Range{
			{}, {Reverse: true}, {Limit: 2}, {From: "b"}, storage.Exactly("kind", "same"), {Index: "name", Reverse: true, Limit: 1},
			{Index: "tags"}, {Index: "tags", Reverse: true, Limit: 4}, {Index: "aliases", Prefix: "A"},
		} {
			var want, got []storage.Record
			for rec, err := range tx.Scan("things", r) {
				if err != nil {
					return err
				}
				if rec.Value == nil {
					t.Errorf("Scan(%+v) leaves out the document of %s", r, rec.Key)
				}
				rec.Value = nil
				want = append(want, rec)
			}
			r.KeysOnly = true
			for rec, err := range tx.Scan("things", r) {
				if err != nil {
					return err
				}
				if rec.Value != nil || rec.Entries != nil {
					t.Errorf("Scan(%+v) yields more than the key: %+v", r, rec)
				}
				got = append(got, rec)
			}
			if !slices.EqualFunc(got, want, func(a, b storage.Record) bool { return a.Key == b.Key && a.Cursor == b.Cursor }) {
				t.Errorf("Scan(%+v) = %v, want %v", r, got, want)
			}
		}
		wantKeys(t, tx, storage.Range{KeysOnly: true}, all)
		// A cursor of a scan for keys resumes one for documents.
		for rec, err := range tx.Scan("things", storage.Range{Index: "kind", Limit: 1, KeysOnly: true}) {
			if err != nil {
				return err
			}
			wantKeys(t, tx, storage.Range{Index: "kind", After: rec.Cursor}, all[len(rec.Key)+1:])
		}
		wantError(t, "Scan for keys and entries", scanError(tx, "things", storage.Range{KeysOnly: true, Entries: true}), storage.ErrInvalid)
		return nil
	}
	f.view(func(tx storage.Tx) error { return check(tx, "a b c") })
	f.update(func(tx storage.Tx) error {
		if err := errors.Join(tx.Delete("things", "b"), tx.Put("things", doc("d", `{}`, "kind=same", "tags=3"))); err != nil {
			return err
		}
		return check(tx, "a c d")
	})
	names := storage.NewCollection("names", func(s *struct{ Name string }) string { return s.Name })
	if err := storage.Define(f.ctx, f.Store, names); err != nil {
		t.Fatal(err)
	}
	f.update(func(tx storage.Tx) error {
		if err := errors.Join(names.Put(tx, &struct{ Name string }{"x"}), names.Put(tx, &struct{ Name string }{"y"})); err != nil {
			return err
		}
		for want, r := range map[string]storage.Range{"x": {}, "y": {Reverse: true}} {
			for k, err := range names.Keys(tx, r) {
				if err != nil || k != want {
					t.Errorf("the first of Keys(%+v) is %q, %v; want %s", r, k, err, want)
				}
				break
			}
		}
		last := error(nil)
		for _, err := range names.OwnedBy("somebody").Keys(tx, storage.Range{}) {
			last = err
		}
		wantError(t, "Keys by a stranger", last, storage.ErrInvalid)
		return nil
	})
}
