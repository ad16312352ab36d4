package storagetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
)

func testDocuments(t *testing.T, f *fixture) {
	f.define(things)
	f.view(func(tx storage.Tx) error {
		_, err := tx.Get("things", "a")
		wantError(t, "Get of a missing document", err, storage.ErrNotFound)
		return nil
	})
	f.put(doc("a", `{"n": 1, "s": "héllo \" \\u0000 ☃", "deep": {"list": [1, 2.5, null, true]}}`))
	f.view(func(tx storage.Tx) error {
		got, err := tx.Get("things", "a")
		if err == nil {
			same(t, got, `{"n": 1, "s": "héllo \" \\u0000 ☃", "deep": {"list": [1, 2.5, null, true]}}`)
		}
		return err
	})
	f.put(doc("a", `{"n":2}`))
	f.view(func(tx storage.Tx) error {
		got, err := tx.Get("things", "a")
		if err == nil {
			same(t, got, `{"n":2}`)
		}
		return err
	})
	err := f.Update(f.ctx, func(tx storage.Tx) error { return tx.Insert("things", doc("a", `{"n":3}`)) })
	wantConflict(t, err, "things", "")
	f.update(func(tx storage.Tx) error { return tx.Delete("things", "a") })
	f.update(func(tx storage.Tx) error { return tx.Delete("things", "a") }) // no error
	f.view(func(tx storage.Tx) error {
		_, err := tx.Get("things", "a")
		wantError(t, "Get of a deleted document", err, storage.ErrNotFound)
		return nil
	})
	f.update(func(tx storage.Tx) error { return tx.Insert("things", doc("a", `{"n":4}`)) })
}

func testKeys(t *testing.T, f *fixture) {
	f.define(things)
	good := []string{
		"a", "A", " ", "with space", "did:plc:abc123", "ünïcödé", "☃", "🙂", "\x01", "tab\there", "quote'\"\\",
		"%_", "line\nbreak", "e\u0301", "\u00e9", strings.Repeat("k", storage.MaxKey),
	}
	for i, k := range good {
		f.put(doc(k, `{}`, "name="+k, "kind="+number(i)))
	}
	f.view(func(tx storage.Tx) error {
		for i, k := range good {
			if _, err := tx.Get("things", k); err != nil {
				t.Errorf("Get(%q): %v", k, err)
			}
			if _, err := tx.GetBy("things", "name", k); err != nil {
				t.Errorf("GetBy(name, %q): %v", k, err)
			}
			wantKeys(t, tx, storage.Exactly("kind", number(i)), k)
			wantKeys(t, tx, storage.Exactly("name", k), k)
		}
		return nil
	})
	for _, k := range []string{"", "nul\x00", "\xff", strings.Repeat("k", storage.MaxKey+1)} {
		err := f.Update(f.ctx, func(tx storage.Tx) error { return tx.Put("things", doc(k, `{}`)) })
		wantError(t, "Put of a bad key", err, storage.ErrInvalid)
		err = f.Update(f.ctx, func(tx storage.Tx) error {
			return tx.Put("things", storage.Document{Key: "x", Value: []byte(`{}`), Entries: []storage.Entry{{Index: "kind", Value: k}}})
		})
		wantError(t, "Put of a bad index value", err, storage.ErrInvalid)
		err = f.Update(f.ctx, func(tx storage.Tx) error { return tx.Delete("things", k) })
		wantError(t, "Delete of a bad key", err, storage.ErrInvalid)
		err = f.View(f.ctx, func(tx storage.Tx) error { _, err := tx.Get("things", k); return err })
		wantError(t, "Get of a bad key", err, storage.ErrInvalid)
		err = f.View(f.ctx, func(tx storage.Tx) error { _, err := tx.GetBy("things", "name", k); return err })
		wantError(t, "GetBy of a bad value", err, storage.ErrInvalid)
	}
}

