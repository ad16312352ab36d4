package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/internal/kv"
)

// layout is the version of what is in the schema besides the collections' documents.
// A change of it is a step in migrate.
const layout = 2

// migrate makes the schema, or brings it up to date.
func (s *Store) migrate(ctx context.Context) error {
	return s.exclusively(ctx, func(tx pgx.Tx) error {
		version, err := s.lock(ctx, tx)
		if isCode(err, "42P01", "3F000") { // no such table, no such schema
			return errNoSchema
		}
		if err != nil {
			return err
		}
		if version == 1 { // had no version of the definitions
			version = 2
			err := run(ctx, tx, []string{
				"INSERT INTO " + s.in("_meta") + ` (name, value) VALUES ('definitions', '0') ON CONFLICT (name) DO NOTHING`,
				"UPDATE " + s.in("_meta") + ` SET value = '2' WHERE name = 'layout'`,
			})
			if err != nil {
				return err
			}
		}
		if version != layout {
			return fmt.Errorf("postgres: the schema has version %d; this program knows %d", version, layout)
		}
		ts, err := s.load(ctx, tx)
		if err == nil {
			s.tables.Store(ts)
		}
		return err
	})
}

var errNoSchema = errors.New("postgres: the schema is not there")

// create makes what is in the schema before any table is defined. Processes that do so at once get
// in each other's way in PostgreSQL's catalogue, in spite of IF NOT EXISTS; then it is tried again.
func (s *Store) create(ctx context.Context, tx pgx.Tx) error {
	var exists bool // CREATE SCHEMA needs a right on the database even if the schema is there
	err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)", s.schema).Scan(&exists)
	if err != nil {
		return err
	}
	var statements []string
	if !exists {
		statements = append(statements, "CREATE SCHEMA IF NOT EXISTS "+quote(s.schema))
	}
	statements = append(statements,
		"CREATE TABLE IF NOT EXISTS "+s.in("_meta")+` (name text PRIMARY KEY, value text NOT NULL)`,
		"CREATE TABLE IF NOT EXISTS "+s.in("_tables")+` (name text PRIMARY KEY, definition jsonb NOT NULL)`,
		"INSERT INTO "+s.in("_meta")+` (name, value) VALUES ('layout', '`+strconv.Itoa(layout)+`'), ('definitions', '0') ON CONFLICT (name) DO NOTHING`,
	)
	return run(ctx, tx, statements)
}

func run(ctx context.Context, tx pgx.Tx, statements []string) error {
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	return nil
}

// lock makes this the only process that changes the schema, until the transaction ends, and returns
// the version of the layout. It locks a row, since advisory locks are not to be had in every
// engine.
func (s *Store) lock(ctx context.Context, tx pgx.Tx) (version int, err error) {
	var value string
	err = tx.QueryRow(ctx, "SELECT value FROM "+s.in("_meta")+" WHERE name = 'layout' FOR UPDATE").Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, errNoSchema
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(value)
}

// exclusively runs a change of the schema in a transaction, and again while others get in the way.
// If the schema isn't there it is made first.
func (s *Store) exclusively(ctx context.Context, change func(pgx.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := s.inTransaction(ctx, change)
		if errors.Is(err, errNoSchema) {
			err = s.inTransaction(ctx, func(tx pgx.Tx) error { return s.create(ctx, tx) })
			if err == nil && attempt < MaxAttempts {
				continue
			}
		}
		// Besides the usual: a row of the catalogue, a schema or a table is there already or has
		// just been changed.
		if !isCode(err, "40001", "40P01", "23505", "42P06", "42P07", "42701", "XX000") || attempt == MaxAttempts {
			return err
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

func (s *Store) inTransaction(ctx context.Context, fn func(pgx.Tx) error) error {
	wait, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn, err := s.pool.Acquire(wait)
	if err != nil {
		return s.fail(ctx, err, false)
	}
	defer conn.Release()
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		// An index on a large table takes its time; waiting for a lock must not, since everybody
		// waits behind.
		if err := run(ctx, tx, []string{"SET LOCAL statement_timeout = 0", "SET LOCAL lock_timeout = " + strconv.FormatInt(s.timeout.Milliseconds(), 10)}); err != nil {
			return err
		}
		return fn(tx)
	})
	var pg *pgconn.PgError
	if err != nil && (errors.As(err, &pg) || conn.Conn().IsClosed()) {
		return s.fail(ctx, err, false)
	}
	return err
}

func isCode(err error, codes ...string) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	for _, c := range codes {
		if pg.Code == c {
			return true
		}
	}
	return false
}

// querier is a transaction or the pool.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// loadVersion reads the version of the definitions.
func (s *Store) loadVersion(ctx context.Context, q querier) (int, error) {
	var text string
	if err := q.QueryRow(ctx, "SELECT value FROM "+s.in("_meta")+" WHERE name = 'definitions'").Scan(&text); err != nil {
		return 0, err
	}
	version, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("postgres: the version of the definitions is damaged: %w", err)
	}
	return version, nil
}

