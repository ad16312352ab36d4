package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/postgres"
)

// TestOpenAndDefineAtOnce starts several processes on an empty database at the same time.
func TestOpenAndDefineAtOnce(t *testing.T) {
	ctx := context.Background()
	for range 3 {
		u := pgcluster.URL(t)
		stores := make([]*postgres.Store, 8)
		var wg sync.WaitGroup
		for i := range stores {
			wg.Add(1)
			go func() {
				defer wg.Done()
				var err error
				if stores[i], err = postgres.Open(ctx, u); err != nil {
					t.Error(err)
					return
				}
				own := storage.Table{Name: fmt.Sprintf("own%d", i%3), Indexes: []storage.Index{{Name: "a"}, {Name: fmt.Sprintf("b%d", i), Multi: true}}}
				if err := stores[i].Define(ctx, items.Table(), own); err != nil {
					t.Error(err)
				}
			}()
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		for _, s := range stores {
			tables, err := s.Tables(ctx)
			if err != nil || len(tables) != 4 || len(tables[1].Indexes) != 4 {
				t.Errorf("Tables = %v, %v", tables, err)
			}
			s.Close()
		}
	}
}

// TestIndexesOfAnotherProcess defines an index in one process and uses it in another.
func TestIndexesOfAnotherProcess(t *testing.T) {
	ctx, u := context.Background(), pgcluster.URL(t)
	a, b := open(t, u), open(t, u)
	defer a.Close()
	defer b.Close()
	for _, s := range []*postgres.Store{a, b} {
		if err := s.Define(ctx, storage.Table{Name: "docs", Indexes: []storage.Index{{Name: "x"}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Define(ctx, storage.Table{Name: "docs", Indexes: []storage.Index{{Name: "y", Unique: true}}}); err != nil {
		t.Fatal(err)
	}
	if err := b.Define(ctx, storage.Table{Name: "docs", Indexes: []storage.Index{{Name: "y"}}}); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("Define of another kind of index = %v, want ErrInvalid", err)
	}
	if err := b.Define(ctx, storage.Table{Name: "docs", Indexes: []storage.Index{{Name: "y", Unique: true}, {Name: "z"}}}); err != nil {
		t.Fatal(err)
	}
	put := func(s storage.Store, key string) error {
		return s.Update(ctx, func(tx storage.Tx) error {
			return tx.Put("docs", storage.Document{Key: key, Value: []byte(`{}`), Entries: []storage.Entry{{Index: "y", Value: "same"}}})
		})
	}
	if err := put(a, "1"); err != nil {
		t.Fatal(err)
	}
	var conflict *storage.ConflictError
	if err := put(b, "2"); !errors.As(err, &conflict) || conflict.Index != "y" {
		t.Errorf("Put of a taken value = %v", err)
	}
}

// TestOwnersOfAnotherProcess defines tables in processes that don't know their owners yet.
func TestOwnersOfAnotherProcess(t *testing.T) {
	ctx, u := context.Background(), pgcluster.URL(t)
	a, b := open(t, u), open(t, u)
	defer a.Close()
	defer b.Close()
	if err := a.Define(ctx, storage.Table{Name: "docs", Owner: "a"}, storage.Table{Name: "open"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Define(ctx, storage.Table{Name: "docs", Owner: "b"}); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("Define of another's table = %v, want ErrInvalid", err)
	}
	if err := b.Define(ctx, storage.Table{Name: "open", Owner: "b"}); err != nil {
		t.Fatal(err)
	}
	if err := a.Define(ctx, storage.Table{Name: "open", Owner: "a"}); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("Define of a table that another has adopted = %v, want ErrInvalid", err)
	}
	for _, s := range []*postgres.Store{a, b} {
		if err := s.Update(ctx, func(tx storage.Tx) error { return tx.Delete("docs", "nothing") }); err != nil {
			t.Error(err)
		}
	}
}

// TestIndexesAddedBesideARunningProcess writes and deletes documents in a process that doesn't know
// of an index yet: no entries of it must be left.
func TestIndexesAddedBesideARunningProcess(t *testing.T) {
	ctx, u := context.Background(), pgcluster.URL(t)
	before := storage.Table{Name: "things", Indexes: []storage.Index{{Name: "x"}}}
	after := storage.Table{Name: "things", Indexes: []storage.Index{
		{Name: "x"}, {Name: "single"}, {Name: "alone", Unique: true}, {Name: "many", Multi: true}, {Name: "manyalone", Unique: true, Multi: true},
	}}
	fresh, stale := open(t, u), open(t, u)
	defer fresh.Close()
	defer stale.Close()
	for _, s := range []*postgres.Store{fresh, stale} {
		if err := s.Define(ctx, before); err != nil {
			t.Fatal(err)
		}
	}
	if err := fresh.Define(ctx, after); err != nil {
		t.Fatal(err)
	}
	put := func(s *postgres.Store, key string, indexes ...string) {
		t.Helper()
		d := storage.Document{Key: key, Value: []byte(`{}`)}
		for _, ix := range indexes {
			d.Entries = append(d.Entries, storage.Entry{Index: ix, Value: "v"})
		}
		if err := s.Update(ctx, func(tx storage.Tx) error { return tx.Put("things", d) }); err != nil {
			t.Errorf("putting %s: %v", key, err)
		}
	}
	count := func(index string) (n int) {
		t.Helper()
		err := fresh.View(ctx, func(tx storage.Tx) error {
			n = 0
			for _, err := range tx.Scan("things", storage.Range{Index: index}) {
				if err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	all := []string{"alone", "many", "manyalone", "single", "x"}
	put(fresh, "one", all...)
	put(stale, "one", "x")
	for _, index := range []string{"alone", "many", "manyalone", "single"} {
		if n := count(index); n != 0 {
			t.Errorf("index %s still holds %d of what was written without it", index, n)
		}
	}
	put(fresh, "two", all...)
	another := open(t, u)
	defer another.Close()
	if err := fresh.Define(ctx, storage.Table{Name: "things", Indexes: append(slices.Clone(after.Indexes), storage.Index{Name: "later", Multi: true})}); err != nil {
		t.Fatal(err)
	}
	put(fresh, "two", append(all, "later")...)
	for _, s := range []*postgres.Store{stale, another} {
		err := s.Update(ctx, func(tx storage.Tx) error { // also after a read
			if _, err := tx.Get("things", "two"); err != nil && s == stale {
				return err
			}
			return tx.Delete("things", "two")
		})
		if err != nil {
			t.Error(err)
		}
	}
	if n := count("later"); n != 0 {
		t.Errorf("index later still holds %d of what was deleted", n)
	}
	put(fresh, "three", all...)
	if problems, err := storage.Check(ctx, fresh); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestNames(t *testing.T) {
	ctx, u := context.Background(), pgcluster.URL(t)
	s := open(t, u)
	defer s.Close()
	long := strings.Repeat("long_", 8)
	table := storage.Table{Name: long, Indexes: []storage.Index{
		{Name: long, Unique: true}, {Name: long[:39], Multi: true}, {Name: long[:38], Multi: true, Unique: true}, {Name: long[:37]},
		{Name: "xmin"}, {Name: "ctid", Unique: true}, {Name: "order"}, {Name: "user", Multi: true}, {Name: "value"},
	}}
	if err := s.Define(ctx, table, storage.Table{Name: "select"}); err != nil {
		t.Fatal(err)
	}
	doc := storage.Document{Key: "k", Value: []byte(`{}`)}
	for _, ix := range table.Indexes {
		doc.Entries = append(doc.Entries, storage.Entry{Index: ix.Name, Value: "v"})
	}
	put := func(key string) error {
		return s.Update(ctx, func(tx storage.Tx) error {
			d := doc
			d.Key = key
			return tx.Put(long, d)
		})
	}
	if err := put("k"); err != nil {
		t.Fatal(err)
	}
	if err := put("other"); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Put of taken values = %v", err)
	}
	err := s.View(ctx, func(tx storage.Tx) error {
		for _, ix := range table.Indexes {
			n := 0
			for rec, err := range tx.Scan(long, storage.Range{Index: ix.Name, Entries: true}) {
				if err != nil {
					return err
				}
				if n++; len(rec.Entries) != len(table.Indexes) {
					t.Errorf("entries are %v", rec.Entries)
				}
			}
			if n != 1 {
				t.Errorf("index %s holds %d documents", ix.Name, n)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"Upper", "a-b", "1a", "", strings.Repeat("x", 64), `a"b`} {
		if _, err := postgres.Open(ctx, plain(t, u), postgres.WithSchema(bad)); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("schema %q: %v, want ErrInvalid", bad, err)
		}
	}
}

// TestOperatorsSQL reads documents in SQL, as operators and applications do.
func TestOperatorsSQL(t *testing.T) {
	ctx, u := context.Background(), pgcluster.URL(t)
	s := open(t, u)
	defer s.Close()
	if err := storage.Define(ctx, s, items); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(ctx, func(tx storage.Tx) error { return items.Insert(tx, itemNo(7)) }); err != nil {
		t.Fatal(err)
	}
	db, err := pgx.Connect(ctx, plain(t, u))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx)
	var key, owner, note string
	err = db.QueryRow(ctx, "SELECT key, owner, doc->>'note' FROM "+schemaOf(t, u)+".items WHERE owner = 'owner000007'").Scan(&key, &owner, &note)
	if err != nil || key != "id000007" || note != itemNo(7).Note {
		t.Errorf("SELECT: %s, %s, %s, %v", key, owner, note, err)
	}
}

// TestRoleWithoutRightsToCreate uses a schema that another role has created.
func TestRoleWithoutRightsToCreate(t *testing.T) {
	server := pgcluster.Start(t, "fsync=off")
	ctx := context.Background()
	owner := open(t, server.URL())
	defer owner.Close()
	if err := storage.Define(ctx, owner, items); err != nil {
		t.Fatal(err)
	}
	db, err := pgx.Connect(ctx, server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx)
	for _, sql := range []string{
		"CREATE ROLE worker LOGIN",
		"GRANT USAGE ON SCHEMA gatehouse TO worker",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA gatehouse TO worker",
	} {
		if _, err := db.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, strings.Replace(server.URL(), "postgres@", "worker@", 1))
	defer s.Close()
	if err := storage.Define(ctx, s, items); err != nil {
		t.Errorf("Define of what is there: %v", err)
	}
	if err := s.Update(ctx, func(tx storage.Tx) error { return items.Insert(tx, itemNo(1)) }); err != nil {
		t.Error(err)
	}
	if err := s.Define(ctx, storage.Table{Name: "more"}); err == nil {
		t.Error("Define of a new table succeeded")
	}
}

func TestNewerLayoutIsRefused(t *testing.T) {
	ctx, u := context.Background(), pgcluster.URL(t)
	open(t, u).Close()
	db, err := pgx.Connect(ctx, plain(t, u))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx)
	if _, err := db.Exec(ctx, "UPDATE "+schemaOf(t, u)+"._meta SET value = '999'"); err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Open(ctx, u); err == nil || !strings.Contains(err.Error(), "version 999") {
		t.Errorf("Open = %v, want an error about the version", err)
	}
}

// TestOlderLayoutIsUpgraded opens a schema of the first layout, which had no version of the
// definitions.
func TestOlderLayoutIsUpgraded(t *testing.T) {
	ctx, u := context.Background(), pgcluster.URL(t)
	s := open(t, u)
	if err := s.Define(ctx, items.Table()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	db, err := pgx.Connect(ctx, plain(t, u))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx)
	meta := schemaOf(t, u) + "._meta"
	for _, sql := range []string{"DELETE FROM " + meta + " WHERE name = 'tables'", "UPDATE " + meta + " SET value = '1' WHERE name = 'layout'"} {
		if _, err := db.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, u)
	defer s.Close()
	err = s.Update(ctx, func(tx storage.Tx) error { return tx.Delete(items.Table().Name, "nothing") })
	if tables, terr := s.Tables(ctx); err != nil || terr != nil || len(tables) != 1 {
		t.Errorf("%v; %v, %v", err, tables, terr)
	}
	var layout string
	if err := db.QueryRow(ctx, "SELECT value FROM "+meta+" WHERE name = 'layout'").Scan(&layout); err != nil || layout != "3" {
		t.Errorf("the layout is %s, %v", layout, err)
	}
}

// TestOlderProgramsStopWriting upgrades a schema while a program of the layout before uses it: its
// Updates are SERIALIZABLE and take no locks.
func TestOlderProgramsStopWriting(t *testing.T) {
	ctx, u := context.Background(), pgcluster.URL(t)
	s := open(t, u)
	if err := s.Define(ctx, items.Table(), storage.Table{Name: "others"}); err != nil {
		t.Fatal(err)
	}
	err := s.Update(ctx, func(tx storage.Tx) error {
		for i := range 200 { // enough for PostgreSQL to think of an index
			if err := items.Insert(tx, itemNo(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	in := schemaOf(t, u) + "."
	connect := func() *pgx.Conn {
		c, err := pgx.Connect(ctx, plain(t, u))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(ctx) })
		return c
	}
	exec := func(c *pgx.Conn, sql string) error { _, err := c.Exec(ctx, sql); return err }
	must := func(c *pgx.Conn, sql string) {
		t.Helper()
		if err := exec(c, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	admin := connect()
	must(admin, "UPDATE "+in+"_meta SET name = 'definitions' WHERE name = 'tables'; UPDATE "+in+"_meta SET value = '2' WHERE name = 'layout'")
	const begin = "BEGIN ISOLATION LEVEL SERIALIZABLE"
	var version string
	if err := admin.QueryRow(ctx, "SELECT value FROM "+in+"_meta WHERE name = 'definitions'").Scan(&version); err != nil {
		t.Fatal(err)
	}
	check := "SELECT 1 / count(*) FROM " + in + "_meta WHERE name = 'definitions' AND value = '" + version + "'"

	// Updates that have begun before the upgrade, and have read or not.
	for _, write := range []string{
		"UPDATE " + in + "items SET doc = '{}' WHERE key = 'id000001'",
		"INSERT INTO " + in + "items (key, doc) VALUES ('x', '{}')",
		"INSERT INTO " + in + "others (key, doc) VALUES ('x', '{}')",
		"DELETE FROM " + in + "items",
	} {
		must(admin, "UPDATE "+in+"_meta SET value = '"+version+"' WHERE name = 'definitions'; UPDATE "+in+"_meta SET value = '2' WHERE name = 'layout'; DELETE FROM "+in+"_meta WHERE name = 'tables'")
		old := connect()
		must(old, begin)
		must(old, check)
		must(old, "SELECT doc FROM "+in+"items WHERE key = 'id000001'")
		open(t, u).Close()
		err = exec(old, write)
		if err == nil {
			err = exec(old, "COMMIT")
		}
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "40001" {
			t.Errorf("%s by an Update that has begun before the upgrade: %v, want a serialization failure", write, err)
		}
	}
	// Updates that begin later.
	old := connect()
	must(old, begin)
	if err := exec(old, check); err == nil {
		t.Error("an older program can still begin an Update")
	}
	must(old, "ROLLBACK")
	// It asks for the version then, which it expects to be a number.
	if err := old.QueryRow(ctx, "SELECT value FROM "+in+"_meta WHERE name = 'definitions'").Scan(&version); err != nil || !strings.Contains(version, "newer program") {
		t.Errorf("the version for older programs is %q, %v", version, err)
	}
	s = open(t, u)
	defer s.Close()
	if tables, err := s.Tables(ctx); err != nil || len(tables) != 2 {
		t.Errorf("Tables = %v, %v", tables, err)
	}
	if err := s.Update(ctx, func(tx storage.Tx) error { return items.Put(tx, itemNo(1)) }); err != nil {
		t.Error(err)
	}
}