func testInvalidCalls(t *testing.T, f *fixture) {
	f.define(things)
	for name, call := range map[string]func(storage.Tx) error{
		"Get, unknown table":       func(tx storage.Tx) error { _, err := tx.Get("nothing", "a"); return err },
		"GetBy, unknown table":     func(tx storage.Tx) error { _, err := tx.GetBy("nothing", "name", "a"); return err },
		"GetBy, unknown index":     func(tx storage.Tx) error { _, err := tx.GetBy("things", "nothing", "a"); return err },
		"GetBy, index not unique":  func(tx storage.Tx) error { _, err := tx.GetBy("things", "kind", "a"); return err },
		"Scan, unknown table":      func(tx storage.Tx) error { return scanError(tx, "nothing", storage.Range{}) },
		"Scan, unknown index":      func(tx storage.Tx) error { return scanError(tx, "things", storage.Range{Index: "nothing"}) },
		"Scan, garbage for cursor": func(tx storage.Tx) error { return scanError(tx, "things", storage.Range{After: "?!"}) },
	} {
		wantError(t, name, f.View(f.ctx, call), storage.ErrInvalid)
	}
	for _, r := range []storage.Range{{From: "\x00"}, {To: "a\x00"}, {Prefix: "\xff"}, {Index: "kind", Prefix: "a\x00"}, {Index: "nothing"}} {
		f.view(func(tx storage.Tx) error {
			n := 0
			for _, err := range tx.Scan("things", r) {
				n++
				wantError(t, fmt.Sprintf("Scan(%+v)", r), err, storage.ErrInvalid)
			}
			if n != 1 {
				t.Errorf("Scan(%+v) yielded %d times, want its error once", r, n)
			}
			return nil
		})
	}
	for name, call := range map[string]func(storage.Tx) error{
		"Put, unknown table":    func(tx storage.Tx) error { return tx.Put("nothing", doc("a", `{}`)) },
		"Insert, unknown table": func(tx storage.Tx) error { return tx.Insert("nothing", doc("a", `{}`)) },
		"Delete, unknown table": func(tx storage.Tx) error { return tx.Delete("nothing", "a") },
		"Put, unknown index":    func(tx storage.Tx) error { return tx.Put("things", doc("a", `{}`, "nothing=1")) },
		"Put, two values":       func(tx storage.Tx) error { return tx.Put("things", doc("a", `{}`, "kind=1", "kind=2")) },
	} {
		wantError(t, name, f.Update(f.ctx, call), storage.ErrInvalid)
	}
}

func scanError(tx storage.Tx, table string, r storage.Range) error {
	for _, err := range tx.Scan(table, r) {
		return err
	}
	return nil
}

func testDocumentRules(t *testing.T, f *fixture) {
	f.define(things)
	for _, body := range []string{``, `1`, `"text"`, `null`, `[]`, `{`, `{} {}`, `{"a":1`, `nonsense`, `{"nul":"\u0000"}`, `{"\\\u0000":1}`,
		"{\"a\":\"\xff\"}", `{"half":"\ud83d"}`, `{"half":"\ude42"}`, `{"half":"\ud83d\u0041"}`, `{"\uDE42":1}`} {
		err := f.Update(f.ctx, func(tx storage.Tx) error { return tx.Put("things", doc("a", body)) })
		if !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("Put(%s): error is %v, want ErrInvalid", body, err)
		}
	}
	for _, body := range []string{`{}`, ` {"a" : 1 } `, `{"a":"\\u0000"}`, `{"a":"\u0001"}`, `{"n":12345678901234}`,
		`{"a":"\ud83d\ude42 \\ud83d"}`, `{"n":[1e2,1.50,-0.001,6.02e23]}`} {
		f.put(doc("a", body))
		f.view(func(tx storage.Tx) error {
			got, err := tx.Get("things", "a")
			if err == nil {
				same(t, got, body)
			}
			return err
		})
	}
	const exact = 1<<63 - 1 // no float64 holds it
	f.put(doc("a", fmt.Sprintf(`{"n":%d}`, exact)))
	f.view(func(tx storage.Tx) error {
		got, err := tx.Get("things", "a")
		if err != nil {
			return err
		}
		var number struct{ N int64 }
		if err := json.Unmarshal(got, &number); err != nil || number.N != exact {
			t.Errorf("document is %s, %v; want the number %d", got, err, exact)
		}
		return nil
	})
	large := `{"text":"` + strings.Repeat("x", 1<<20) + `"}`
	f.put(doc("large", large))
	f.view(func(tx storage.Tx) error {
		got, err := tx.Get("things", "large")
		if err == nil {
			same(t, got, large)
		}
		return err
	})
}

