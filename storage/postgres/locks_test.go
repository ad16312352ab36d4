package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/postgres"
)

// parts is a table with every kind of index, and gate holds a document that lets a commit wait.
var (
	parts = storage.Table{Name: "parts", Indexes: []storage.Index{
		{Name: "name", Unique: true}, {Name: "kind"}, {Name: "tags", Multi: true}, {Name: "aliases", Unique: true, Multi: true},
	}}
	gate = storage.Table{Name: "gate"}
)

func part(key, body string, entries ...string) storage.Document {
	d := storage.Document{Key: key, Value: []byte(body)}
	for _, e := range entries {
		index, value, _ := strings.Cut(e, "=")
		d.Entries = append(d.Entries, storage.Entry{Index: index, Value: value})
	}
	return d
}

// TestCommitsOfWhatOthersRelyOnWait lets two Updates each look at what the other writes. The second
// commits while the first has checked what it read, and has not committed yet.
func TestCommitsOfWhatOthersRelyOnWait(t *testing.T) {
	ctx, u := context.Background(), pgcluster.URL(t)
	first, second := open(t, u), open(t, u)
	for _, s := range []*postgres.Store{first, second} {
		defer s.Close()
		if err := s.Define(ctx, parts, gate); err != nil {
			t.Fatal(err)
		}
	}
	holder, err := pgx.Connect(ctx, plain(t, u))
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close(ctx)
	watcher, err := pgx.Connect(ctx, plain(t, u))
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close(ctx)

	gone := func(_ []byte, err error) error {
		switch {
		case err == nil:
			return errRefused
		case errors.Is(err, storage.ErrNotFound):
			return nil
		}
		return err
	}
	one := func(doc []byte, err error) error {
		if err == nil && !strings.Contains(string(doc), "1") {
			return errRefused
		}
		return err
	}
	scan := func(tx storage.Tx, r storage.Range, want int) error {
		n := 0
		for rec, err := range tx.Scan("parts", r) {
			if err != nil {
				return err
			}
			if n++; rec.Value != nil && strings.Contains(string(rec.Value), "2") {
				return errRefused
			}
		}
		if n != want {
			return errRefused
		}
		return nil
	}
	for _, c := range []struct {
		name  string
		look  func(tx storage.Tx, side string) error
		touch func(tx storage.Tx, side string) error
	}{
		{"a document that is replaced",
			func(tx storage.Tx, side string) error { return one(tx.Get("parts", "old "+side)) },
			func(tx storage.Tx, side string) error {
				return tx.Put("parts", part("old "+side, `{"n":2}`, "name="+side, "kind="+side+" m", "tags="+side))
			}},
		{"a document by its value",
			func(tx storage.Tx, side string) error { return one(tx.GetBy("parts", "name", side)) },
			func(tx storage.Tx, side string) error {
				return tx.Put("parts", part("old "+side, `{"n":2}`, "name="+side))
			}},
		{"a document that is deleted",
			func(tx storage.Tx, side string) error {
				if err := gone(tx.Get("parts", "old "+side)); !errors.Is(err, errRefused) {
					return errors.Join(err, errRefused)
				}
				return nil
			},
			func(tx storage.Tx, side string) error { return tx.Delete("parts", "old "+side) }},
		{"an absent key",
			func(tx storage.Tx, side string) error { return gone(tx.Get("parts", "new "+side)) },
			func(tx storage.Tx, side string) error { return tx.Insert("parts", part("new "+side, `{}`)) }},
		{"an absent value",
			func(tx storage.Tx, side string) error { return gone(tx.GetBy("parts", "name", "new "+side)) },
			func(tx storage.Tx, side string) error {
				return tx.Insert("parts", part("x"+side, `{}`, "name=new "+side))
			}},
		{"an absent value of several",
			func(tx storage.Tx, side string) error { return gone(tx.GetBy("parts", "aliases", "new "+side)) },
			func(tx storage.Tx, side string) error {
				return tx.Put("parts", part("x"+side, `{}`, "aliases=a"+side, "aliases=new "+side))
			}},
		{"a range within a granule, into which a document comes",
			func(tx storage.Tx, side string) error { return scan(tx, storage.Under("kind", side), 1) },
			func(tx storage.Tx, side string) error {
				return tx.Insert("parts", part("x"+side, `{}`, "kind="+side+" x"))
			}},
		{"a range within a granule, from which a document goes",
			func(tx storage.Tx, side string) error { return scan(tx, storage.Under("kind", side), 1) },
			func(tx storage.Tx, side string) error {
				return tx.Put("parts", part("old "+side, `{"n":1}`, "kind=elsewhere"))
			}},
		{"a range of one value",
			func(tx storage.Tx, side string) error { return scan(tx, storage.Exactly("tags", side), 1) },
			func(tx storage.Tx, side string) error {
				return tx.Insert("parts", part("x"+side, `{}`, "tags=a", "tags="+side))
			}},
		{"a range whose documents change",
			func(tx storage.Tx, side string) error { return scan(tx, storage.Under("kind", side), 1) },
			func(tx storage.Tx, side string) error {
				return tx.Put("parts", part("old "+side, `{"n":2}`, "kind="+side+" m"))
			}},
		{"a range of keys only",
			func(tx storage.Tx, side string) error {
				r := storage.Under("", side)
				r.KeysOnly = true
				return scan(tx, r, 1)
			},
			func(tx storage.Tx, side string) error { return tx.Insert("parts", part(side+" new", `{}`)) }},
		{"a range beyond a granule",
			func(tx storage.Tx, side string) error { return scan(tx, storage.Range{Index: "kind", Prefix: side}, 1) },
			func(tx storage.Tx, side string) error {
				return tx.Insert("parts", part("x"+side, `{}`, "kind="+side+"x"))
			}},
		{"more documents than are locked one by one",
			func(tx storage.Tx, side string) error {
				for i := range 100 {
					if err := gone(tx.Get("parts", fmt.Sprintf("%s%d", side, i))); err != nil {
						return err
					}
				}
				return nil
			},
			func(tx storage.Tx, side string) error { return tx.Insert("parts", part(side+"77", `{}`)) }},
		{"one of many documents",
			func(tx storage.Tx, side string) error { return gone(tx.Get("parts", side+"77")) },
			func(tx storage.Tx, side string) error {
				for i := range 100 {
					if err := tx.Put("parts", part(fmt.Sprintf("%s%d", side, i), `{}`)); err != nil {
						return err
					}
				}
				return nil
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := first.Update(ctx, func(tx storage.Tx) error {
				var keys []string
				for rec, err := range tx.Scan("parts", storage.Range{}) {
					if err != nil {
						return err
					}
					keys = append(keys, rec.Key)
				}
				for _, k := range keys {
					if err := tx.Delete("parts", k); err != nil {
						return err
					}
				}
				return errors.Join(tx.Put("gate", part("g", `{}`)), tx.Put("parts", part("l old", `{}`)), tx.Put("parts", part("r old", `{}`)),
					tx.Put("parts", part("old l", `{"n":1}`, "name=l", "kind=l m", "tags=l")),
					tx.Put("parts", part("old r", `{"n":1}`, "name=r", "kind=r m", "tags=r")))
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := holder.Exec(ctx, "BEGIN; SELECT FROM "+schemaOf(t, u)+".gate FOR UPDATE"); err != nil {
				t.Fatal(err)
			}
			firstDone, secondDone := make(chan error, 1), make(chan error, 1)
			go func() {
				firstDone <- first.Update(ctx, func(tx storage.Tx) error {
					if err := c.look(tx, "l"); err != nil {
						return err
					}
					return errors.Join(c.touch(tx, "r"), tx.Put("gate", part("g", `{"open":true}`)))
				})
			}()
			// waiting waits until a statement waits for a lock, or an Update has ended.
			waiting := func(event string, done chan error) {
				for n := 0; n == 0 && len(done) == 0; {
					err := watcher.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND (wait_event = 'advisory') = $1", event == "advisory").Scan(&n)
					if err != nil {
						t.Error(err)
						return
					}
				}
			}
			waiting("row", firstDone)
			go func() {
				secondDone <- second.Update(ctx, func(tx storage.Tx) error {
					if err := c.look(tx, "r"); err != nil {
						return err
					}
					return c.touch(tx, "l")
				})
			}()
			waiting("advisory", secondDone)
			if _, err := holder.Exec(ctx, "COMMIT"); err != nil {
				t.Fatal(err)
			}
			if err := <-firstDone; err != nil {
				t.Errorf("the first Update: %v", err)
			}
			if err := <-secondDone; !errors.Is(err, errRefused) {
				t.Errorf("the second Update: %v, want that it sees the first", err)
			}
		})
	}
}

// TestNeighboursDontFailEachOther writes documents that share pages of all indexes from many
// callers: none is run again.
func TestNeighboursDontFailEachOther(t *testing.T) {
	ctx, u := context.Background(), pgcluster.URL(t)
	stores := []*postgres.Store{open(t, u), open(t, u)}
	for _, s := range stores {
		defer s.Close()
		if err := storage.Define(ctx, s, users, logins); err != nil {
			t.Fatal(err)
		}
	}
	now := storage.TimeKey(time.Now())
	done := make(chan error)
	const callers, each = 16, 20
	for c := range callers {
		go func() {
			done <- func() error {
				s := stores[c%2]
				for i := range each {
					n := c*each + i
					l := &login{ID: inOrder(now, n), DID: fmt.Sprintf("did:%d", n), Created: now, Expires: fmt.Sprintf("%s %d", now, n)}
					err := s.Update(ctx, func(tx storage.Tx) error {
						name := fmt.Sprintf("u%d", n)
						if _, err := users.GetBy(tx, "handle", name); !errors.Is(err, storage.ErrNotFound) {
							return fmt.Errorf("%s is taken: %w", name, err)
						}
						if n, err := logins.All(tx, storage.Under("account", l.DID)); err != nil || len(n) > 0 {
							return fmt.Errorf("%d logins, %w", len(n), err)
						}
						return errors.Join(users.Insert(tx, &user{DID: l.DID, Handle: name, Email: name, Created: now}), logins.Insert(tx, l))
					})
					if err != nil {
						return err
					}
					err = s.Update(ctx, func(tx storage.Tx) error {
						if _, err := users.Get(tx, l.DID); err != nil {
							return err
						}
						l, err := logins.Get(tx, l.ID)
						if err != nil {
							return err
						}
						l.Token = "next"
						return logins.Put(tx, l)
					})
					if err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for _, s := range stores {
		if n := s.Stats().Retries; n > 0 {
			t.Errorf("%d transactions were run again", n)
		}
	}
}

// TestViewOfReadsOneSnapshot changes two documents between the moments in which a ViewOf reads the
// first and the second.
func TestViewOfReadsOneSnapshot(t *testing.T) {
	ctx, u := context.Background(), pgcluster.URL(t)
	s := open(t, u)
	defer s.Close()
	if err := s.Define(ctx, parts, gate); err != nil {
		t.Fatal(err)
	}
	err := s.Update(ctx, func(tx storage.Tx) error {
		return errors.Join(tx.Put("parts", part("a", `{"n":1}`)), tx.Put("gate", part("a", `{"n":1}`)))
	})
	if err != nil {
		t.Fatal(err)
	}
	refs := []storage.Ref{{Table: "parts", Value: "a"}, {Table: "gate", Value: "a"}}
	read := func() (got string, err error) {
		err = storage.ViewOf(ctx, s, refs, func(tx storage.Tx) error {
			a, err1 := tx.Get("parts", "a")
			b, err2 := tx.Get("gate", "a")
			got = string(a) + string(b)
			return errors.Join(err1, err2)
		})
		return got, err
	}
	if _, err := read(); err != nil { // prepares the statements
		t.Fatal(err)
	}
	holder, err := pgx.Connect(ctx, plain(t, u))
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close(ctx)
	in := schemaOf(t, u) + "."
	if _, err := holder.Exec(ctx, "BEGIN; LOCK TABLE "+in+"gate"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	var got string
	go func() {
		var err error
		got, err = read()
		done <- err
	}()
	for waiting := false; !waiting && len(done) == 0; {
		err := holder.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = '"+in+"gate'::regclass AND NOT granted)").Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := holder.Exec(ctx, `UPDATE `+in+`parts SET doc = '{"n":2}'; UPDATE `+in+`gate SET doc = '{"n":2}'; COMMIT`); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || got != `{"n": 1}{"n": 1}` {
		t.Errorf("a ViewOf read %s, %v; want both as they were before", got, err)
	}
}

// TestUpdatesThatReadSomethingElseEachTime fails an Update once for what another has changed. When
// it is run again it can't have locked what it reads.
func TestUpdatesThatReadSomethingElseEachTime(t *testing.T) {
	ctx := context.Background()
	s := open(t, pgcluster.URL(t))
	defer s.Close()
	if err := s.Define(ctx, parts); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func(tx storage.Tx, run int) error{
		"keys": func(tx storage.Tx, run int) error {
			_, err := tx.Get("parts", fmt.Sprintf("key %d", run))
			return err
		},
		"values": func(tx storage.Tx, run int) error {
			_, err := tx.GetBy("parts", "name", fmt.Sprintf("name%d", run))
			return err
		},
		"ranges": func(tx storage.Tx, run int) error {
			for _, err := range tx.Scan("parts", storage.Under("kind", fmt.Sprintf("kind%d", run))) {
				return err
			}
			return storage.ErrNotFound
		},
	} {
		t.Run(name, func(t *testing.T) {
			runs := 0
			err := s.Update(ctx, func(tx storage.Tx) error {
				runs++
				if _, err := tx.Get("parts", "hot"); err != nil && !errors.Is(err, storage.ErrNotFound) {
					return err
				}
				if err := read(tx, runs); !errors.Is(err, storage.ErrNotFound) {
					return err
				}
				if runs == 1 {
					done := make(chan error)
					go func() {
						done <- s.Update(ctx, func(tx storage.Tx) error { return tx.Put("parts", part("hot", `{}`)) })
					}()
					if err := <-done; err != nil {
						return err
					}
				}
				return tx.Put("parts", part("hot", `{"n":1}`))
			})
			if err != nil || runs < 2 || runs > 6 {
				t.Errorf("Update = %v after %d runs", err, runs)
			}
		})
	}
}
