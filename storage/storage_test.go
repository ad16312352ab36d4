package storage_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

var ctx = context.Background()

type book struct {
	ID     string `json:"id"`
	Title  string `json:"title,omitempty"`
	Author string `json:"author,omitempty"`
	Pages  int    `json:"pages"`
}

var books = storage.NewCollection("books", func(b *book) string { return b.ID },
	storage.Unique("title", func(b *book) string { return b.Title }),
	storage.Ordered("author", func(b *book) string { return b.Author }),
)

// library returns a store with some books.
func library(t testing.TB, s storage.Store, n int) storage.Store {
	t.Helper()
	t.Cleanup(func() { s.Close() })
	if err := storage.Define(ctx, s, books); err != nil {
		t.Fatal(err)
	}
	err := s.Update(ctx, func(tx storage.Tx) error {
		for i := range n {
			if err := books.Insert(tx, &book{fmt.Sprintf("%05d", i), fmt.Sprint("Title ", i), fmt.Sprint("Author ", i%7), i}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCheckOfAConsistentStore(t *testing.T) {
	problems, err := storage.Check(ctx, library(t, memory.New(), 100), books)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestCheckComparesDocumentsWithTheirCollection(t *testing.T) {
	s := library(t, memory.New(), 3)
	put := func(key, value string, entries ...storage.Entry) {
		t.Helper()
		err := s.Update(ctx, func(tx storage.Tx) error {
			return tx.Put("books", storage.Document{Key: key, Value: []byte(value), Entries: entries})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	put("x1", `{"_v":1,"id":"x1","author":"Nobody"}`)                                              // entry missing
	put("x2", `{"_v":1,"id":"x2"}`, storage.Entry{Index: "author", Value: "Somebody"})             // entry too many
	put("x3", `{"_v":1,"id":"other"}`)                                                             // wrong key
	put("x4", `{"_v":9,"id":"x4"}`)                                                                // a later version
	put("x5", `{"_v":1,"id":5}`)                                                                   // of another type
	put("x6", `{"_v":1,"id":"x6","title":"Right"}`, storage.Entry{Index: "title", Value: "Wrong"}) // wrong entry
	problems, err := storage.Check(ctx, s, books)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, p := range problems {
		found[p.Key] = true
		if p.Table != "books" || p.What == "" || !strings.Contains(p.String(), p.Key) {
			t.Errorf("problem %v", p)
		}
	}
	for _, key := range []string{"x1", "x2", "x3", "x4", "x5", "x6"} {
		if !found[key] {
			t.Errorf("no problem of %s was reported: %v", key, problems)
		}
	}
	if len(problems) != 6 {
		t.Errorf("%d problems, want 6: %v", len(problems), problems)
	}
}

// broken is a store with records that change, or are missing, in the scans of its Views.
type broken struct {
	storage.Store
	change func(r storage.Range, rec *storage.Record) (keep bool)
}

func (b broken) View(ctx context.Context, fn func(storage.Tx) error) error {
	return b.Store.View(ctx, func(tx storage.Tx) error { return fn(brokenTx{tx, b}) })
}

type brokenTx struct {
	storage.Tx
	b broken
}

func (tx brokenTx) Scan(table string, r storage.Range) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for rec, err := range tx.Tx.Scan(table, r) {
			if tx.b.change(r, &rec) && !yield(rec, err) {
				return
			}
		}
	}
}

func TestCheckFindsBrokenIndexes(t *testing.T) {
	for name, change := range map[string]func(storage.Range, *storage.Record) bool{
		"an entry is missing": func(r storage.Range, rec *storage.Record) bool { return r.Index != "author" || rec.Key != "00003" },
		"an entry leads elsewhere": func(r storage.Range, rec *storage.Record) bool {
			if r.Index == "title" && rec.Key == "00003" {
				rec.Key = "00004"
			}
			return true
		},
		"an entry has no document": func(r storage.Range, rec *storage.Record) bool {
			if r.Index == "author" && rec.Key == "00003" {
				rec.Entries = nil
			}
			return true
		},
		"the scan is out of order": func(r storage.Range, rec *storage.Record) bool {
			if r.Index == "" && (rec.Key == "00003" || rec.Key == "00004") {
				rec.Key = map[string]string{"00003": "00004", "00004": "00003"}[rec.Key]
			}
			return true
		},
		"a search doesn't find it": func(r storage.Range, rec *storage.Record) bool {
			return r.Index != "author" || r.From == "" || rec.Key != "00003"
		},
		"only a search finds it": func(r storage.Range, rec *storage.Record) bool {
			return r.Index != "author" || r.From != "" || rec.Key != "00003"
		},
		"a scan has other contents": func(r storage.Range, rec *storage.Record) bool {
			if rec.Key == "00003" {
				rec.Value = []byte(`{"_v":1,"id":"00003","title":"Title 3","author":"Author 3","pages":4}`)
			}
			return true
		},
		"a document is missing in a scan": func(r storage.Range, rec *storage.Record) bool { return r.Index != "" || rec.Key != "00003" },
	} {
		problems, err := storage.Check(ctx, broken{library(t, memory.New(), 10), change}, books)
		named := slices.ContainsFunc(problems, func(p storage.Problem) bool { return p.Key == "00003" })
		if err != nil || !named {
			t.Errorf("%s: %v, %v", name, problems, err)
		}
	}
}

func TestCheckLimitsTheProblemsOfATable(t *testing.T) {
	none := func(r storage.Range, _ *storage.Record) bool { return r.Index == "" }
	problems, err := storage.Check(ctx, broken{library(t, memory.New(), 1000), none}, books)
	if err != nil || len(problems) != 101 || !strings.Contains(problems[100].What, "more") {
		t.Errorf("%d problems, %v", len(problems), err)
	}
}

func TestCheckHonorsItsContext(t *testing.T) {
	done, cancel := context.WithCancel(ctx)
	canceling := broken{library(t, memory.New(), 10), func(r storage.Range, rec *storage.Record) bool {
		if rec.Key == "00003" {
			cancel()
		}
		return true
	}}
	if problems, err := storage.Check(done, canceling, books); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestCopy(t *testing.T) {
	src := library(t, memory.New(), 1234)
	dst, err := bolt.Open(filepath.Join(t.TempDir(), "copy.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	var stages []string
	last := storage.CopyProgress{}
	report, err := storage.Copy(ctx, dst, src, func(p storage.CopyProgress) {
		if p.Stage != last.Stage {
			stages = append(stages, p.Stage)
		}
		last = p
	})
	if err != nil {
		t.Fatal(err)
	}
	if tables, err := dst.Tables(ctx); err != nil || len(tables) != 1 || tables[0].Owner != storage.OwnerApp {
		t.Errorf("the copy has the tables %v, %v", tables, err)
	}
	if len(report.Tables) != 1 || report.Tables[0].Documents != 1234 || len(report.Tables[0].Checksum) != 64 {
		t.Errorf("the report is %+v", report)
	}
	if strings.Join(stages, " ") != "counting copying verifying" || last.Done != 1234 || last.Total != 1234 {
		t.Errorf("the stages are %v, the last progress %+v", stages, last)
	}
	if problems, err := storage.Check(ctx, dst, books); err != nil || len(problems) > 0 {
		t.Errorf("the copy: %v, %v", problems, err)
	}
	err = dst.View(ctx, func(tx storage.Tx) error {
		b, err := books.GetBy(tx, "title", "Title 777")
		if err == nil && b.Pages != 777 {
			t.Errorf("the copy has %+v", b)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := storage.Copy(ctx, dst, src, nil); !errors.Is(err, storage.ErrNotEmpty) {
		t.Errorf("copying onto it again: %v", err)
	}
}

func TestCopyComparesNumbersInAnyNotation(t *testing.T) {
	for _, c := range []struct {
		is, becomes string
		same        bool
	}{
		{"100", "1e2", true}, {"100", "100.0", true}, {"100", "1E+2", true}, {"100", "0.1e3", true}, {"100", "1000e-1", true},
		{"0", "-0", true}, {"0", "0.000", true}, {"0", "0e99", true},
		{"-0.05", "-5e-2", true}, {"-0.05", "-0.050", true}, {"1e400000", "10e399999", true},
		{"9007199254740993", "9007199254740992", false}, // equal as float64
		{"100", "10", false}, {"1", "-1", false}, {"0.1", "0.01", false}, {"1", `"1"`, false}, {"1", `"1e0"`, false},
	} {
		src, dst := library(t, memory.New(), 0), memory.New()
		defer dst.Close()
		err := src.Update(ctx, func(tx storage.Tx) error {
			return tx.Put("books", storage.Document{Key: "k", Value: []byte(`{"n":[{"n":` + c.is + `}]}`)})
		})
		if err != nil {
			t.Fatal(err)
		}
		renoting := broken{dst, func(_ storage.Range, rec *storage.Record) bool {
			rec.Value = []byte(`{"n": [{"n": ` + c.becomes + `}]}`)
			return true
		}}
		if _, err := storage.Copy(ctx, renoting, src, nil); (err == nil) != c.same {
			t.Errorf("%s as %s: %v", c.is, c.becomes, err)
		}
	}
}

func TestCopyDetectsDifferences(t *testing.T) {
	src, dst := library(t, memory.New(), 10), memory.New()
	defer dst.Close()
	lying := broken{dst, func(_ storage.Range, rec *storage.Record) bool {
		rec.Value = []byte(strings.Replace(string(rec.Value), `"pages":3`, `"pages":4`, 1))
		return true
	}}
	if _, err := storage.Copy(ctx, lying, src, nil); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("Copy: %v", err)
	}
	forgetting := broken{memory.New(), func(_ storage.Range, rec *storage.Record) bool { rec.Entries = nil; return true }}
	defer forgetting.Close()
	if _, err := storage.Copy(ctx, forgetting, src, nil); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("Copy without entries: %v", err)
	}
}

// TestCopyTakesASnapshot writes to the source while it is copied.
func TestCopyTakesASnapshot(t *testing.T) {
	src, dst := library(t, memory.New(), 1200), memory.New()
	defer dst.Close()
	n := 0
	report, err := storage.Copy(ctx, dst, src, func(storage.CopyProgress) {
		n++
		written := make(chan error)
		go func() { // another goroutine, since Copy reads in a View of src
			written <- src.Update(ctx, func(tx storage.Tx) error {
				return errors.Join(books.Put(tx, &book{ID: fmt.Sprint("99999-", n)}), books.Delete(tx, fmt.Sprintf("%05d", n)))
			})
		}()
		if err := <-written; err != nil {
			t.Error(err)
		}
	})
	if err != nil || n < 4 || report.Tables[0].Documents != 1200 {
		t.Errorf("%+v, %v, after %d changes", report, err, n)
	}
}

func TestCopyHonorsItsContext(t *testing.T) {
	src, dst := library(t, memory.New(), 1200), memory.New()
	defer dst.Close()
	done, cancel := context.WithCancel(ctx)
	_, err := storage.Copy(done, dst, src, func(p storage.CopyProgress) {
		if p.Done > 0 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Copy: %v", err)
	}
}

func TestLeases(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	s := memory.New()
	defer s.Close()
	l, err := storage.NewLeases(ctx, s, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	acquire := func(holder string, want bool) {
		t.Helper()
		if held, err := l.Acquire(ctx, "work", holder, time.Minute); err != nil || held != want {
			t.Errorf("%s acquires: %v, %v; want %v", holder, held, err, want)
		}
	}
	acquire("a", true)
	acquire("b", false)
	now = now.Add(59 * time.Second)
	acquire("a", true) // extends its lease
	now = now.Add(59 * time.Second)
	acquire("b", false)
	now = now.Add(time.Second)
	acquire("b", true) // expired
	acquire("a", false)
	if err := l.Release(ctx, "work", "a"); err != nil { // not its own
		t.Error(err)
	}
	acquire("a", false)
	if err := l.Release(ctx, "work", "b"); err != nil {
		t.Error(err)
	}
	acquire("a", true)
	if held, err := l.Acquire(ctx, "other work", "b", time.Minute); err != nil || !held {
		t.Errorf("another lease: %v, %v", held, err)
	}
}

func TestOneOfManyAcquiresTheLease(t *testing.T) {
	s := memory.New()
	defer s.Close()
	l, err := storage.NewLeases(ctx, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	holders := 0
	for i := range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			held, err := l.Acquire(ctx, "work", fmt.Sprint(i), time.Hour)
			if err != nil {
				t.Error(err)
			}
			if held {
				mu.Lock()
				holders++
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	if holders != 1 {
		t.Errorf("%d holders have the lease, want 1", holders)
	}
}

// TestLeasesExclude lets holders compete for a lease again and again.
func TestLeasesExclude(t *testing.T) {
	s, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := storage.NewLeases(ctx, s, func() time.Time { return time.Unix(1_000_000, 0) })
	if err != nil {
		t.Fatal(err)
	}
	var inside, turns atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			holder := fmt.Sprint(i)
			for mine := 0; mine < 5; {
				held, err := l.Acquire(ctx, "work", holder, time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				if !held {
					continue
				}
				if inside.Add(1) != 1 {
					t.Error("two holders have the lease at once")
				}
				mine++
				turns.Add(1)
				inside.Add(-1)
				if err := l.Release(ctx, "work", holder); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	if turns.Load() != 40 {
		t.Errorf("%d turns, want 40", turns.Load())
	}
}

func TestBadDeclarationsPanic(t *testing.T) {
	id := func(b *book) string { return b.ID }
	for name, declare := range map[string]func(){
		"a bad name":  func() { storage.NewCollection("No Name", id) },
		"a bad owner": func() { storage.NewCollection("name", id).OwnedBy("No Owner") },
		"no owner":    func() { storage.NewCollection("name", id).OwnedBy("") },
	} {
		func() {
			defer func() {
				if err, _ := recover().(error); !errors.Is(err, storage.ErrInvalid) {
					t.Errorf("declaring a collection with %s: %v", name, err)
				}
			}()
			declare()
		}()
	}
}

func TestJoinSortsAsItsParts(t *testing.T) {
	for _, c := range [][2]string{
		{storage.Join("a", "z"), storage.Join("ab", "a")},
		{storage.Join("a", "a"), storage.Join("a", "b")},
		{storage.TimeKey(time.Unix(1, 1e6)), storage.TimeKey(time.Unix(1, 2e6))},
		{storage.TimeKey(time.Unix(9, 0)), storage.TimeKey(time.Unix(10, 0))},
		{storage.TimeKey(time.Date(2026, 1, 1, 12, 0, 0, 0, time.FixedZone("", 7200))), storage.TimeKey(time.Date(2026, 1, 1, 11, 0, 0, 0, time.UTC))},
	} {
		if c[0] >= c[1] {
			t.Errorf("%q is not before %q", c[0], c[1])
		}
	}
}
