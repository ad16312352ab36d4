package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatehouse-at/gatehouse/storage"
)

// model is a table as a plain map, with which the store must agree.
type model map[string]modelDoc

type modelDoc struct {
	body    string
	entries []storage.Entry
}

func (m model) clone() model {
	out := model{}
	for k, d := range m {
		out[k] = d
	}
	return out
}

// put writes a document, or returns the unique index in which its value is taken.
func (m model) put(d storage.Document) (index string, ok bool) {
	for key, other := range m {
		if key == d.Key {
			continue
		}
		for _, e := range d.Entries {
			if (e.Index == "name" || e.Index == "aliases") && slices.Contains(other.entries, e) {
				return e.Index, false
			}
		}
	}
	m[d.Key] = modelDoc{string(d.Value), d.Entries}
	return "", true
}

// scan returns the keys of the records of a range.
func (m model) scan(r storage.Range) []string {
	type pos struct{ by, key string }
	var all []pos
	for key, d := range m {
		if r.Index == "" {
			all = append(all, pos{key, key})
			continue
		}
		for _, e := range d.entries {
			if p := (pos{e.Value, key}); e.Index == r.Index && !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	sort.Slice(all, func(i, j int) bool {
		if r.Reverse {
			i, j = j, i
		}
		if all[i].by != all[j].by {
			return all[i].by < all[j].by
		}
		return all[i].key < all[j].key
	})
	var out []string
	for _, p := range all {
		if p.by < r.From || r.To != "" && p.by >= r.To || !strings.HasPrefix(p.by, r.Prefix) {
			continue
		}
		if out = append(out, p.key); len(out) == r.Limit {
			break
		}
	}
	return out
}

// keysAfter scans a page, and makes the range resume after it.
func keysAfter(tx storage.Tx, r *storage.Range) (page []string, err error) {
	for rec, err := range tx.Scan("things", *r) {
		if err != nil {
			return nil, err
		}
		page, r.After = append(page, rec.Key), rec.Cursor
	}
	return page, nil
}

func testModel(t *testing.T, f *fixture) {
	f.define(things)
	words := rapid.SampledFrom([]string{"a", "b", "c", "ab", "é", " x"})
	documents := rapid.Custom(func(t *rapid.T) storage.Document {
		d := doc(words.Draw(t, "key"), fmt.Sprintf(`{"n":%d}`, rapid.IntRange(0, 9).Draw(t, "n")))
		for _, index := range []string{"name", "kind"} {
			if rapid.Bool().Draw(t, "has "+index) {
				d.Entries = append(d.Entries, storage.Entry{Index: index, Value: words.Draw(t, index)})
			}
		}
		for _, index := range []string{"tags", "aliases"} {
			for _, v := range rapid.SliceOfN(words, 0, 3).Draw(t, index) {
				d.Entries = append(d.Entries, storage.Entry{Index: index, Value: v})
			}
		}
		return d
	})
	ranges := rapid.Custom(func(t *rapid.T) storage.Range {
		r := storage.Range{
			Index:   rapid.SampledFrom([]string{"", "name", "kind", "tags", "aliases"}).Draw(t, "index"),
			Reverse: rapid.Bool().Draw(t, "reverse"),
			Limit:   rapid.IntRange(0, 4).Draw(t, "limit"),
		}
		bound := rapid.OneOf(rapid.Just(""), words)
		r.From, r.To, r.Prefix = bound.Draw(t, "from"), bound.Draw(t, "to"), bound.Draw(t, "prefix")
		return r
	})
	rapid.Check(t, func(rt *rapid.T) {
		f.update(func(tx storage.Tx) error {
			all, err := keys(tx, storage.Range{})
			for _, k := range all {
				err = errors.Join(err, tx.Delete("things", k))
			}
			return err
		})
		committed := model{}
		compare := func(tx storage.Tx, m model) {
			r := ranges.Draw(rt, "range")
			got, err := keys(tx, r)
			if want := m.scan(r); err != nil || !slices.Equal(got, want) {
				rt.Fatalf("Scan(%+v) = %v, %v; want %v", r, got, err, want)
			}
			// The same in pages.
			if r.Limit == 0 {
				return
			}
			whole := r
			whole.Limit = 0
			want := m.scan(whole)
			for got, err = keysAfter(tx, &r); err == nil && len(got) < len(want); {
				var page []string
				if page, err = keysAfter(tx, &r); len(page) == 0 {
					break
				}
				got = append(got, page...)
			}
			if err != nil || !slices.Equal(got, want) {
				rt.Fatalf("Scan(%+v) in pages = %v, %v; want %v", whole, got, err, want)
			}
		}
		for range rapid.IntRange(1, 6).Draw(rt, "transactions") {
			// The closure may run more than once, so its steps are drawn first.
			type step struct {
				op  string
				doc storage.Document
			}
			var steps []step
			for range rapid.IntRange(1, 6).Draw(rt, "steps") {
				steps = append(steps, step{
					rapid.SampledFrom([]string{"put", "put", "insert", "delete"}).Draw(rt, "op"),
					documents.Draw(rt, "doc"),
				})
			}
			fail := rapid.IntRange(0, 4).Draw(rt, "fail") == 0
			working := committed.clone()
			var conflict *storage.ConflictError
			for _, s := range steps {
				if s.op == "delete" {
					delete(working, s.doc.Key)
					continue
				}
				if _, exists := working[s.doc.Key]; exists && s.op == "insert" {
					conflict = &storage.ConflictError{Table: "things"}
					break
				}
				if index, ok := working.put(s.doc); !ok {
					conflict = &storage.ConflictError{Table: "things", Index: index}
					break
				}
			}
			err := f.Update(f.ctx, func(tx storage.Tx) error {
				for _, s := range steps {
					var err error
					switch s.op {
					case "put":
						err = tx.Put("things", s.doc)
					case "insert":
						err = tx.Insert("things", s.doc)
					case "delete":
						err = tx.Delete("things", s.doc.Key)
					}
					if err != nil {
						return err
					}
				}
				if conflict == nil {
					compare(tx, working)
				}
				if fail {
					return errRefused
				}
				return nil
			})
			switch {
			case conflict != nil:
				// A backend that defers writes may find another conflict first, or return the error
				// of the closure.
				if !errors.Is(err, storage.ErrConflict) && (!fail || !errors.Is(err, errRefused)) {
					rt.Fatalf("Update: %v, want %v", err, conflict)
				}
			case fail:
				if !errors.Is(err, errRefused) {
					rt.Fatalf("Update: %v, want the closure's own error", err)
				}
			case err != nil:
				rt.Fatalf("Update: %v", err)
			default:
				committed = working
			}
			if err := f.View(f.ctx, func(tx storage.Tx) error { compare(tx, committed); return nil }); err != nil {
				rt.Fatal(err)
			}
		}
	})
}