// testKeptDocuments checks that later writes don't change the documents that a transaction has
// returned.
func testKeptDocuments(t *testing.T, f *fixture) {
	f.define(things)
	for i := range 20 { // some backends store small tables differently
		f.put(doc("z"+number(i), `{"filler":"`+strings.Repeat("z", 1000)+`"}`))
	}
	f.put(doc("a", `{"n":1}`, "name=A"))
	var kept [][]byte
	f.view(func(tx storage.Tx) error {
		kept = nil
		got, err := tx.Get("things", "a")
		if err != nil {
			return err
		}
		by, err := tx.GetBy("things", "name", "A")
		if err != nil {
			return err
		}
		kept = append(kept, got, by)
		for rec, err := range tx.Scan("things", storage.Range{}) {
			if err != nil {
				return err
			}
			kept = append(kept, rec.Value)
		}
		return nil
	})
	var copies [][]byte
	for _, b := range kept {
		copies = append(copies, bytes.Clone(b))
	}
	for i := range 50 { // of many sizes, so that every place in a file is reused
		filler := strings.Repeat("x", i%10*2000)
		f.put(doc("a", fmt.Sprintf(`{"n":%d}`, i+2), "name=A"), doc("b"+number(i), `{"filler":"`+filler+`"}`))
	}
	for i, b := range kept {
		if !bytes.Equal(b, copies[i]) {
			t.Errorf("a returned document has changed from %s to %s", copies[i], b)
		}
	}
}

func testReadYourWrites(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("old", `{"n":1}`, "name=old", "kind=k"))
	f.update(func(tx storage.Tx) error {
		if err := tx.Put("things", doc("new", `{"n":2}`, "name=new", "kind=k")); err != nil {
			return err
		}
		if got, err := tx.Get("things", "new"); err != nil {
			t.Errorf("Get of a new document: %v", err)
		} else {
			same(t, got, `{"n":2}`)
		}
		if got, err := tx.GetBy("things", "name", "new"); err != nil {
			t.Errorf("GetBy of a new document: %v", err)
		} else {
			same(t, got, `{"n":2}`)
		}
		if err := tx.Put("things", doc("old", `{"n":3}`, "name=renamed")); err != nil {
			return err
		}
		_, err := tx.GetBy("things", "name", "old")
		wantError(t, "GetBy of a replaced value", err, storage.ErrNotFound)
		if got, err := tx.GetBy("things", "name", "renamed"); err != nil {
			t.Errorf("GetBy of a new value: %v", err)
		} else {
			same(t, got, `{"n":3}`)
		}
		wantKeys(t, tx, storage.Exactly("kind", "k"), "new")
		if err := tx.Delete("things", "old"); err != nil {
			return err
		}
		_, err = tx.Get("things", "old")
		wantError(t, "Get of a deleted document", err, storage.ErrNotFound)
		_, err = tx.GetBy("things", "name", "renamed")
		wantError(t, "GetBy of a deleted document", err, storage.ErrNotFound)
		if err := tx.Insert("things", doc("old", `{"n":4}`, "name=renamed")); err != nil {
			return err
		}
		wantKeys(t, tx, storage.Range{}, "new old")
		return nil
	})
	f.view(func(tx storage.Tx) error {
		wantKeys(t, tx, storage.Range{}, "new old")
		return nil
	})
}

func testPrefetch(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("a", `{"n":1}`, "name=A"), doc("b", `{"n":2}`))
	refs := []storage.Ref{
		{Table: "things", Value: "a"}, {Table: "things", Value: "b"}, {Table: "things", Value: "missing"},
		{Table: "things", Index: "name", Value: "A"}, {Table: "things", Index: "name", Value: "missing"},
		{Table: "things", Value: ""},
	}
	check := func(tx storage.Tx) error {
		if err := storage.Prefetch(tx, refs...); err != nil {
			return err
		}
		a, err := tx.Get("things", "a")
		if err != nil {
			return err
		}
		same(t, a, `{"n":1}`)
		if a, err = tx.GetBy("things", "name", "A"); err != nil {
			return err
		}
		same(t, a, `{"n":1}`)
		_, err = tx.Get("things", "missing")
		wantError(t, "Get after Prefetch", err, storage.ErrNotFound)
		_, err = tx.GetBy("things", "name", "missing")
		wantError(t, "GetBy after Prefetch", err, storage.ErrNotFound)
		return nil
	}
	f.view(check)
	f.update(check)
	f.update(func(tx storage.Tx) error {
		if err := storage.Prefetch(tx, refs...); err != nil {
			return err
		}
		if err := tx.Put("things", doc("a", `{"n":3}`, "name=B")); err != nil {
			return err
		}
		if err := tx.Delete("things", "b"); err != nil {
			return err
		}
		a, err := tx.Get("things", "a")
		if err != nil {
			return err
		}
		same(t, a, `{"n":3}`)
		_, err = tx.GetBy("things", "name", "A")
		wantError(t, "GetBy of a replaced value after Prefetch", err, storage.ErrNotFound)
		_, err = tx.Get("things", "b")
		wantError(t, "Get of a deleted document after Prefetch", err, storage.ErrNotFound)
		return nil
	})
}
