package storagetest

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
)

var errRefused = errors.New("refused by the closure")

func testRollbackOnError(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("a", `{"n":1}`, "name=A"), doc("b", `{}`))
	err := f.Update(f.ctx, func(tx storage.Tx) error {
		if err := tx.Put("things", doc("a", `{"n":2}`, "name=Z")); err != nil {
			return err
		}
		if err := tx.Insert("things", doc("c", `{}`)); err != nil {
			return err
		}
		if err := tx.Delete("things", "b"); err != nil {
			return err
		}
		return errRefused
	})
	wantError(t, "Update", err, errRefused)
	unchanged(t, f)
	wantError(t, "View", f.View(f.ctx, func(storage.Tx) error { return errRefused }), errRefused)
}

func unchanged(t *testing.T, f *fixture) {
	t.Helper()
	f.view(func(tx storage.Tx) error {
		wantKeys(t, tx, storage.Range{}, "a b")
		wantKeys(t, tx, storage.Exactly("name", "A"), "a")
		wantKeys(t, tx, storage.Range{Index: "name"}, "a")
		return nil
	})
}

func testRollbackOnPanic(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("a", `{"n":1}`, "name=A"), doc("b", `{}`))
	panics := func(call func()) (got any) {
		defer func() { got = recover() }()
		call()
		return nil
	}
	got := panics(func() {
		_ = f.Update(f.ctx, func(tx storage.Tx) error {
			_ = tx.Put("things", doc("a", `{"n":2}`, "name=Z"))
			_ = tx.Delete("things", "b")
			panic("in the closure")
		})
	})
	if got != "in the closure" {
		t.Errorf("Update panicked with %v, want the panic of the closure", got)
	}
	if got := panics(func() { _ = f.View(f.ctx, func(storage.Tx) error { panic("in the view") }) }); got != "in the view" {
		t.Errorf("View panicked with %v, want the panic of the closure", got)
	}
	unchanged(t, f)
	f.put(doc("a", `{"n":3}`, "name=A")) // the store still works
}

// testDecide checks that a refusal keeps the writes, and that an error rolls them back.
func testDecide(t *testing.T, f *fixture) {
	f.define(things)
	wrote := func(want string) {
		t.Helper()
		f.view(func(tx storage.Tx) error { wantKeys(t, tx, storage.Range{}, want); return nil })
	}
	decide := func(key string, refusal, err error) error {
		return storage.Decide(f.ctx, f, func(tx storage.Tx) (error, error) {
			if err := tx.Put("things", doc(key, `{}`)); err != nil {
				return nil, err
			}
			return refusal, err
		})
	}
	if err := decide("a", nil, nil); err != nil {
		t.Errorf("Decide without a refusal: %v", err)
	}
	wrote("a")
	if err := decide("b", errRefused, nil); err != errRefused {
		t.Errorf("Decide with a refusal: %v", err)
	}
	wrote("a b")
	errBroken := errors.New("broken")
	wantError(t, "Decide with an error", decide("c", nil, errBroken), errBroken)
	if err := decide("c", errRefused, errBroken); !errors.Is(err, errBroken) || errors.Is(err, errRefused) {
		t.Errorf("Decide with a refusal and an error: %v", err)
	}
	wrote("a b")

	// A refusal isn't returned if its writes could not be committed.
	err := storage.Decide(f.ctx, f, func(tx storage.Tx) (error, error) {
		_ = tx.Insert("things", doc("a", `{}`))
		return errRefused, nil
	})
	wantConflict(t, err, "things", "")

	// The run that is committed decides: exactly one caller finds the counter at zero.
	const callers = 8
	errs := together(callers, func(int) error {
		return storage.Decide(f.ctx, f, func(tx storage.Tx) (error, error) {
			n, err := readCounter(tx, "n")
			if err != nil {
				return nil, err
			}
			if n > 0 {
				return errRefused, writeCounter(tx, "n", n+1)
			}
			return nil, writeCounter(tx, "n", n+1)
		})
	})
	oneWins(t, errs, "found the counter at zero")
	wantCounter(t, f, "n", callers)
}

