package storagetest

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
)

func testScanOrder(t *testing.T, f *fixture) {
	f.define(things)
	// Keys are ordered by bytes, not by the rules of any language.
	for i, k := range []string{"🙂", "é", "a", "B", "a b", "ab", "a!", "A", "z", "_", "-", "10", "9"} {
		f.put(doc(k, `{}`, "kind="+[]string{"same", "other", "Other"}[i%3]))
	}
	f.view(func(tx storage.Tx) error {
		wantKeys(t, tx, storage.Range{}, "- 10 9 A B _ a a b a! ab z é 🙂")
		wantKeys(t, tx, storage.Range{Reverse: true}, "🙂 é z ab a! a b a _ B A 9 10 -")
		wantKeys(t, tx, storage.Range{Index: "kind"}, "10 a ab z - A a b é 9 B _ a! 🙂")
		wantKeys(t, tx, storage.Range{Index: "kind", Reverse: true}, "🙂 a! _ B 9 é a b A - z ab a 10")
		return nil
	})
	f.update(func(tx storage.Tx) error { // a value sorts before those that it is a prefix of
		for _, d := range []storage.Document{doc("k2", `{}`, "name=v"), doc("k1", `{}`, "name=v "), doc("k0", `{}`, "name=v\x01")} {
			if err := tx.Put("things", d); err != nil {
				return err
			}
		}
		return nil
	})
	f.view(func(tx storage.Tx) error {
		wantKeys(t, tx, storage.Range{Index: "name"}, "k2 k0 k1")
		return nil
	})
}

func testScanBounds(t *testing.T, f *fixture) {
	f.define(things)
	for _, k := range []string{"a", "b", "ba", "bb", "c", "d"} {
		f.put(doc(k, `{}`, "kind=v"+k, "tags=t"))
	}
	f.view(func(tx storage.Tx) error {
		for _, c := range []struct {
			r    storage.Range
			want string
		}{
			{storage.Range{From: "b"}, "b ba bb c d"},
			{storage.Range{From: "bz"}, "c d"},
			{storage.Range{To: "c"}, "a b ba bb"},
			{storage.Range{From: "b", To: "c"}, "b ba bb"},
			{storage.Range{From: "b", To: "c", Reverse: true}, "bb ba b"},
			{storage.Range{From: "c", To: "b"}, ""},
			{storage.Range{From: "b", To: "b"}, ""},
			{storage.Range{Prefix: "b"}, "b ba bb"},
			{storage.Range{Prefix: "b", Reverse: true}, "bb ba b"},
			{storage.Range{Prefix: "b", From: "ba"}, "ba bb"},
			{storage.Range{Prefix: "b", To: "bb"}, "b ba"},
			{storage.Range{Prefix: "x"}, ""},
			{storage.Range{Limit: 2}, "a b"},
			{storage.Range{Limit: 2, Reverse: true}, "d c"},
			{storage.Range{Prefix: "b", Limit: 2}, "b ba"},
			{storage.Range{Index: "kind", From: "vb"}, "b ba bb c d"},
			{storage.Range{Index: "kind", To: "vc"}, "a b ba bb"},
			{storage.Range{Index: "kind", To: "vb", Reverse: true}, "a"},
			{storage.Range{Index: "kind", Prefix: "vb"}, "b ba bb"},
			{storage.Range{Index: "kind", Prefix: "vb", Reverse: true, Limit: 2}, "bb ba"},
			{storage.Exactly("kind", "vb"), "b"},
			{storage.Exactly("tags", "t"), "a b ba bb c d"},
			{storage.Range{Index: "tags", Reverse: true, Limit: 3}, "d c bb"},
		} {
			wantKeys(t, tx, c.r, c.want)
		}
		return nil
	})
}

