package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.etcd.io/bbolt"
	"golang.org/x/crypto/argon2"

	"github.com/gatehouse-at/gatehouse/internal/password"
	"github.com/gatehouse-at/gatehouse/storage"
)

// loop asks a process to run a closed loop inside of it, at the path "/loop".
type loop struct {
	Op      string  `json:"op,omitempty"`
	Workers int     `json:"workers"`
	Seconds float64 `json:"seconds"`
}

func (l loop) duration() time.Duration { return time.Duration(l.Seconds * float64(time.Second)) }

// handleLoop returns a handler that runs the loops that it is asked for.
func handleLoop(run func(loop) (measured, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var l loop
		if err := json.NewDecoder(r.Body).Decode(&l); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		m, err := run(l)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(m)
	})
}

// rawCommit is the kind commit: every request writes what a refresh writes, a session and a change
// of its entry in one index, to a bbolt file. Whoever waits while a commit is written shares the
// next.
func rawCommit(_ context.Context, s spec, _ net.Addr) (http.Handler, world, io.Closer, error) {
	db, err := bbolt.Open(filepath.Join(s.Dir, "raw.db"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30})
	if err != nil {
		return nil, world{}, nil, err
	}
	const rows = 8000
	keys, expires := make([]string, rows), make([]string, rows)
	documents, index := []byte("sessions"), []byte("sessions.expires")
	document := bytes.Repeat([]byte("x"), cmp.Or(s.Record, 600))
	until := func() string { return storage.TimeKey(time.Now().Add(90 * 24 * time.Hour)) }
	// write is only called by one goroutine at a time.
	write := func(tx *bbolt.Tx, row int) error {
		if old := expires[row]; old != "" {
			if err := tx.Bucket(index).Delete([]byte(old)); err != nil {
				return err
			}
		}
		expires[row] = until() + "\x00" + keys[row]
		if err := tx.Bucket(index).Put([]byte(expires[row]), nil); err != nil {
			return err
		}
		return tx.Bucket(documents).Put([]byte(keys[row]), document)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{documents, index} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		for row := range rows {
			id, err := uuid.NewV7()
			if err != nil {
				return err
			}
			keys[row] = id.String()
			if err := write(tx, row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, world{}, nil, err
	}
	queue := make(chan chan error, 1<<10)
	go func() {
		for first := range queue {
			waiting := []chan error{first}
			err := db.Update(func(tx *bbolt.Tx) error {
				runtime.Gosched() // lets those reach the queue that the commit before has released
				for more := true; more; {
					select {
					case next := <-queue:
						waiting = append(waiting, next)
					default:
						more = false
					}
				}
				for range waiting {
					if err := write(tx, mrand.IntN(rows)); err != nil {
						return err
					}
				}
				return nil
			})
			for _, one := range waiting {
				one <- err
			}
		}
	}()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		done := make(chan error, 1)
		queue <- done
		if err := <-done; err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}), world{}, db, nil
}

// rawHash is the kind hash: argon2id with the costs of Gatehouse, in a loop at "/loop", and at
// "/hash" one in each request and no more at once than there are cores.
func rawHash(_ context.Context, s spec, _ net.Addr) (http.Handler, world, io.Closer, error) {
	memory, passes := cmp.Or(s.HashMemory, password.DefaultParams.Memory), cmp.Or(s.HashTime, password.DefaultParams.Time)
	salt := []byte(rand.Text())
	hash := func() { argon2.IDKey([]byte("correct horse battery"), salt, passes, memory, 1, 32) }
	cores := make(chan struct{}, runtime.GOMAXPROCS(0))
	mux := http.NewServeMux()
	mux.Handle("/loop", handleLoop(func(l loop) (measured, error) {
		return drive(min(l.Workers, cap(cores)), l.duration(), func(int) error { hash(); return nil }), nil
	}))
	mux.HandleFunc("/hash", func(http.ResponseWriter, *http.Request) {
		cores <- struct{}{}
		defer func() { <-cores }()
		hash()
	})
	return mux, world{}, nil, nil
}

// rawPgx is the kind pgx: at "/loop", the statements of a refresh or of a read of a session, in
// transactions at READ COMMITTED, on a copy of the tables of a Gatehouse server with all rows and
// indexes, with as many connections as a store of Gatehouse has.
func rawPgx(ctx context.Context, s spec, _ net.Addr) (http.Handler, world, io.Closer, error) {
	cfg, err := pgxpool.ParseConfig(s.Store)
	if err != nil {
		return nil, world{}, nil, err
	}
	cfg.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, world{}, nil, err
	}
	rows, err := copyTables(ctx, pool)
	if err != nil {
		pool.Close()
		return nil, world{}, nil, err
	}
	run := func(change bool) error {
		row := rows[mrand.IntN(len(rows))]
		tx, err := pool.Begin(ctx)
		if err != nil {
			return err
		}
		defer tx.Rollback(ctx) //nolint:errcheck // it has been committed, or has failed
		var account, session []byte
		if err := tx.QueryRow(ctx, `SELECT "doc" FROM raw.accounts WHERE "key" = $1`, row.DID).Scan(&account); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT "doc" FROM raw.sessions WHERE "key" = $1`, row.Session).Scan(&session); err != nil {
			return err
		}
		if change {
			expires := storage.TimeKey(time.Now().Add(90 * 24 * time.Hour))
			if _, err := tx.Exec(ctx, `UPDATE raw.sessions SET "doc" = $2, "expires" = $3 WHERE "key" = $1`, row.Session, session, expires); err != nil {
				return err
			}
		}
		return tx.Commit(ctx)
	}
	return handleLoop(func(l loop) (measured, error) {
		return drive(l.Workers, l.duration(), func(int) error { return run(l.Op == "refresh") }), nil
	}), world{}, closer(pool.Close), nil
}

type closer func()

func (c closer) Close() error { c(); return nil }

// rawRow is a session and its account.
type rawRow struct{ Session, DID string }

// copyTables copies the accounts and sessions of Gatehouse, and returns the sessions.
func copyTables(ctx context.Context, pool *pgxpool.Pool) ([]rawRow, error) {
	_, err := pool.Exec(ctx, `
		DROP SCHEMA IF EXISTS raw CASCADE;
		CREATE SCHEMA raw;
		CREATE TABLE raw.accounts (LIKE gatehouse.accounts INCLUDING ALL);
		CREATE TABLE raw.sessions (LIKE gatehouse.sessions INCLUDING ALL);
		INSERT INTO raw.accounts SELECT * FROM gatehouse.accounts;
		INSERT INTO raw.sessions SELECT * FROM gatehouse.sessions;
		ANALYZE raw.accounts, raw.sessions`)
	if err != nil {
		return nil, err
	}
	found, err := pool.Query(ctx, `SELECT "key", "doc"->>'did' FROM raw.sessions`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, pgx.RowToStructByPos[rawRow])
}
