package postgres_test

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/postgres"
)

type item struct {
	ID    string `json:"id"`
	Owner string `json:"owner"`
	Note  string `json:"note"`
}

var items = storage.NewCollection("items", func(i *item) string { return i.ID },
	storage.Unique("owner", func(i *item) string { return i.Owner }))

func itemNo(i int) *item {
	return &item{ID: fmt.Sprintf("id%06d", i), Owner: fmt.Sprintf("owner%06d", i), Note: "some text of the usual length"}
}

const stock = 1000

// bench calls op from as many goroutines as there are processors.
func bench(b *testing.B, op func(context.Context, storage.Store, int) error) {
	ctx := context.Background()
	s := open(b, pgcluster.URL(b))
	defer s.Close()
	if err := storage.Define(ctx, s, items); err != nil {
		b.Fatal(err)
	}
	all := make([]*item, stock)
	for i := range all {
		all[i] = itemNo(i)
	}
	insertAll(b, s, items, all)
	var next atomic.Int64
	before := s.Stats()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := op(ctx, s, int(next.Add(7))%stock); err != nil {
				b.Error(err)
				return
			}
		}
	})
	after := s.Stats()
	b.ReportMetric(float64(after.RoundTrips-before.RoundTrips)/float64(b.N), "trips/op")
	b.ReportMetric(float64(after.Retries-before.Retries)/float64(b.N), "retries/op")
}

// user and login are what a server of accounts keeps, in the same shape.
type user struct {
	DID     string `json:"did"`
	Handle  string `json:"handle"`
	Email   string `json:"email"`
	Created string `json:"created"`
}

type login struct {
	ID      string `json:"id"`
	DID     string `json:"did"`
	Created string `json:"created"`
	Expires string `json:"expires"`
	Token   string `json:"token"`
}

var (
	users = storage.NewCollection("users", func(u *user) string { return u.DID },
		storage.Unique("handle", func(u *user) string { return u.Handle }),
		storage.Unique("email", func(u *user) string { return u.Email }),
		storage.Ordered("created", func(u *user) string { return u.Created }))
	logins = storage.NewCollection("logins", func(l *login) string { return l.ID },
		storage.Ordered("account", func(l *login) string { return storage.Join(l.DID, l.Created) }),
		storage.Ordered("expires", func(l *login) string { return l.Expires }))
)

// workers is how many callers a benchmark has, whatever the number of processors.
const workers = 32

// town is a database with users who have all logged in at the same moment, and the processes that
// use it.
type town struct {
	stores []*postgres.Store
	raw    *pgxpool.Pool
	schema string
	users  []*user
	logins []*login
	next   atomic.Int64
}

func newTown(b *testing.B, processes, size int) *town {
	ctx, u := context.Background(), pgcluster.URL(b)
	t := &town{schema: schemaOf(b, u)}
	for range processes {
		s := open(b, u)
		b.Cleanup(func() { s.Close() })
		if err := storage.Define(ctx, s, users, logins); err != nil {
			b.Fatal(err)
		}
		t.stores = append(t.stores, s)
	}
	now := storage.TimeKey(time.Now())
	for i := range size {
		u := t.user(i, now)
		t.users = append(t.users, u)
		t.logins = append(t.logins, &login{ID: inOrder(now, i), DID: u.DID, Created: now, Expires: now, Token: rand.Text()})
	}
	insertAll(b, t.stores[0], logins, t.logins)
	insertAll(b, t.stores[0], users, t.users)
	cfg, err := pgxpool.ParseConfig(plain(b, u))
	if err != nil {
		b.Fatal(err)
	}
	cfg.MaxConns = int32(t.stores[0].Stats().MaxConns * processes)
	if t.raw, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(t.raw.Close)
	if _, err := t.raw.Exec(ctx, "ANALYZE "+t.schema+".users, "+t.schema+".logins"); err != nil {
		b.Fatal(err)
	}
	return t
}