// load reads the definitions of all tables, and before that their version: definitions that are
// newer than the version are read again when that matters.
func (s *Store) load(ctx context.Context, q querier) (*tables, error) {
	version, err := s.loadVersion(ctx, q)
	if err != nil {
		return nil, err
	}
	rows, err := q.Query(ctx, "SELECT definition FROM "+s.in("_tables"))
	if err != nil {
		return nil, err
	}
	defs := kv.Tables{}
	var raw []byte
	_, err = pgx.ForEachRow(rows, []any{&raw}, func() error {
		var t storage.Table
		if err := json.Unmarshal(raw, &t); err != nil {
			return fmt.Errorf("postgres: the definition of a table is damaged: %w", err)
		}
		defs[t.Name] = t
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.compile(defs, version), nil
}

// refresh returns the definitions as they are now. The store uses them from now on, unless a Define
// or another refresh has come first.
func (s *Store) refresh(ctx context.Context) (*tables, error) {
	wait, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	have := s.tables.Load()
	version, err := s.loadVersion(wait, s.pool)
	if err == nil && version != have.version {
		old := have
		if have, err = s.load(wait, s.pool); err == nil {
			s.tables.CompareAndSwap(old, have)
		}
	}
	if err != nil {
		return nil, s.fail(ctx, err, false)
	}
	return have, nil
}

// Define implements [storage.Store].
func (s *Store) Define(ctx context.Context, more ...storage.Table) error {
	if err := s.nested.Check(); err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.running.Done()
	select {
	case <-s.define:
		defer func() { s.define <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	known := s.tables.Load().defs
	want, err := known.Define(more...)
	if err != nil || len(known.Changes(want)) == 0 {
		return err
	}
	var version int
	err = s.exclusively(ctx, func(tx pgx.Tx) (err error) {
		if _, err := s.lock(ctx, tx); err != nil {
			return err
		}
		have, err := s.load(ctx, tx) // another process may have come first
		if err != nil {
			return err
		}
		if want, err = have.defs.Define(more...); err != nil {
			return err
		}
		version = have.version
		changed := have.defs.Changes(want)
		if len(changed) == 0 { // another process has defined the same
			return nil
		}
		for _, t := range changed {
			if err := run(ctx, tx, s.build(have.defs[t.Name], t)); err != nil {
				return err
			}
			def, err := json.Marshal(t)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "INSERT INTO "+s.in("_tables")+" (name, definition) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET definition = EXCLUDED.definition", t.Name, string(def)); err != nil {
				return err
			}
		}
		version++
		_, err = tx.Exec(ctx, "UPDATE "+s.in("_meta")+" SET value = $1 WHERE name = 'definitions'", strconv.Itoa(version))
		return err
	})
	if err != nil {
		return fmt.Errorf("postgres: defining tables: %w", err)
	}
	s.tables.Store(s.compile(want, version))
	return nil
}

// build returns the statements that make a table of one with fewer indexes, or of none.
func (s *Store) build(have, want storage.Table) []string {
	var out []string
	t := s.in(want.Name)
	if have.Name == "" {
		out = append(out, "CREATE TABLE "+t+` ("key" text COLLATE "C" NOT NULL, "doc" jsonb NOT NULL, CONSTRAINT `+
			quote(name(want.Name, "key"))+` PRIMARY KEY ("key"))`)
	}
	for _, ix := range want.Indexes[len(have.Indexes):] {
		n := name(want.Name, ix.Name)
		col := column(ix.Name)
		switch {
		case ix.Multi:
			unique := `("value", "key")`
			if ix.Unique {
				unique = `("value")`
			}
			out = append(out,
				"CREATE TABLE "+s.in(n)+` ("value" text COLLATE "C" NOT NULL, "key" text COLLATE "C" NOT NULL, CONSTRAINT `+
					quote(name(want.Name, ix.Name, "value"))+" PRIMARY KEY "+unique+")",
				"CREATE INDEX "+quote(name(want.Name, ix.Name, "key"))+" ON "+s.in(n)+` ("key")`)
		case ix.Unique:
			out = append(out,
				"ALTER TABLE "+t+" ADD COLUMN "+col+` text COLLATE "C"`,
				"CREATE UNIQUE INDEX "+quote(n)+" ON "+t+" ("+col+")")
		default:
			out = append(out,
				"ALTER TABLE "+t+" ADD COLUMN "+col+` text COLLATE "C"`,
				"CREATE INDEX "+quote(n)+" ON "+t+" ("+col+`, "key")`)
		}
	}
	return out
}

// Tables implements [storage.Store].
func (s *Store) Tables(ctx context.Context) ([]storage.Table, error) {
	if err := s.nested.Check(); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.running.Done()
	ts, err := s.refresh(ctx)
	if err != nil {
		return nil, err
	}
	return ts.defs.List(), nil
}

// in returns the identifier of a table in the schema.
func (s *Store) in(table string) string { return quote(s.schema) + "." + quote(table) }
