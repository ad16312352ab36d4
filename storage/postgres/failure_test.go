package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/postgres"
)

func TestServerStopsUnderLoad(t *testing.T) {
	for name, end := range map[string]func(*pgcluster.Server) error{
		"restarted": (*pgcluster.Server).Stop,
		"killed":    (*pgcluster.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			server := pgcluster.Start(t)
			s := open(t, server.URL())
			defer s.Close()
			l := startLedger(t, s, 8)
			for range 2 {
				l.acks(200)
				if err := end(server); err != nil {
					t.Fatal(err)
				}
				l.refusals(50)
				if err := server.Start(); err != nil {
					t.Fatal(err)
				}
				l.acks(200)
			}
			l.check()
		})
	}
}

// proxied opens a store that connects through a proxy.
func proxied(t *testing.T, opts ...postgres.Option) (*postgres.Store, *pgcluster.Proxy) {
	t.Helper()
	u := pgcluster.URL(t)
	addr := hostOf(t, u)
	proxy := pgcluster.NewProxy(t, addr)
	s := open(t, strings.Replace(u, addr, proxy.Addr(), 1), opts...)
	t.Cleanup(func() { s.Close() })
	if err := storage.Define(context.Background(), s, items); err != nil {
		t.Fatal(err)
	}
	return s, proxy
}

func hostOf(t *testing.T, url string) string {
	t.Helper()
	_, rest, _ := strings.Cut(url, "@")
	host, _, ok := strings.Cut(rest, "/")
	if !ok {
		t.Fatalf("no host in %s", url)
	}
	return host
}

func TestConnectionsCutUnderLoad(t *testing.T) {
	s, proxy := proxied(t)
	l := startLedger(t, s, 8)
	for range 10 {
		l.acks(30)
		proxy.Cut()
	}
	for range 10 {
		l.acks(30)
		proxy.LoseNextReply()
	}
	l.acks(30)
	l.check()
}

func TestUpdateIsRunAgainWhenTheConnectionBreaksBeforeCommit(t *testing.T) {
	s, proxy := proxied(t)
	runs := 0
	err := s.Update(context.Background(), func(tx storage.Tx) error {
		runs++
		if _, err := items.Get(tx, "a"); !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		if runs == 1 {
			proxy.Cut()
			_, err := items.Get(tx, "b")
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("Get on a broken connection: %v, want ErrUnavailable", err)
			}
			return errors.New("the closure makes something else of it")
		}
		return items.Insert(tx, &item{ID: "a"})
	})
	if err != nil || runs != 2 {
		t.Errorf("Update = %v after %d runs, want success at the second", err, runs)
	}
}

func TestUnknownOutcomeIsNotRepeated(t *testing.T) {
	ctx := context.Background()
	get := func(tx storage.Tx, id string) error {
		_, err := items.Get(tx, id)
		if errors.Is(err, storage.ErrNotFound) {
			err = nil
		}
		return err
	}
	// warm opens a store with one connection on which all statements are prepared, so that the next
	// exchange is that of the transaction.
	warm := func(t *testing.T) (*postgres.Store, *pgcluster.Proxy) {
		s, proxy := proxied(t, postgres.WithMaxConns(1))
		err := s.Update(ctx, func(tx storage.Tx) error {
			return errors.Join(get(tx, "other"), items.Put(tx, &item{ID: "other"}))
		})
		if err == nil {
			err = s.Update(ctx, func(tx storage.Tx) error { return items.Insert(tx, &item{ID: "another"}) })
		}
		if err == nil {
			err = s.Update(ctx, func(tx storage.Tx) error { return items.Delete(tx, "another") })
		}
		if err != nil {
			t.Fatal(err)
		}
		return s, proxy
	}
	for name, reads := range map[string]bool{"writes only": false, "reads and writes": true} {
		t.Run(name, func(t *testing.T) {
			s, proxy := warm(t)
			runs := 0
			err := s.Update(ctx, func(tx storage.Tx) error {
				runs++
				if reads {
					if err := get(tx, "a"); err != nil {
						return err
					}
				}
				proxy.LoseNextReply()
				return items.Insert(tx, &item{ID: "a"})
			})
			if !errors.Is(err, storage.ErrUnavailable) || runs != 1 {
				t.Errorf("Update = %v after %d runs, want ErrUnavailable after one", err, runs)
			}
			// The server has committed, but nobody was told.
			err = s.View(ctx, func(tx storage.Tx) error { _, err := items.Get(tx, "a"); return err })
			if err != nil {
				t.Errorf("afterwards Get = %v", err)
			}
		})
	}
	t.Run("but a commit of no writes is", func(t *testing.T) {
		s, proxy := warm(t)
		runs := 0
		err := s.Update(ctx, func(tx storage.Tx) error {
			runs++
			err := get(tx, "other")
			if runs == 1 {
				proxy.LoseNextReply()
			}
			return err
		})
		if err != nil || runs != 2 {
			t.Errorf("Update = %v after %d runs, want success at the second", err, runs)
		}
	})
}