func insertAll[T any](b *testing.B, s *postgres.Store, in *storage.Collection[T], all []*T) {
	for chunk := range slices.Chunk(all, 500) {
		err := s.Update(context.Background(), func(tx storage.Tx) error {
			for _, doc := range chunk {
				if err := in.Insert(tx, doc); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func (t *town) user(i int, created string) *user {
	return &user{DID: fmt.Sprintf("did:plc:%024d", i), Handle: fmt.Sprintf("user%06d.example.com", i), Email: fmt.Sprintf("user%06d@example.com", i), Created: created}
}

// inOrder returns an identifier that sorts by time, as version 7 of UUIDs.
func inOrder(now string, i int) string { return fmt.Sprintf("%s-%06d-%s", now, i, rand.Text()[:8]) }

// run calls op with one of the processes from all workers, and reports how long it takes, how often
// it is run again, and how many exchanges it needs.
func (t *town) run(b *testing.B, op func(s *postgres.Store, worker int) error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, workers)
	stats := func() (trips, retries float64) {
		for _, s := range t.stores {
			trips, retries = trips+float64(s.Stats().RoundTrips), retries+float64(s.Stats().Retries)
		}
		return trips, retries
	}
	trips, retries := stats()
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			s := t.stores[w%len(t.stores)]
			for left.Add(-1) >= 0 {
				begin := time.Now()
				if err := op(s, w); err != nil {
					b.Error(err)
					return
				}
				took[w] = append(took[w], time.Since(begin))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	if len(all) == 0 {
		return
	}
	quantile := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))].Microseconds()) }
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(quantile(0.5), "p50-µs")
	b.ReportMetric(quantile(0.99), "p99-µs")
	if after, again := stats(); after > trips {
		b.ReportMetric((after-trips)/float64(b.N), "trips/op")
		b.ReportMetric((again-retries)/float64(b.N), "retries/op")
	}
}

// login returns a copy of a random login, with a new token. No two workers get the same.
func (t *town) login(worker int) *login {
	l := *t.logins[mathrand.IntN(len(t.logins)/workers)*workers+worker]
	l.Expires, l.Token = storage.TimeKey(time.Now()), rand.Text()
	return &l
}

// BenchmarkRefresh reads a user and a login and writes the login, as refreshing a session does,
// beside a loop of the same statements.
func BenchmarkRefresh(b *testing.B) {
	ctx := context.Background()
	for _, c := range []struct {
		name            string
		processes, size int
	}{{"neighbours", 1, 200}, {"many", 1, 10_000}, {"neighbours of 3 processes", 3, 200}} {
		b.Run(c.name, func(b *testing.B) {
			t := newTown(b, c.processes, c.size)
			b.Run("store", func(b *testing.B) {
				t.run(b, func(s *postgres.Store, worker int) error {
					l := t.login(worker)
					return s.Update(ctx, func(tx storage.Tx) error {
						if err := storage.Prefetch(tx, users.Ref(l.DID), logins.Ref(l.ID)); err != nil {
							return err
						}
						if _, err := users.Get(tx, l.DID); err != nil {
							return err
						}
						if _, err := logins.Get(tx, l.ID); err != nil {
							return err
						}
						return logins.Put(tx, l)
					})
				})
			})
			b.Run("raw", func(b *testing.B) {
				t.run(b, func(_ *postgres.Store, worker int) error {
					l := t.login(worker)
					return pgx.BeginTxFunc(ctx, t.raw, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
						var doc []byte
						if err := tx.QueryRow(ctx, "SELECT doc FROM "+t.schema+".users WHERE key = $1", l.DID).Scan(&doc); err != nil {
							return err
						}
						if err := tx.QueryRow(ctx, "SELECT doc FROM "+t.schema+".logins WHERE key = $1", l.ID).Scan(&doc); err != nil {
							return err
						}
						_, err := tx.Exec(ctx, "UPDATE "+t.schema+".logins SET doc = $2, expires = $3 WHERE key = $1", l.ID, l, l.Expires)
						return err
					})
				})
			})
		})
	}
}