func testPing(t *testing.T, f *fixture) {
	if err := storage.Ping(f.ctx, f); err != nil {
		t.Errorf("Ping without tables: %v", err)
	}
	f.define(things)
	if err := storage.Ping(f.ctx, f); err != nil {
		t.Errorf("Ping without documents: %v", err)
	}
	f.put(doc("a", `{}`))
	if err := storage.Ping(f.ctx, f); err != nil {
		t.Errorf("Ping: %v", err)
	}
	done, cancel := context.WithCancel(f.ctx)
	cancel()
	wantError(t, "Ping, context done", storage.Ping(done, f), context.Canceled)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, "Ping of a closed store", storage.Ping(f.ctx, f), storage.ErrClosed)
}

func testReadOnly(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("a", `{}`))
	f.view(func(tx storage.Tx) error {
		wantError(t, "Put in a View", tx.Put("things", doc("b", `{}`)), storage.ErrReadOnly)
		wantError(t, "Insert in a View", tx.Insert("things", doc("b", `{}`)), storage.ErrReadOnly)
		wantError(t, "Delete in a View", tx.Delete("things", "a"), storage.ErrReadOnly)
		return nil
	})
	f.view(func(tx storage.Tx) error { wantKeys(t, tx, storage.Range{}, "a"); return nil })
}

func testClosedTx(t *testing.T, f *fixture) {
	f.define(things)
	var leaked []storage.Tx
	f.update(func(tx storage.Tx) error { leaked = append(leaked, tx); return nil })
	f.view(func(tx storage.Tx) error { leaked = append(leaked, tx); return nil })
	_ = f.Update(f.ctx, func(tx storage.Tx) error { leaked = append(leaked, tx); return errRefused })
	for _, tx := range leaked {
		_, err := tx.Get("things", "a")
		wantError(t, "Get after the end", err, storage.ErrClosed)
		_, err = tx.GetBy("things", "name", "a")
		wantError(t, "GetBy after the end", err, storage.ErrClosed)
		wantError(t, "Put after the end", tx.Put("things", doc("a", `{}`)), storage.ErrClosed)
		wantError(t, "Insert after the end", tx.Insert("things", doc("a", `{}`)), storage.ErrClosed)
		wantError(t, "Delete after the end", tx.Delete("things", "a"), storage.ErrClosed)
		wantError(t, "Scan after the end", scanError(tx, "things", storage.Range{}), storage.ErrClosed)
	}
}