func TestViewTakesAnotherConnectionBeforeItHasRead(t *testing.T) {
	s, proxy := proxied(t)
	ctx := context.Background()
	if err := s.Update(ctx, func(tx storage.Tx) error { return items.Insert(tx, &item{ID: "a"}) }); err != nil {
		t.Fatal(err)
	}
	runs := 0
	proxy.Cut()
	err := s.View(ctx, func(tx storage.Tx) error {
		runs++
		_, err := items.Get(tx, "a")
		return err
	})
	if err != nil || runs != 1 {
		t.Errorf("View = %v after %d runs, want success at the first", err, runs)
	}
	err = s.View(ctx, func(tx storage.Tx) error {
		runs++
		if _, err := items.Get(tx, "a"); err != nil {
			return err
		}
		proxy.Cut()
		_, err := items.Get(tx, "b")
		return err
	})
	if !errors.Is(err, storage.ErrUnavailable) || runs != 2 {
		t.Errorf("View = %v after %d runs, want ErrUnavailable after one", err, runs-1)
	}
}

// TestConnectionsToAStandbyAreDropped turns the server into a standby, which accepts no writes.
func TestConnectionsToAStandbyAreDropped(t *testing.T) {
	server := pgcluster.Start(t, "fsync=off")
	s := open(t, server.URL())
	defer s.Close()
	ctx := context.Background()
	l := startLedger(t, s, 4)
	l.acks(50)
	admin, err := pgx.Connect(ctx, server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	set := func(value string) {
		t.Helper()
		for _, sql := range []string{"ALTER SYSTEM SET default_transaction_read_only = " + value, "SELECT pg_reload_conf()"} {
			if _, err := admin.Exec(ctx, sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	set("on")
	l.refusals(20)
	set("off")
	l.acks(50)
	l.check()
}

// TestCommitThatReachedNoStandbyIsNotAcknowledged makes PostgreSQL stop waiting for the standby
// servers: it then reports success, and a warning.
func TestCommitThatReachedNoStandbyIsNotAcknowledged(t *testing.T) {
	server := pgcluster.Start(t, "fsync=off")
	s := open(t, server.URL())
	defer s.Close()
	ctx := context.Background()
	if err := storage.Define(ctx, s, items); err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(ctx, server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	for _, sql := range []string{"ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()"} {
		if _, err := admin.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error)
	go func() {
		// The server doesn't apply the setting at once: some commits may come first.
		for n := 0; ; n++ {
			err := s.Update(ctx, func(tx storage.Tx) error { return items.Put(tx, &item{ID: "a"}) })
			if err != nil || n == 10_000 {
				done <- err
				return
			}
		}
	}()
	for cancelled := 0; cancelled == 0; {
		err := admin.QueryRow(ctx, "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity, pg_sleep(0.01) WHERE wait_event = 'SyncRep'").Scan(&cancelled)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "canceling wait for synchronous replication") {
		t.Errorf("Update = %v, want ErrUnavailable with the server's warning", err)
	}
}

func TestUnreachable(t *testing.T) {
	_, err := postgres.Open(context.Background(), "postgres://postgres@127.0.0.1:1/postgres?sslmode=disable")
	if !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Open = %v, want ErrUnavailable", err)
	}
}

func TestStatementTimeout(t *testing.T) {
	u := pgcluster.URL(t)
	s := open(t, u, postgres.WithTimeout(time.Second)) // a third of it to connect
	defer s.Close()
	ctx := context.Background()
	if err := storage.Define(ctx, s, items); err != nil {
		t.Fatal(err)
	}
	other, err := pgx.Connect(ctx, plain(t, u))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(ctx)
	if _, err := other.Exec(ctx, "BEGIN; LOCK TABLE "+schemaOf(t, u)+".items"); err != nil {
		t.Fatal(err)
	}
	put := func(tx storage.Tx) error { return items.Put(tx, &item{ID: "a"}) }
	if err := s.Update(ctx, put); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Update while another holds the table = %v, want ErrUnavailable", err)
	}
	err = s.View(ctx, func(tx storage.Tx) error { _, err := items.Get(tx, "a"); return err })
	if !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("View while another holds the table = %v, want ErrUnavailable", err)
	}
	soon, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	err = s.View(soon, func(tx storage.Tx) error { _, err := items.Get(tx, "a"); return err })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("View with a context that ends = %v, want its error", err)
	}
	if _, err := other.Exec(ctx, "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(ctx, put); err != nil {
		t.Errorf("Update afterwards = %v", err)
	}
}

func TestPoolIsBounded(t *testing.T) {
	s := open(t, pgcluster.URL(t), postgres.WithMaxConns(1), postgres.WithTimeout(time.Second))
	defer s.Close()
	ctx := context.Background()
	if err := storage.Define(ctx, s, items); err != nil {
		t.Fatal(err)
	}
	get := func(tx storage.Tx) error { _, err := items.Get(tx, "a"); return err }
	err := s.View(ctx, func(tx storage.Tx) error {
		if err := get(tx); !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		second := make(chan error) // there is no second connection
		go func() { second <- s.View(ctx, get) }()
		return <-second
	})
	if !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("View = %v, want ErrUnavailable", err)
	}
	if got := s.Stats(); got.MaxConns != 1 || got.Conns > 1 {
		t.Errorf("Stats = %+v", got)
	}
}