func testScanCursors(t *testing.T, f *fixture) {
	f.define(things)
	for i := range 25 {
		f.put(doc(number(i), `{}`, fmt.Sprintf("kind=%d", i%3), "tags=p", "tags=q"))
	}
	walk := func(r storage.Range, want int) {
		t.Helper()
		var whole, pages []string
		f.view(func(tx storage.Tx) (err error) { whole, err = keys(tx, r); return err })
		for r.Limit = 4; ; {
			n := 0
			f.view(func(tx storage.Tx) error {
				for rec, err := range tx.Scan("things", r) {
					if err != nil {
						return err
					}
					if rec.Cursor == "" {
						t.Error("a record without a cursor")
					}
					n++
					pages, r.After = append(pages, rec.Key), rec.Cursor
				}
				return nil
			})
			if n < 4 {
				break
			}
		}
		if strings.Join(pages, " ") != strings.Join(whole, " ") || len(whole) != want {
			t.Errorf("%+v: in pages %v, at once %v", r, pages, whole)
		}
	}
	walk(storage.Range{}, 25)
	walk(storage.Range{Reverse: true}, 25)
	walk(storage.Range{Index: "kind"}, 25)
	walk(storage.Range{Index: "kind", Reverse: true}, 25)
	walk(storage.Exactly("kind", "1"), 8)
	walk(storage.Range{Index: "tags"}, 50)
	walk(storage.Range{Index: "tags", Reverse: true}, 50)
	walk(storage.Range{From: number(5), To: number(15)}, 10)
	walk(storage.Range{From: number(5), To: number(15), Reverse: true}, 10)

	// A cursor before the bounds changes nothing, and after a cursor behind them nothing is left.
	cursors := map[string]string{}
	f.view(func(tx storage.Tx) error {
		for rec, err := range tx.Scan("things", storage.Range{}) {
			if err != nil {
				return err
			}
			cursors[rec.Key] = rec.Cursor
		}
		wantKeys(t, tx, storage.Range{From: number(5), To: number(7), After: cursors[number(2)]}, number(5)+" "+number(6))
		wantKeys(t, tx, storage.Range{Prefix: "00000", From: number(8), After: cursors[number(2)]}, number(8)+" "+number(9))
		wantKeys(t, tx, storage.Range{From: number(5), To: number(7), After: cursors[number(8)], Reverse: true}, number(6)+" "+number(5))
		wantKeys(t, tx, storage.Range{From: number(5), To: number(7), After: cursors[number(8)]}, "")
		wantKeys(t, tx, storage.Range{From: number(5), To: number(7), After: cursors[number(2)], Reverse: true}, "")
		return nil
	})

	// A cursor stays valid when its record is deleted.
	for _, r := range []storage.Range{{}, {Reverse: true}, {Index: "kind"}, {Index: "kind", Reverse: true}} {
		var before []string
		r.Limit = 0
		f.view(func(tx storage.Tx) (err error) { before, err = keys(tx, r); return err })
		var cursor string
		f.view(func(tx storage.Tx) error {
			for rec, err := range tx.Scan("things", r) {
				if err != nil {
					return err
				}
				cursor = rec.Cursor
				if rec.Key == before[9] {
					break
				}
			}
			return nil
		})
		f.update(func(tx storage.Tx) error { return tx.Delete("things", before[9]) })
		r.After = cursor
		f.view(func(tx storage.Tx) error {
			wantKeys(t, tx, r, strings.Join(before[10:], " "))
			return nil
		})
	}
	for _, bad := range []string{"garbage", "!", strings.Repeat("A", 3000)} {
		err := f.View(f.ctx, func(tx storage.Tx) error { return scanError(tx, "things", storage.Range{After: bad}) })
		wantError(t, "Scan with a bad cursor", err, storage.ErrInvalid)
	}
}

