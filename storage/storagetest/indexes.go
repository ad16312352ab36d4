package storagetest

import (
	"errors"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
)

func testUniqueIndexes(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("a", `{"n":1}`, "name=A"), doc("none", `{}`), doc("neither", `{}`))
	f.view(func(tx storage.Tx) error {
		got, err := tx.GetBy("things", "name", "A")
		if err == nil {
			same(t, got, `{"n":1}`)
		}
		_, missing := tx.GetBy("things", "name", "B")
		wantError(t, "GetBy of a missing value", missing, storage.ErrNotFound)
		return err
	})
	for _, write := range []func(storage.Tx) error{
		func(tx storage.Tx) error { return tx.Put("things", doc("b", `{}`, "name=A")) },
		func(tx storage.Tx) error { return tx.Insert("things", doc("b", `{}`, "name=A")) },
		func(tx storage.Tx) error { return tx.Put("things", doc("none", `{}`, "name=A")) },
	} {
		wantConflict(t, f.Update(f.ctx, write), "things", "name")
	}
	f.put(doc("a", `{"n":2}`, "name=A")) // no conflict with its own value
	f.update(func(tx storage.Tx) error { return tx.Delete("things", "a") })
	f.put(doc("b", `{"n":3}`, "name=A")) // free again
	f.update(func(tx storage.Tx) error { return tx.Put("things", doc("b", `{"n":3}`)) })
	f.put(doc("c", `{"n":4}`, "name=A"))
	err := f.Update(f.ctx, func(tx storage.Tx) error {
		if err := tx.Put("things", doc("d", `{}`, "name=D")); err != nil {
			return err
		}
		return tx.Put("things", doc("e", `{}`, "name=D"))
	})
	wantConflict(t, err, "things", "name")
	f.view(func(tx storage.Tx) error {
		wantKeys(t, tx, storage.Range{}, "b c neither none")
		wantKeys(t, tx, storage.Range{Index: "name"}, "c")
		return nil
	})
}

func testConflictsDoom(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("a", `{}`, "name=A"))
	err := f.Update(f.ctx, func(tx storage.Tx) error {
		if err := tx.Put("things", doc("before", `{}`)); err != nil {
			return err
		}
		_ = tx.Insert("things", doc("a", `{}`))  // may fail here or at the end of Update
		_ = tx.Put("things", doc("after", `{}`)) // and so may this
		_, _ = tx.Get("things", "a")             // and this
		return nil                               // Update fails nevertheless
	})
	wantConflict(t, err, "things", "")
	f.view(func(tx storage.Tx) error {
		wantKeys(t, tx, storage.Range{}, "a")
		return nil
	})
}

func testAnyErrorDooms(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("a", `{}`, "name=A"))
	put := func(d storage.Document) func(storage.Tx) error {
		return func(tx storage.Tx) error { return tx.Put("things", d) }
	}
	insertTwice := func(tx storage.Tx) error {
		return errors.Join(tx.Insert("things", doc("new", `{}`)), tx.Insert("things", doc("new", `{}`)))
	}
	for _, c := range []struct {
		name  string
		wrong func(storage.Tx) error
		want  error
	}{
		{"unique value taken", put(doc("b", `{}`, "name=A")), storage.ErrConflict},
		{"key inserted twice", insertTwice, storage.ErrConflict},
		{"not JSON", put(doc("b", `nonsense`)), storage.ErrInvalid},
		{"bad key", put(doc("", `{}`)), storage.ErrInvalid},
		{"unknown index", put(doc("b", `{}`, "nothing=1")), storage.ErrInvalid},
		{"unknown table", func(tx storage.Tx) error { return tx.Delete("nothing", "a") }, storage.ErrInvalid},
	} {
		err := f.Update(f.ctx, func(tx storage.Tx) error {
			if err := tx.Put("things", doc("before", `{}`)); err != nil {
				return err
			}
			_ = c.wrong(tx)
			_ = tx.Put("things", doc("after", `{}`))
			return nil
		})
		wantError(t, "Update that ignored an error: "+c.name, err, c.want)
	}
	f.view(func(tx storage.Tx) error {
		wantKeys(t, tx, storage.Range{}, "a")
		return nil
	})
}