// BenchmarkCheck reads a user and a login, as checking a session does, beside a loop of the same
// statements.
func BenchmarkCheck(b *testing.B) {
	ctx := context.Background()
	t := newTown(b, 1, 10_000)
	read := func(tx storage.Tx, l *login) error {
		if _, err := users.Get(tx, l.DID); err != nil {
			return err
		}
		_, err := logins.Get(tx, l.ID)
		return err
	}
	b.Run("declared", func(b *testing.B) {
		t.run(b, func(s *postgres.Store, worker int) error {
			l := t.login(worker)
			return storage.ViewOf(ctx, s, []storage.Ref{users.Ref(l.DID), logins.Ref(l.ID)}, func(tx storage.Tx) error { return read(tx, l) })
		})
	})
	b.Run("view", func(b *testing.B) {
		t.run(b, func(s *postgres.Store, worker int) error {
			l := t.login(worker)
			return s.View(ctx, func(tx storage.Tx) error {
				if err := storage.Prefetch(tx, users.Ref(l.DID), logins.Ref(l.ID)); err != nil {
					return err
				}
				return read(tx, l)
			})
		})
	})
	b.Run("raw", func(b *testing.B) {
		t.run(b, func(_ *postgres.Store, worker int) error {
			l := t.login(worker)
			c, err := t.raw.Acquire(ctx)
			if err != nil {
				return err
			}
			defer c.Release()
			var doc []byte
			if err := c.QueryRow(ctx, "SELECT doc FROM "+t.schema+".users WHERE key = $1", l.DID).Scan(&doc); err != nil {
				return err
			}
			return c.QueryRow(ctx, "SELECT doc FROM "+t.schema+".logins WHERE key = $1", l.ID).Scan(&doc)
		})
	})
}

// BenchmarkSignUp looks whether an account's names are free, and inserts it with its first login,
// beside a loop of the same statements.
func BenchmarkSignUp(b *testing.B) {
	ctx := context.Background()
	t := newTown(b, 1, 200)
	fresh := func() (*user, *login) {
		i, now := len(t.users)+int(t.next.Add(1)), storage.TimeKey(time.Now())
		u := t.user(i, now)
		return u, &login{ID: inOrder(now, i), DID: u.DID, Created: now, Expires: now, Token: rand.Text()}
	}
	b.Run("store", func(b *testing.B) {
		t.run(b, func(s *postgres.Store, _ int) error {
			u, l := fresh()
			return s.Update(ctx, func(tx storage.Tx) error {
				refs := []storage.Ref{users.RefBy("handle", u.Handle), users.RefBy("email", u.Email), users.Ref(u.DID)}
				if err := storage.Prefetch(tx, refs...); err != nil {
					return err
				}
				for _, ref := range refs {
					var err error
					if ref.Index == "" {
						_, err = users.Get(tx, ref.Value)
					} else {
						_, err = users.GetBy(tx, ref.Index, ref.Value)
					}
					if err != storage.ErrNotFound {
						return fmt.Errorf("%+v is taken: %w", ref, err)
					}
				}
				if err := users.Insert(tx, u); err != nil {
					return err
				}
				return logins.Insert(tx, l)
			})
		})
	})
	b.Run("raw", func(b *testing.B) {
		t.run(b, func(*postgres.Store, int) error {
			u, l := fresh()
			return pgx.BeginTxFunc(ctx, t.raw, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
				for column, value := range map[string]string{"handle": u.Handle, "email": u.Email, "key": u.DID} {
					var taken bool
					if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+t.schema+".users WHERE "+column+" = $1)", value).Scan(&taken); err != nil || taken {
						return fmt.Errorf("%s is taken: %v, %w", value, taken, err)
					}
				}
				if _, err := tx.Exec(ctx, "INSERT INTO "+t.schema+".users (key, doc, handle, email, created) VALUES ($1, $2, $3, $4, $5)", u.DID, u, u.Handle, u.Email, u.Created); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, "INSERT INTO "+t.schema+".logins (key, doc, account, expires) VALUES ($1, $2, $3, $4)", l.ID, l, storage.Join(l.DID, l.Created), l.Expires)
				return err
			})
		})
	})
}