func testScanOwnWrites(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("b", `{"n":1}`, "kind=1"), doc("d", `{"n":2}`, "kind=2"), doc("f", `{"n":3}`, "kind=3"))
	f.update(func(tx storage.Tx) error {
		for _, d := range []storage.Document{doc("a", `{}`, "kind=2"), doc("e", `{}`, "kind=0"), doc("g", `{}`, "kind=9"), doc("d", `{"n":9}`, "kind=3")} {
			if err := tx.Put("things", d); err != nil {
				return err
			}
		}
		if err := tx.Delete("things", "f"); err != nil {
			return err
		}
		wantKeys(t, tx, storage.Range{}, "a b d e g")
		wantKeys(t, tx, storage.Range{Reverse: true}, "g e d b a")
		wantKeys(t, tx, storage.Range{From: "b", To: "e"}, "b d")
		wantKeys(t, tx, storage.Range{Limit: 3}, "a b d")
		wantKeys(t, tx, storage.Range{Limit: 3, Reverse: true}, "g e d")
		wantKeys(t, tx, storage.Range{Index: "kind"}, "e b a d g")
		wantKeys(t, tx, storage.Range{Index: "kind", Reverse: true}, "g d a b e")
		wantKeys(t, tx, storage.Range{Index: "kind", From: "1", To: "3"}, "b a")
		for rec, err := range tx.Scan("things", storage.Range{From: "d", Limit: 1, Entries: true}) {
			if err != nil {
				return err
			}
			same(t, rec.Value, `{"n":9}`)
			if len(rec.Entries) != 1 || rec.Entries[0].Value != "3" {
				t.Errorf("entries are %v", rec.Entries)
			}
		}
		return nil
	})
	f.view(func(tx storage.Tx) error {
		wantKeys(t, tx, storage.Range{Index: "kind"}, "e b a d g")
		return nil
	})
}