func testUniqueMoves(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("a", `{}`, "name=A"), doc("b", `{}`, "name=B"))
	f.update(func(tx storage.Tx) error { // from a deleted document to a new one
		if err := tx.Delete("things", "a"); err != nil {
			return err
		}
		return tx.Insert("things", doc("c", `{}`, "name=A"))
	})
	f.update(func(tx storage.Tx) error { // a swap by way of a third value
		for _, d := range []storage.Document{doc("b", `{}`, "name=X"), doc("c", `{}`, "name=B"), doc("b", `{}`, "name=A")} {
			if err := tx.Put("things", d); err != nil {
				return err
			}
		}
		return nil
	})
	f.update(func(tx storage.Tx) error { // removed and added again
		if err := tx.Put("things", doc("b", `{}`)); err != nil {
			return err
		}
		return tx.Put("things", doc("b", `{}`, "name=A"))
	})
	f.view(func(tx storage.Tx) error {
		wantKeys(t, tx, storage.Range{Index: "name"}, "b c")
		return nil
	})
}

func testEntriesReplaced(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("a", `{}`, "name=A", "kind=1", "tags=x", "tags=y", "aliases=p"))
	f.put(doc("a", `{}`, "name=B", "tags=y", "tags=z"))
	f.view(func(tx storage.Tx) error {
		wantKeys(t, tx, storage.Range{Index: "kind"}, "")
		wantKeys(t, tx, storage.Range{Index: "aliases"}, "")
		wantKeys(t, tx, storage.Exactly("tags", "x"), "")
		wantKeys(t, tx, storage.Exactly("tags", "y"), "a")
		wantKeys(t, tx, storage.Range{Index: "tags"}, "a a")
		wantKeys(t, tx, storage.Exactly("name", "A"), "")
		wantKeys(t, tx, storage.Exactly("name", "B"), "a")
		return nil
	})
	f.update(func(tx storage.Tx) error { return tx.Delete("things", "a") })
	f.view(func(tx storage.Tx) error {
		for _, index := range []string{"name", "kind", "tags", "aliases"} {
			wantKeys(t, tx, storage.Range{Index: index}, "")
		}
		return nil
	})
}

func testMultiIndexes(t *testing.T, f *fixture) {
	f.define(things)
	f.put(
		doc("a", `{"n":1}`, "tags=red", "tags=blue", "tags=red", "aliases=one", "aliases=uno"),
		doc("b", `{"n":2}`, "tags=blue", "aliases=two"),
	)
	f.view(func(tx storage.Tx) error {
		wantKeys(t, tx, storage.Range{Index: "tags"}, "a b a")
		wantKeys(t, tx, storage.Exactly("tags", "blue"), "a b")
		for _, alias := range []string{"one", "uno"} {
			got, err := tx.GetBy("things", "aliases", alias)
			if err != nil {
				return err
			}
			same(t, got, `{"n":1}`)
		}
		for rec, err := range tx.Scan("things", storage.Range{Entries: true, Limit: 1}) {
			if err != nil {
				return err
			}
			want := []storage.Entry{{Index: "aliases", Value: "one"}, {Index: "aliases", Value: "uno"}, {Index: "tags", Value: "blue"}, {Index: "tags", Value: "red"}}
			if len(rec.Entries) != len(want) {
				t.Errorf("entries are %v, want %v", rec.Entries, want)
				break
			}
			for i := range want {
				if rec.Entries[i] != want[i] {
					t.Errorf("entry %d is %v, want %v", i, rec.Entries[i], want[i])
				}
			}
		}
		return nil
	})
	err := f.Update(f.ctx, func(tx storage.Tx) error {
		return tx.Put("things", doc("b", `{}`, "aliases=two", "aliases=uno"))
	})
	wantConflict(t, err, "things", "aliases")
	f.put(doc("a", `{"n":1}`, "aliases=one"))
	f.put(doc("b", `{}`, "aliases=two", "aliases=uno"))
}
