package storagetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Backend opens the stores of the backend under test.
type Backend struct {
	// Open returns a new, empty store. The suite closes it.
	Open func(t *testing.T) storage.Store
	// Reopen closes a store that Open has returned, and opens it again, as a restarted program
	// does. If it is nil, the suite doesn't test durability.
	Reopen func(t *testing.T, s storage.Store) storage.Store
	// Another opens a second store of the same data, as another process does. The suite closes it.
	// It is nil if only one process at a time can open the data.
	Another func(t *testing.T, s storage.Store) storage.Store
	// Concurrent says that an Update can read, write and return while the closure of another waits
	// that has read the same and not yet written. If it is false, the suite doesn't interleave
	// Updates, which a backend that runs one after the other would wait for in vain.
	Concurrent bool
}

// Run runs the suite. Each part is a subtest with a store of its own.
func Run(t *testing.T, b Backend) {
	for _, part := range []struct {
		name string
		test func(*testing.T, *fixture)
	}{
		{"Documents", testDocuments},
		{"Keys", testKeys},
		{"InvalidCalls", testInvalidCalls},
		{"DocumentRules", testDocumentRules},
		{"UniqueIndexes", testUniqueIndexes},
		{"ConflictsDoom", testConflictsDoom},
		{"AnyErrorDooms", testAnyErrorDooms},
		{"UniqueValuesMoveWithinATransaction", testUniqueMoves},
		{"IndexEntriesAreReplaced", testEntriesReplaced},
		{"MultiIndexes", testMultiIndexes},
		{"ScanOrder", testScanOrder},
		{"ScanBounds", testScanBounds},
		{"ScanCursors", testScanCursors},
		{"ScanSeesOwnWrites", testScanOwnWrites},
		{"ScanWhileWriting", testScanWhileWriting},
		{"ScanKeepsValues", testScanKeepsValues},
		{"ScansAtOnce", testScansAtOnce},
		{"ScanContext", testScanContext},
		{"LargeScan", testLargeScan},
		{"KeptDocuments", testKeptDocuments},
		{"ReadYourWrites", testReadYourWrites},
		{"RollbackOnError", testRollbackOnError},
		{"RollbackOnPanic", testRollbackOnPanic},
		{"ReadOnly", testReadOnly},
		{"ClosedTransaction", testClosedTx},
		{"ClosedStore", testClosedStore},
		{"CloseWaitsForViews", testCloseWaitsForViews},
		{"CloseWaitsForUpdates", testCloseWaitsForUpdates},
		{"Context", testContext},
		{"NestedCallsFailAtOnce", testNested},
		{"NestedCallsLeaveNothingBehind", testNestedFails},
		{"DifferentStoresNest", testStoresNest},
		{"NestedCallsOfOtherGoroutines", testNestedElsewhere},
		{"Define", testDefine},
		{"DefineIsSafeForManyCallers", testDefineConcurrently},
		{"Owners", testOwners},
		{"Purge", testPurge},
		{"PurgeFunc", testPurgeFunc},
		{"Under", testUnder},
		{"Decide", testDecide},
		{"Ping", testPing},
		{"Rebuild", testRebuild},
		{"Prefetch", testPrefetch},
		{"ViewOf", testViewOf},
		{"ViewOfIsASnapshot", testViewOfIsASnapshot},
		{"KeysOnly", testKeysOnly},
		{"Collections", testCollections},
		{"CollectionVersions", testVersions},
		{"Pages", testPages},
		{"SnapshotIsolation", testSnapshot},
		{"LostUpdate", testLostUpdate},
		{"WriteSkew", testWriteSkew},
		{"Skew", testSkew},
		{"Cycle", testCycle},
		{"InterleavedWrites", testInterleavedWrites},
		{"ManyDocuments", testManyDocuments},
		{"History", testHistory},
		{"UniquePhantom", testUniquePhantom},
		{"ConcurrentIncrements", testIncrements},
		{"FailuresCostNeighboursNothing", testNeighbours},
		{"ViewSeesReturnedUpdates", testViewSeesUpdates},
		{"Model", testModel},
		{"Durability", testDurability},
	} {
		t.Run(part.name, func(t *testing.T) {
			f := &fixture{t: t, backend: b, Store: b.Open(t), ctx: context.Background()}
			t.Cleanup(func() {
				if err := f.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			part.test(t, f)
		})
	}
}

// things is the table that most parts use.
var things = storage.Table{Name: "things", Indexes: []storage.Index{
	{Name: "name", Unique: true},
	{Name: "kind"},
	{Name: "tags", Multi: true},
	{Name: "aliases", Unique: true, Multi: true},
}}

type fixture struct {
	storage.Store
	t       *testing.T
	backend Backend
	ctx     context.Context
}

func (f *fixture) define(tables ...storage.Table) {
	f.t.Helper()
	if err := f.Define(f.ctx, tables...); err != nil {
		f.t.Fatalf("Define: %v", err)
	}
}

func (f *fixture) update(fn func(storage.Tx) error) {
	f.t.Helper()
	if err := f.Update(f.ctx, fn); err != nil {
		f.t.Fatalf("Update: %v", err)
	}
}

func (f *fixture) view(fn func(storage.Tx) error) {
	f.t.Helper()
	if err := f.View(f.ctx, fn); err != nil {
		f.t.Fatalf("View: %v", err)
	}
}

// put writes documents to the table things.
func (f *fixture) put(docs ...storage.Document) {
	f.t.Helper()
	f.update(func(tx storage.Tx) error {
		for _, d := range docs {
			if err := tx.Put("things", d); err != nil {
				return err
			}
		}
		return nil
	})
}

// doc returns a document with index entries, given as "index=value".
func doc(key, body string, entries ...string) storage.Document {
	d := storage.Document{Key: key, Value: []byte(body)}
	for _, e := range entries {
		index, value, _ := strings.Cut(e, "=")
		d.Entries = append(d.Entries, storage.Entry{Index: index, Value: value})
	}
	return d
}

// same checks that two texts are the same JSON, however a backend formats it.
func same(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Errorf("document %q: %v", got, err)
		return
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%q: %v", want, err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("document is %s, want %s", got, want)
	}
}

// keys returns the keys of a scan of things.
func keys(tx storage.Tx, r storage.Range) ([]string, error) {
	var out []string
	for rec, err := range tx.Scan("things", r) {
		if err != nil {
			return nil, err
		}
		out = append(out, rec.Key)
	}
	return out, nil
}

// wantKeys checks the keys of a scan of things, which are given as one string, separated by spaces.
func wantKeys(t *testing.T, tx storage.Tx, r storage.Range, want string) {
	t.Helper()
	got, err := keys(tx, r)
	if err != nil {
		t.Errorf("Scan(%+v): %v", r, err)
	} else if strings.Join(got, " ") != want {
		t.Errorf("Scan(%+v) = %q, want %q", r, strings.Join(got, " "), want)
	}
}

// wantConflict checks that an error is a conflict in a table and an index.
func wantConflict(t *testing.T, err error, table, index string) {
	t.Helper()
	var c *storage.ConflictError
	switch {
	case !errors.As(err, &c):
		t.Errorf("error is %v, want a conflict", err)
	case c.Table != table || c.Index != index:
		t.Errorf("conflict in table %q, index %q; want %q, %q", c.Table, c.Index, table, index)
	case !errors.Is(err, storage.ErrConflict):
		t.Errorf("%v is not ErrConflict", err)
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error is %v, want %v", what, err, want)
	}
}

func number(n int) string { return fmt.Sprintf("%06d", n) }