func testScanWhileWriting(t *testing.T, f *fixture) {
	f.define(things)
	for i := range 20 {
		f.put(doc(number(i), `{}`, "kind=k"))
	}
	for _, r := range []storage.Range{{}, {Index: "kind"}} {
		f.update(func(tx storage.Tx) error {
			n := 0
			for rec, err := range tx.Scan("things", r) {
				if err != nil {
					return err
				}
				n++
				if err := tx.Delete("things", rec.Key); err != nil {
					return err
				}
				if err := tx.Put("things", doc("z"+rec.Key, `{}`, "kind=z")); err != nil {
					return err
				}
			}
			if n != 20 {
				t.Errorf("the scan yielded %d records, want the 20 that existed when it began", n)
			}
			return nil
		})
		f.update(func(tx storage.Tx) error { // as before
			for i := range 20 {
				if err := tx.Delete("things", "z"+number(i)); err != nil {
					return err
				}
				if err := tx.Put("things", doc(number(i), `{}`, "kind=k")); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// testScanKeepsValues rewrites, adds and removes documents ahead of a scan, which must yield the
// documents as they were when it began.
func testScanKeepsValues(t *testing.T, f *fixture) {
	f.define(things)
	for i := range 10 {
		f.put(doc(number(i), `{"n":1}`, "kind=k"))
	}
	for _, own := range []bool{false, true} {
		for _, r := range []storage.Range{{}, {Reverse: true}, {Index: "kind"}, {Index: "kind", Reverse: true}} {
			err := f.Update(f.ctx, func(tx storage.Tx) error {
				if own { // backends keep the transaction's own writes elsewhere
					for i := range 10 {
						if err := tx.Put("things", doc(number(i), `{"n":1}`, "kind=k")); err != nil {
							return err
						}
					}
				}
				n := 0
				for rec, err := range tx.Scan("things", r) {
					if err != nil {
						return err
					}
					same(t, rec.Value, `{"n":1}`)
					for i := range 10 {
						if err := tx.Put("things", doc(number(i), `{"n":2}`, "kind=k")); err != nil {
							return err
						}
					}
					for _, ahead := range []string{"!" + rec.Key, "x" + rec.Key} { // ahead in either direction
						if err := tx.Put("things", doc(ahead, `{"n":3}`, "kind=k")); err != nil {
							return err
						}
					}
					if err := tx.Delete("things", number(n)); err != nil {
						return err
					}
					n++
				}
				if n != 10 {
					t.Errorf("Scan(%+v) yielded %d records, want 10", r, n)
				}
				return errRefused
			})
			wantError(t, "Update", err, errRefused)
		}
	}
}

// testScansAtOnce reads during a scan, and steps through two scans at the same time.
func testScansAtOnce(t *testing.T, f *fixture) {
	f.define(things)
	for i := range 5 {
		f.put(doc(number(i), `{}`, "name="+number(i), "kind="+number(4-i)))
	}
	nested := func(tx storage.Tx) error {
		pairs := 0
		for outer, err := range tx.Scan("things", storage.Range{}) {
			if err != nil {
				return err
			}
			if _, err := tx.Get("things", outer.Key); err != nil {
				return err
			}
			if _, err := tx.GetBy("things", "name", outer.Key); err != nil {
				return err
			}
			for _, err := range tx.Scan("things", storage.Range{Index: "kind"}) {
				if err != nil {
					return err
				}
				pairs++
			}
		}
		if pairs != 25 {
			t.Errorf("a scan inside a scan yielded %d pairs, want 25", pairs)
		}
		up, stopUp := iter.Pull2(tx.Scan("things", storage.Range{}))
		defer stopUp()
		down, stopDown := iter.Pull2(tx.Scan("things", storage.Range{Reverse: true}))
		defer stopDown()
		for i := range 5 {
			a, err, _ := up()
			if err != nil {
				return err
			}
			b, err, _ := down()
			if err != nil {
				return err
			}
			if a.Key != number(i) || b.Key != number(4-i) {
				t.Errorf("two scans at the same time are at %s and %s", a.Key, b.Key)
			}
		}
		// A sequence can be used more than once.
		seq := tx.Scan("things", storage.Range{Limit: 2})
		for range 2 {
			n := 0
			for range seq {
				n++
			}
			if n != 2 {
				t.Errorf("a sequence that is used again yields %d, want 2", n)
			}
		}
		return nil
	}
	f.view(nested)
	f.update(nested)
}

func testScanContext(t *testing.T, f *fixture) {
	f.define(things)
	for i := range 5 {
		f.put(doc(number(i), `{}`, "kind=k"))
	}
	for _, r := range []storage.Range{{}, {Index: "kind", Reverse: true}} {
		ctx, cancel := context.WithCancel(f.ctx)
		n := 0
		var last error
		err := f.View(ctx, func(tx storage.Tx) error {
			for _, last = range tx.Scan("things", r) {
				n++
				cancel()
			}
			return last
		})
		cancel()
		wantError(t, "a scan, context done during it", err, context.Canceled)
		if n != 2 {
			t.Errorf("the scan yielded %d times, want a record and the error", n)
		}
	}
}

func testLargeScan(t *testing.T, f *fixture) {
	const n = 20_000
	f.define(things)
	for start := 0; start < n; start += 2000 {
		f.update(func(tx storage.Tx) error {
			for i := start; i < start+2000; i++ {
				if err := tx.Insert("things", doc(number(i), fmt.Sprintf(`{"n":%d}`, i), "kind="+number(n-i))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	f.view(func(tx storage.Tx) error {
		i := 0
		for rec, err := range tx.Scan("things", storage.Range{}) {
			if err != nil {
				return err
			}
			if rec.Key != number(i) {
				t.Fatalf("record %d has key %s", i, rec.Key)
			}
			i++
		}
		if i != n {
			t.Errorf("%d records, want %d", i, n)
		}
		i = 0
		for rec, err := range tx.Scan("things", storage.Range{Index: "kind"}) {
			if err != nil {
				return err
			}
			if i++; rec.Key != number(n-i) {
				t.Fatalf("record %d by kind has key %s", i, rec.Key)
			}
		}
		if i != n {
			t.Errorf("%d records by kind, want %d", i, n)
		}
		for range tx.Scan("things", storage.Range{}) { // breaking out leaves the transaction usable
			break
		}
		_, err := tx.Get("things", number(n/2))
		return err
	})
}
