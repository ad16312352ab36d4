package storagetest

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
)

// interleaved runs each test on stores between which its transactions are divided: one store, and
// two of the same data, if the backend can open them.
func interleaved(t *testing.T, f *fixture, test func(t *testing.T, f *fixture, run interleave)) {
	f.define(things)
	t.Run("in one store", func(t *testing.T) { test(t, f, interleave{f, f.Store}) })
	if f.backend.Another == nil {
		return
	}
	t.Run("in two stores", func(t *testing.T) {
		f.clear()
		other := f.backend.Another(t, f.Store)
		t.Cleanup(func() {
			if err := other.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		if err := other.Define(f.ctx, things); err != nil {
			t.Fatal(err)
		}
		test(t, f, interleave{f, other})
	})
}

// clear deletes all documents of things.
func (f *fixture) clear() {
	f.t.Helper()
	f.update(func(tx storage.Tx) error {
		all, err := keys(tx, storage.Range{})
		for _, k := range all {
			err = errors.Join(err, tx.Delete("things", k))
		}
		return err
	})
}

// interleave runs an Update in the middle of another.
type interleave struct {
	f     *fixture
	other storage.Store // for the Update in the middle
}

// between runs an Update in two halves. When the first half has run for the first time, second
// runs, and then the other half. A backend that runs Updates one after the other runs second
// afterwards.
func (i interleave) between(before func(storage.Tx) error, second func() error, after func(storage.Tx) error) (first, other error) {
	runs := 0
	first = i.f.Update(i.f.ctx, func(tx storage.Tx) error {
		if err := before(tx); err != nil {
			return err
		}
		if runs++; runs == 1 && i.f.backend.Concurrent {
			done := make(chan error)
			go func() { done <- second() }()
			other = <-done
		}
		return after(tx)
	})
	if !i.f.backend.Concurrent {
		other = second()
	}
	return first, other
}

// update runs an Update in the other store.
func (i interleave) update(fn func(storage.Tx) error) error { return i.other.Update(i.f.ctx, fn) }

// look is something that a transaction may rely on: a look at one of two sides, which reports
// whether it is as the setup has left it, and a write that changes that.
type look struct {
	name  string
	setup []storage.Document
	look  func(tx storage.Tx, side string) (untouched bool, err error)
	touch func(tx storage.Tx, side string) error
}

// free returns a look at a document that must not exist.
func free(get func(tx storage.Tx, side string) ([]byte, error)) func(storage.Tx, string) (bool, error) {
	return func(tx storage.Tx, side string) (bool, error) {
		_, err := get(tx, side)
		if errors.Is(err, storage.ErrNotFound) {
			return true, nil
		}
		return false, err
	}
}

// has returns a look at a range that must have certain keys, separated by spaces.
func has(want string, of func(side string) storage.Range) func(storage.Tx, string) (bool, error) {
	return func(tx storage.Tx, side string) (bool, error) {
		got, err := keys(tx, of(side))
		return strings.Join(got, " ") == strings.ReplaceAll(want, "?", side), err
	}
}

func put(key, body string, entries ...string) func(storage.Tx, string) error {
	return func(tx storage.Tx, side string) error {
		named := make([]string, len(entries))
		for i, e := range entries {
			named[i] = strings.ReplaceAll(e, "?", side)
		}
		return tx.Put("things", doc(strings.ReplaceAll(key, "?", side), body, named...))
	}
}

func insert(key string, entries ...string) func(storage.Tx, string) error {
	return func(tx storage.Tx, side string) error {
		named := make([]string, len(entries))
		for i, e := range entries {
			named[i] = strings.ReplaceAll(e, "?", side)
		}
		return tx.Insert("things", doc(strings.ReplaceAll(key, "?", side), `{}`, named...))
	}
}

func remove(key string) func(storage.Tx, string) error {
	return func(tx storage.Tx, side string) error {
		return tx.Delete("things", strings.ReplaceAll(key, "?", side))
	}
}

// both returns a document for each side.
func both(key, body string, entries ...string) (docs []storage.Document) {
	for _, side := range []string{"l", "r"} {
		named := make([]string, len(entries))
		for i, e := range entries {
			named[i] = strings.ReplaceAll(e, "?", side)
		}
		docs = append(docs, doc(strings.ReplaceAll(key, "?", side), body, named...))
	}
	return docs
}

func looks() []look {
	byKey := func(tx storage.Tx, side string) ([]byte, error) { return tx.Get("things", "new-"+side) }
	by := func(index string) func(storage.Tx, string) ([]byte, error) {
		return func(tx storage.Tx, side string) ([]byte, error) { return tx.GetBy("things", index, "new "+side) }
	}
	unchanged := func(get func(tx storage.Tx, side string) ([]byte, error)) func(storage.Tx, string) (bool, error) {
		return func(tx storage.Tx, side string) (bool, error) {
			b, err := get(tx, side)
			return strings.Contains(string(b), "1"), err
		}
	}
	old := func(tx storage.Tx, side string) ([]byte, error) { return tx.Get("things", "old-"+side) }
	oldBy := func(index string) func(storage.Tx, string) ([]byte, error) {
		return func(tx storage.Tx, side string) ([]byte, error) { return tx.GetBy("things", index, "old "+side) }
	}
	sides := both("old-?", `{"n":1}`, "name=old ?", "kind=? m", "tags=? m", "aliases=old ?")
	kind := func(r storage.Range) func(string) storage.Range {
		return func(side string) storage.Range {
			r := r
			r.Index = "kind"
			r.Prefix = strings.ReplaceAll(r.Prefix, "?", side)
			r.From, r.To = strings.ReplaceAll(r.From, "?", side), strings.ReplaceAll(r.To, "?", side)
			return r
		}
	}
	under := func(index string) func(string) storage.Range {
		return func(side string) storage.Range { return storage.Under(index, side) }
	}
	points := []look{
		{"an absent key, inserted", nil, free(byKey), insert("new-?")},
		{"an absent key, put", nil, free(byKey), put("new-?", `{}`)},
		{"an absent unique value, inserted", nil, free(by("name")), insert("x-?", "name=new ?")},
		{"an absent unique value, put", nil, free(by("name")), put("x-?", `{}`, "name=new ?")},
		{"an absent unique value, given to a document", sides, free(by("name")), put("old-?", `{"n":1}`, "name=new ?")},
		{"an absent value of several, inserted", nil, free(by("aliases")), insert("x-?", "aliases=a", "aliases=new ?")},
		{"an absent value of several, added", sides, free(by("aliases")), put("old-?", `{"n":1}`, "aliases=old ?", "aliases=new ?")},
		{"a document, replaced", sides, unchanged(old), put("old-?", `{"n":2}`)},
		{"a document, replaced with the same entries", sides, unchanged(old), put("old-?", `{"n":2}`, "name=old ?", "kind=? m", "tags=? m", "aliases=old ?")},
		{"a document, deleted", sides, func(tx storage.Tx, side string) (bool, error) {
			gone, err := free(old)(tx, side)
			return !gone, err
		}, remove("old-?")},
		{"a document by its value, replaced", sides, unchanged(oldBy("name")), put("old-?", `{"n":2}`, "name=old ?")},
		{"a document by one of its values, replaced", sides, unchanged(oldBy("aliases")), put("old-?", `{"n":2}`, "aliases=old ?")},
		{"the holder of a value, which loses it", sides, func(tx storage.Tx, side string) (bool, error) {
			gone, err := free(oldBy("name"))(tx, side)
			return !gone, err
		}, put("old-?", `{"n":1}`, "name=other ?")},
	}
	ranges := []look{
		{"an empty range of one value", nil, has("", func(side string) storage.Range { return storage.Exactly("kind", side) }), insert("x-?", "kind=?")},
		{"an empty range of parts", nil, has("", under("kind")), insert("x-?", "kind=? x")},
		{"an empty range of parts, put", nil, has("", under("kind")), put("x-?", `{}`, "kind=? x")},
		{"an empty range of one of several values", nil, has("", under("tags")), insert("x-?", "tags=a", "tags=? x")},
		{"an empty range of parts of keys", nil, has("", under("")), insert("? x")},
		{"a range, into which a document comes", sides, has("old-?", under("kind")), insert("x-?", "kind=? x")},
		{"a range, into which a document moves", append(both("x-?", `{}`, "kind=elsewhere"), sides...), has("old-?", under("kind")), put("x-?", `{}`, "kind=? x")},
		{"a range, from which a document goes", sides, has("old-?", under("kind")), remove("old-?")},
		{"a range, from which a document moves", sides, has("old-?", under("kind")), put("old-?", `{"n":1}`, "kind=elsewhere")},
		{"a range, in which a document moves", append(both("x-?", `{}`, "kind=? a"), sides...), has("x-? old-?", under("kind")), put("x-?", `{}`, "kind=? z")},
		{"a range of one of several values, from which a document goes", sides, has("old-?", under("tags")), put("old-?", `{"n":1}`, "tags=else")},
		{"a prefix that ends within a part", sides, has("old-?", kind(storage.Range{Prefix: "?"})), insert("x-?", "kind=? x")},
		{"a range between two values", sides, has("old-?", kind(storage.Range{From: "? a", To: "? z"})), insert("x-?", "kind=? x")},
		{"a range between two parts", sides, has("old-?", kind(storage.Range{From: "?", To: "?~"})), insert("x-?", "kind=? x")},
		{"a prefix of keys", sides, has("old-?", func(side string) storage.Range { return storage.Range{Prefix: "old-" + side} }), insert("old-?2")},
		{"the first", sides, has("old-?", kind(storage.Range{Prefix: "? ", Limit: 1})), insert("x-?", "kind=? a")},
		{"the last", sides, has("old-?", kind(storage.Range{Prefix: "? ", Limit: 1, Reverse: true})), insert("x-?", "kind=? z")},
		{"a page that isn't full", sides, has("old-?", kind(storage.Range{Prefix: "? ", Limit: 2})), insert("x-?", "kind=? z")},
		{"a page that is full", append(both("x-?", `{}`, "kind=? p"), sides...), has("old-? x-?", kind(storage.Range{Prefix: "? ", Limit: 2})), insert("y-?", "kind=? o")},
		{"a page backwards", append(both("x-?", `{}`, "kind=? p"), sides...), has("x-? old-?", kind(storage.Range{Prefix: "? ", Reverse: true})), insert("y-?", "kind=? a")},
	}
	list := append(points, ranges...)
	for _, l := range ranges {
		at := l.look
		l.name += ", keys only"
		l.look = func(tx storage.Tx, side string) (bool, error) { return at(keysOnly{tx}, side) }
		list = append(list, l)
	}
	return list
}

// keysOnly is a transaction whose scans yield only keys.
type keysOnly struct{ storage.Tx }

func (k keysOnly) Scan(table string, r storage.Range) iter.Seq2[storage.Record, error] {
	r.KeysOnly = true
	return k.Tx.Scan(table, r)
}

// testSkew lets two Updates each look at one side and touch the other. If neither saw what the
// other did, there would be no order in which they could have run.
func testSkew(t *testing.T, f *fixture) {
	interleaved(t, f, func(t *testing.T, f *fixture, run interleave) {
		for _, l := range looks() {
			t.Run(l.name, func(t *testing.T) {
				f.clear()
				f.put(l.setup...)
				check := func(tx storage.Tx, side string) error {
					untouched, err := l.look(tx, side)
					if err == nil && !untouched {
						err = errRefused
					}
					return err
				}
				first, other := run.between(
					func(tx storage.Tx) error { return check(tx, "l") },
					func() error {
						return run.update(func(tx storage.Tx) error {
							if err := check(tx, "r"); err != nil {
								return err
							}
							return l.touch(tx, "l")
						})
					},
					func(tx storage.Tx) error { return l.touch(tx, "r") })
				oneWins(t, []error{first, other}, "saw the other side untouched")
			})
		}
	})
}

// testCycle lets three Updates look at what the next one writes.
func testCycle(t *testing.T, f *fixture) {
	interleaved(t, f, func(t *testing.T, f *fixture, run interleave) {
		f.clear()
		check := func(key string) func(storage.Tx) error {
			return unless(key, func(storage.Tx) error { return nil })
		}
		write := func(key string) func(storage.Tx) error {
			return func(tx storage.Tx) error { return tx.Put("things", doc(key, `{}`)) }
		}
		errs := make([]error, 3)
		back := interleave{f, f.Store}
		errs[0], errs[1] = run.between(check("b"), func() (second error) {
			second, errs[2] = back.between(check("c"), func() error {
				return run.update(unless("a", write("c")))
			}, write("b"))
			return second
		}, write("a"))
		if refused(t, errs) == 0 {
			t.Error("three Updates each saw nothing of the next one")
		}
	})
}

// testInterleavedWrites checks what is there after two Updates of which one ran in the middle of
// the other.
func testInterleavedWrites(t *testing.T, f *fixture) {
	interleaved(t, f, func(t *testing.T, f *fixture, run interleave) {
		for name, other := range map[string]func(tx storage.Tx) error{
			"which adds too": func(tx storage.Tx) error { return add(tx, "n", 10) },
			"which sets it":  unless("done", func(tx storage.Tx) error { return writeCounter(tx, "n", 10) }),
		} {
			t.Run("a counter, "+name, func(t *testing.T) {
				f.clear()
				f.update(func(tx storage.Tx) error { return writeCounter(tx, "n", 0) })
				n := 0
				first, second := run.between(
					func(tx storage.Tx) (err error) { n, err = readCounter(tx, "n"); return err },
					func() error { return run.update(other) },
					func(tx storage.Tx) error {
						return errors.Join(writeCounter(tx, "n", n+1), tx.Put("things", doc("done", `{}`)))
					})
				ends(t, f, first, second, "n", 1, 11)
			})
		}
		t.Run("a sum of a range", func(t *testing.T) {
			f.clear()
			f.put(doc("a", `{"n":1}`, "kind=sum"), doc("b", `{"n":2}`, "kind=sum"))
			sum := 0
			first, second := run.between(
				func(tx storage.Tx) (err error) { sum, err = sumOf(tx, storage.Exactly("kind", "sum")); return err },
				func() error {
					return run.update(unless("sum", func(tx storage.Tx) error { return tx.Put("things", doc("b", `{"n":5}`, "kind=sum")) }))
				},
				func(tx storage.Tx) error { return writeCounter(tx, "sum", sum) })
			ends(t, f, first, second, "sum", 3, 6)
		})
		t.Run("DeleteAll, and an Insert into the range", func(t *testing.T) {
			f.clear()
			f.put(doc("a", `{}`, "kind=g a"), doc("b", `{}`, "kind=g b"))
			first, second := run.between(
				func(tx storage.Tx) error { return deleteAll(tx, storage.Under("kind", "g")) },
				func() error {
					return run.update(unless("closed", func(tx storage.Tx) error { return tx.Insert("things", doc("c", `{}`, "kind=g c")) }))
				},
				func(tx storage.Tx) error { return tx.Put("things", doc("closed", `{}`)) })
			if errors.Is(second, errRefused) {
				second = nil
			}
			noErrors(t, []error{first, second})
			f.view(func(tx storage.Tx) error { wantKeys(t, tx, storage.Range{}, "closed"); return nil })
		})
		t.Run("a value that changes hands", func(t *testing.T) {
			f.clear()
			f.put(doc("a", `{"n":1}`, "name=crown"), doc("b", `{"n":2}`))
			holder := []byte(nil)
			first, second := run.between(
				func(tx storage.Tx) (err error) { holder, err = tx.GetBy("things", "name", "crown"); return err },
				func() error {
					return run.update(unless("holder", func(tx storage.Tx) error {
						return errors.Join(tx.Put("things", doc("a", `{"n":1}`)), tx.Put("things", doc("b", `{"n":2}`, "name=crown")))
					}))
				},
				func(tx storage.Tx) error { return tx.Put("things", doc("holder", string(holder))) })
			ends(t, f, first, second, "holder", 1, 2)
		})
		t.Run("a conflict that comes with what was read", func(t *testing.T) {
			f.clear()
			first, second := run.between(
				func(tx storage.Tx) error {
					if _, err := tx.Get("things", "flag"); !errors.Is(err, storage.ErrNotFound) {
						return errors.Join(err, errRefused)
					}
					return nil
				},
				func() error {
					return run.update(func(tx storage.Tx) error {
						return errors.Join(tx.Insert("things", doc("flag", `{}`)), tx.Put("things", doc("taken", `{}`, "name=taken")))
					})
				},
				func(tx storage.Tx) error { return tx.Insert("things", doc("x", `{}`, "name=taken")) })
			if f.backend.Concurrent {
				wantError(t, "an Update that didn't see the flag, and would have been refused", first, errRefused)
				noErrors(t, []error{second})
			}
		})
		t.Run("what an Update reads belongs together", func(t *testing.T) {
			f.clear()
			f.update(func(tx storage.Tx) error { return errors.Join(writeCounter(tx, "x", 1), writeCounter(tx, "y", 1)) })
			x := 0
			first, second := run.between(
				func(tx storage.Tx) (err error) { x, err = readCounter(tx, "x"); return err },
				func() error {
					return run.update(func(tx storage.Tx) error { return errors.Join(add(tx, "x", 1), add(tx, "y", 1)) })
				},
				func(tx storage.Tx) error {
					y, err := readCounter(tx, "y")
					if err == nil && x != y {
						t.Errorf("an Update read %d and %d, which never existed together", x, y)
					}
					return errors.Join(err, add(tx, "x", 1), add(tx, "y", 1))
				})
			noErrors(t, []error{first, second})
			wantCounter(t, f, "x", 3)
			wantCounter(t, f, "y", 3)
		})
	})
}

// ends checks two Updates, of which the second is refused if it sees that the first has written a
// document: the value of its counter depends on who came first.
func ends(t *testing.T, f *fixture, first, second error, key string, firstly, secondly int) {
	t.Helper()
	want := secondly
	if errors.Is(second, errRefused) {
		second, want = nil, firstly
	}
	noErrors(t, []error{first, second})
	wantCounter(t, f, key, want)
}

// testManyDocuments interleaves Updates of hundreds of documents with those of single ones: a
// backend may change its ways for many.
func testManyDocuments(t *testing.T, f *fixture) {
	const many = 300
	interleaved(t, f, func(t *testing.T, f *fixture, run interleave) {
		setup := func() {
			f.clear()
			f.update(func(tx storage.Tx) error {
				for i := range many {
					if err := tx.Put("things", doc(number(i), `{"n":1}`, "kind=many "+number(i), "name=n"+number(i))); err != nil {
						return err
					}
				}
				return nil
			})
		}
		for name, read := range map[string]func(tx storage.Tx) (int, error){
			"a scan":        func(tx storage.Tx) (int, error) { return sumOf(tx, storage.Under("kind", "many")) },
			"a scan by key": func(tx storage.Tx) (int, error) { return sumOf(tx, storage.Range{}) },
			"one by one": func(tx storage.Tx) (sum int, err error) {
				for i := range many + 1 {
					n, err := readCounter(tx, number(i))
					if err != nil {
						return 0, err
					}
					sum += n
				}
				return sum, nil
			},
			"one by one, by value": func(tx storage.Tx) (sum int, err error) {
				for i := range many + 1 {
					b, err := tx.GetBy("things", "name", "n"+number(i))
					if errors.Is(err, storage.ErrNotFound) {
						continue
					}
					n, bad := counterOf(b)
					if err = errors.Join(err, bad); err != nil {
						return 0, err
					}
					sum += n
				}
				return sum, nil
			},
		} {
			for what, point := range map[string]func(tx storage.Tx) error{
				"changed": func(tx storage.Tx) error {
					return tx.Put("things", doc(number(7), `{"n":3}`, "kind=many "+number(7), "name=n"+number(7)))
				},
				"inserted": func(tx storage.Tx) error {
					return tx.Insert("things", doc(number(many), `{"n":2}`, "kind=many "+number(many), "name=n"+number(many)))
				},
			} {
				t.Run(fmt.Sprintf("%s, one %s", name, what), func(t *testing.T) {
					setup()
					sum := 0
					first, second := run.between(
						func(tx storage.Tx) (err error) { sum, err = read(tx); return err },
						func() error { return run.update(unless("sum", point)) },
						func(tx storage.Tx) error { return writeCounter(tx, "sum", sum) })
					ends(t, f, first, second, "sum", many, many+2)
				})
			}
		}
		t.Run("many values that are free, one taken", func(t *testing.T) {
			setup()
			free := 0
			first, second := run.between(
				func(tx storage.Tx) error {
					free = 0
					for i := range many {
						_, err := tx.GetBy("things", "aliases", "a"+number(i))
						if errors.Is(err, storage.ErrNotFound) {
							free++
						} else if err != nil {
							return err
						}
					}
					return nil
				},
				func() error {
					return run.update(unless("free", func(tx storage.Tx) error {
						return tx.Insert("things", doc("x", `{}`, "aliases=a"+number(7)))
					}))
				},
				func(tx storage.Tx) error { return writeCounter(tx, "free", free) })
			ends(t, f, first, second, "free", many, many-1)
		})
		t.Run("one is read, all are written", func(t *testing.T) {
			setup()
			n := 0
			first, second := run.between(
				func(tx storage.Tx) (err error) { n, err = readCounter(tx, number(7)); return err },
				func() error {
					return run.update(unless("done", func(tx storage.Tx) error {
						for i := range many {
							if err := writeCounter(tx, number(i), 5); err != nil {
								return err
							}
						}
						return nil
					}))
				},
				func(tx storage.Tx) error {
					return errors.Join(writeCounter(tx, number(7), n+1), tx.Put("things", doc("done", `{}`)))
				})
			ends(t, f, first, second, number(7), 2, 6)
		})
		t.Run("all at once", func(t *testing.T) {
			setup()
			noErrors(t, together(6, func(i int) error {
				for range 5 {
					err := run.update(func(tx storage.Tx) error {
						if i > 0 {
							return errors.Join(add(tx, number(i), 1), add(tx, number(many-i), -1))
						}
						sum, err := sumOf(tx, storage.Range{})
						if err == nil && sum != many {
							err = fmt.Errorf("an Update saw a sum of %d, want %d", sum, many)
						}
						return errors.Join(err, add(tx, "a", 0))
					})
					if err != nil {
						return err
					}
				}
				return nil
			}))
		})
	})
}

// unless returns fn for an Update that is refused if a document exists. Since it relies on that, it
// comes before the Update that writes the document.
func unless(key string, fn func(tx storage.Tx) error) func(tx storage.Tx) error {
	return func(tx storage.Tx) error {
		switch _, err := tx.Get("things", key); {
		case err == nil:
			return errRefused
		case !errors.Is(err, storage.ErrNotFound):
			return err
		}
		return fn(tx)
	}
}

// sumOf adds up the counters of a range.
func sumOf(tx storage.Tx, r storage.Range) (sum int, err error) {
	for rec, err := range tx.Scan("things", r) {
		if err != nil {
			return 0, err
		}
		n, err := counterOf(rec.Value)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func deleteAll(tx storage.Tx, r storage.Range) error {
	all, err := keys(tx, r)
	for _, k := range all {
		err = errors.Join(err, tx.Delete("things", k))
	}
	return err
}