func testClosedStore(t *testing.T, f *fixture) {
	f.define(things)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	nothing := func(storage.Tx) error { t.Error("a closure ran on a closed store"); return nil }
	wantError(t, "View", f.View(f.ctx, nothing), storage.ErrClosed)
	wantError(t, "Update", f.Update(f.ctx, nothing), storage.ErrClosed)
	wantError(t, "Define", f.Define(f.ctx, things), storage.ErrClosed)
	_, err := f.Tables(f.ctx)
	wantError(t, "Tables", err, storage.ErrClosed)
	if err := f.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func testCloseWaitsForViews(t *testing.T, f *fixture)   { closeDuring(t, f, f.View) }
func testCloseWaitsForUpdates(t *testing.T, f *fixture) { closeDuring(t, f, f.Update) }

// closeDuring closes a store during a transaction. The transaction must continue, and Close must
// wait for it.
func closeDuring(t *testing.T, f *fixture, run func(context.Context, func(storage.Tx) error) error) {
	f.define(things)
	f.put(doc("a", `{}`))
	var ended atomic.Bool
	var once sync.Once
	closed := make(chan error, 1)
	err := run(f.ctx, func(tx storage.Tx) error {
		once.Do(func() {
			go func() {
				err := f.Close()
				if !ended.Load() {
					err = errors.Join(err, errors.New("the store closed while a transaction was running"))
				}
				closed <- err
			}()
		})
		for range 1000 {
			runtime.Gosched() // let Close run
			if _, err := tx.Get("things", "a"); err != nil {
				return err
			}
		}
		ended.Store(true)
		return nil
	})
	if err != nil {
		t.Errorf("the transaction during which the store was closed: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func testContext(t *testing.T, f *fixture) {
	f.define(things)
	f.put(doc("a", `{}`))
	done, cancel := context.WithCancel(f.ctx)
	cancel()
	nothing := func(storage.Tx) error { return nil }
	wantError(t, "View, context done", f.View(done, nothing), context.Canceled)
	wantError(t, "Update, context done", f.Update(done, nothing), context.Canceled)

	during, cancel := context.WithCancel(f.ctx)
	err := f.Update(during, func(tx storage.Tx) error {
		if err := tx.Put("things", doc("b", `{}`)); err != nil {
			return err
		}
		cancel()
		_, err := tx.Get("things", "a")
		wantError(t, "Get, context done", err, context.Canceled)
		wantError(t, "Scan, context done", scanError(tx, "things", storage.Range{}), context.Canceled)
		wantError(t, "Put, context done", tx.Put("things", doc("c", `{}`)), context.Canceled)
		return nil
	})
	wantError(t, "Update, context done during it", err, context.Canceled)
	f.view(func(tx storage.Tx) error { wantKeys(t, tx, storage.Range{}, "a"); return nil })

	during, cancel = context.WithCancel(f.ctx)
	err = f.View(during, func(tx storage.Tx) error {
		cancel()
		_, err := tx.Get("things", "a")
		return err
	})
	wantError(t, "View, context done during it", err, context.Canceled)

	// An Update that waits for its turn ends with its context too.
	inside, release := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		once := false
		first <- f.Update(f.ctx, func(tx storage.Tx) error {
			if !once {
				once = true
				close(inside)
			}
			<-release
			return nil
		})
	}()
	<-inside
	ctx, cancel := context.WithCancel(f.ctx)
	waiting := &watchedContext{Context: ctx, watched: make(chan struct{})}
	second := make(chan error, 1)
	go func() {
		second <- f.Update(waiting, func(tx storage.Tx) error {
			<-waiting.Done() // reached if the backend runs both at the same time
			return waiting.Err()
		})
	}()
	<-waiting.watched
	cancel()
	wantError(t, "Update, context done while waiting", <-second, context.Canceled)
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// watchedContext closes watched when Done is called for the first time.
type watchedContext struct {
	context.Context
	once    sync.Once
	watched chan struct{}
}

func (c *watchedContext) Done() <-chan struct{} {
	c.once.Do(func() { close(c.watched) })
	return c.Context.Done()
}

func testDefine(t *testing.T, f *fixture) {
	for _, bad := range []storage.Table{
		{}, {Name: "Upper"}, {Name: "1st"}, {Name: "_x"}, {Name: "a-b"}, {Name: "a.b"},
		{Name: "abcdefghijklmnopqrstuvwxyzabcdefghijklmno"}, {Name: "t", Owner: "Upper"}, {Name: "t", Owner: "a b"},
		{Name: "t", Indexes: []storage.Index{{}}},
		{Name: "t", Indexes: []storage.Index{{Name: "key"}}},
		{Name: "t", Indexes: []storage.Index{{Name: "doc"}}},
		{Name: "t", Indexes: []storage.Index{{Name: "a"}, {Name: "a"}}},
	} {
		wantError(t, "Define of a bad table", f.Define(f.ctx, bad), storage.ErrInvalid)
	}
	list := func(want int) []storage.Table {
		t.Helper()
		tables, err := f.Tables(f.ctx)
		if err != nil || len(tables) != want {
			t.Fatalf("Tables = %v, %v; want %d", tables, err, want)
		}
		return tables
	}
	list(0)
	// Names of the maximum length that differ at their ends, and keywords of SQL.
	long := "a23456789_123456789_123456789_123456789"
	for _, name := range []string{long + "x", long + "y"} {
		f.define(storage.Table{Name: name, Indexes: []storage.Index{
			{Name: long + "x", Unique: true}, {Name: long + "y", Unique: true}, {Name: "select"}, {Name: "user", Multi: true},
		}})
		f.update(func(tx storage.Tx) error {
			return tx.Put(name, doc("k", `{}`, long+"x=1", long+"y=2", "select=3", "user=4", "user=5"))
		})
		f.view(func(tx storage.Tx) error {
			_, err := tx.GetBy(name, long+"y", "2")
			wantError(t, "GetBy of a long name", err, nil)
			_, err = tx.GetBy(name, long+"y", "1")
			wantError(t, "GetBy of the other long name", err, storage.ErrNotFound)
			return nil
		})
	}
	f.define(things, storage.Table{Name: "order"}) // a keyword of SQL
	f.define(things)
	f.put(doc("a", `{"n":1}`, "name=A"))
	if got := list(4)[2:]; got[0].Name != "order" || got[1].Name != "things" || len(got[1].Indexes) != 4 {
		t.Errorf("Tables = %v", got)
	}
	for _, ix := range []storage.Index{{Name: "name"}, {Name: "kind", Unique: true}, {Name: "tags"}, {Name: "aliases", Unique: true}} {
		err := f.Define(f.ctx, storage.Table{Name: "things", Indexes: []storage.Index{ix}})
		wantError(t, "Define of another kind of index", err, storage.ErrInvalid)
	}
	// Indexes are added but not removed, and the documents stay.
	f.define(storage.Table{Name: "things", Indexes: []storage.Index{{Name: "extra"}}})
	if got := list(4)[2:]; len(got[1].Indexes) != 5 {
		t.Errorf("indexes are %v", got[1].Indexes)
	}
	f.put(doc("b", `{}`, "name=B", "extra=1"))
	f.view(func(tx storage.Tx) error {
		wantKeys(t, tx, storage.Range{Index: "extra"}, "b")
		wantKeys(t, tx, storage.Range{Index: "name"}, "a b")
		return nil
	})
}

func testDefineConcurrently(t *testing.T, f *fixture) {
	errs := make(chan error)
	for range 8 {
		go func() { errs <- f.Define(f.ctx, things, storage.Table{Name: "others"}) }()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	f.put(doc("a", `{}`, "name=A"))
}

// testOwners defines tables of several owners, in either order, and after a restart.
func testOwners(t *testing.T, f *fixture) {
	table := func(name, owner string, indexes ...storage.Index) storage.Table {
		return storage.Table{Name: name, Owner: owner, Indexes: indexes}
	}
	f.define(table("first", "a"), table("second", "b"), table("adopted", ""), table("open", ""))
	f.update(func(tx storage.Tx) error {
		return errors.Join(tx.Put("adopted", doc("k", `{}`)), tx.Put("open", doc("k", `{}`)))
	})
	refused := func(name, owner, stranger string) {
		t.Helper()
		err := f.Define(f.ctx, table("fresh", stranger), table(name, stranger, storage.Index{Name: "added"}))
		wantError(t, "Define by a stranger", err, storage.ErrInvalid)
		for _, word := range []string{name, strconv.Quote(owner), strconv.Quote(stranger)} {
			if err != nil && !strings.Contains(err.Error(), word) {
				t.Errorf("error %q doesn't name %s", err, word)
			}
		}
	}
	// A table without an owner is adopted by the first owner that defines it, with its documents.
	adopt := func(name, owner, stranger string) {
		t.Helper()
		f.define(table(name, owner))
		refused(name, owner, stranger)
		f.view(func(tx storage.Tx) error { _, err := tx.Get(name, "k"); return err })
	}
	check := func() {
		t.Helper()
		refused("first", "a", "b")
		refused("second", "b", "a")
		refused("adopted", "b", "a")
		f.define(table("first", "a", storage.Index{Name: "x"}), table("second", "b")) // by their owners
		f.define(table("first", ""), table("open", ""))                               // by nobody
		want := []storage.Table{table("adopted", "b"), table("first", "a", storage.Index{Name: "x"}), table("open", ""), table("second", "b")}
		f.view(func(tx storage.Tx) error {
			for _, table := range append(want, table("unknown", "")) {
				if owner := tx.Owner(table.Name); owner != table.Owner {
					t.Errorf("Owner(%s) = %q, want %q", table.Name, owner, table.Owner)
				}
			}
			return nil
		})
		if tables, err := f.Tables(f.ctx); err != nil || !reflect.DeepEqual(tables, want) {
			t.Errorf("Tables = %v, %v; want %v", tables, err, want)
		}
	}
	adopt("adopted", "b", "a")
	check()
	if f.backend.Reopen != nil {
		f.Store = f.backend.Reopen(t, f.Store)
		check()
	}
	adopt("open", "a", "b")

	stranger(t, f)

	// Two owners in one call, and several at the same time.
	wantError(t, "Define by two owners", f.Define(f.ctx, table("both", "a"), table("both", "b")), storage.ErrInvalid)
	errs := together(8, func(i int) error { return f.Define(f.ctx, table("race", "owner"+strconv.Itoa(i))) })
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			wantError(t, "Define of a table that another has got", err, storage.ErrInvalid)
		}
	}
	if won != 1 {
		t.Errorf("%d of 8 owners got the table, want 1", won)
	}
}

// stranger uses a table of another owner through a collection that was never defined.
func stranger(t *testing.T, f *fixture) {
	type Thing struct{ Key string }
	key := func(t *Thing) string { return t.Key }
	name := func(t *Thing) string { return t.Key }
	own := storage.NewCollection("whose", key, storage.Unique("name", name)).OwnedBy("a")
	other := storage.NewCollection("whose", key, storage.Unique("name", name)).OwnedBy("b")
	if err := storage.Define(f.ctx, f.Store, own); err != nil {
		t.Fatal(err)
	}
	f.update(func(tx storage.Tx) error { return own.Put(tx, &Thing{"k"}) })
	last := func(tx storage.Tx) error {
		var last error
		for _, err := range other.Scan(tx, storage.Range{}) {
			last = err
		}
		return last
	}
	uses := map[string]func(tx storage.Tx) error{
		"Get":       func(tx storage.Tx) error { _, err := other.Get(tx, "k"); return err },
		"GetBy":     func(tx storage.Tx) error { _, err := other.GetBy(tx, "name", "k"); return err },
		"Put":       func(tx storage.Tx) error { return other.Put(tx, &Thing{"k"}) },
		"Insert":    func(tx storage.Tx) error { return other.Insert(tx, &Thing{"l"}) },
		"Delete":    func(tx storage.Tx) error { return other.Delete(tx, "k") },
		"DeleteAll": func(tx storage.Tx) error { _, err := other.DeleteAll(tx, storage.Range{}); return err },
		"Scan":      last,
		"All":       func(tx storage.Tx) error { _, err := other.All(tx, storage.Range{}); return err },
		"Page":      func(tx storage.Tx) error { _, _, err := other.Page(tx, storage.Range{}); return err },
	}
	for use, do := range uses {
		wantError(t, use+" by a stranger", f.Update(f.ctx, do), storage.ErrInvalid)
	}
	err := other.Purge(f.ctx, f.Store, storage.Range{})
	wantError(t, "Purge by a stranger", err, storage.ErrInvalid)
	f.view(func(tx storage.Tx) error {
		all, err := own.All(tx, storage.Range{})
		if len(all) != 1 {
			t.Errorf("%d documents are left, want 1", len(all))
		}
		return err
	})
}

func testDurability(t *testing.T, f *fixture) {
	if f.backend.Reopen == nil {
		t.Skip("this backend doesn't keep data")
	}
	f.define(things, storage.Table{Name: "others"})
	f.put(doc("a", `{"n":1}`, "name=A", "tags=x", "tags=y"), doc("b", `{}`))
	f.update(func(tx storage.Tx) error { return tx.Delete("things", "b") })
	var cursor string
	f.view(func(tx storage.Tx) error {
		for rec, err := range tx.Scan("things", storage.Range{Index: "tags"}) {
			cursor = rec.Cursor
			return err
		}
		return nil
	})
	f.Store = f.backend.Reopen(t, f.Store)
	tables, err := f.Tables(f.ctx)
	if err != nil || len(tables) != 2 || len(tables[1].Indexes) != 4 {
		t.Fatalf("Tables = %v, %v", tables, err)
	}
	f.define(things)
	f.view(func(tx storage.Tx) error {
		got, err := tx.GetBy("things", "name", "A")
		if err != nil {
			return err
		}
		same(t, got, `{"n":1}`)
		wantKeys(t, tx, storage.Range{}, "a")
		wantKeys(t, tx, storage.Range{Index: "tags", After: cursor}, "a")
		return nil
	})
	f.put(doc("c", `{}`))
}
