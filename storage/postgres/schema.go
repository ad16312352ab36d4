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

// layout is the version of the layout of the schema. Each new version needs a step in migrate.
const layout = 3

// versionRow is the row of _meta that holds the version of the definitions. Programs that know only
// the layouts before 3 look for it in the row oldVersionRow: fence in it makes their Updates fail.
const (
	versionRow    = "tables"
	oldVersionRow = "definitions"
	fence         = "this schema needs a newer program: layout 3"
)

// migrate creates or upgrades the schema. It is serializable for the sake of [Store.upgrade].
func (s *Store) migrate(ctx context.Context) error {
	return s.exclusively(ctx, pgx.Serializable, func(tx pgx.Tx) error {
		version, err := s.lock(ctx, tx)
		if isCode(err, "42P01", "3F000") { // no such table, no such schema
			return errNoSchema
		}
		if err != nil {
			return err
		}
		if version < layout {
			if err := s.upgrade(ctx, tx); err != nil {
				return err
			}
			version = layout
		}
		if version != layout {
			return fmt.Errorf("postgres: the schema has version %d, and this program supports version %d", version, layout)
		}
		ts, err := s.load(ctx, tx)
		if err == nil {
			s.tables.Store(ts)
		}
		return err
	})
}

// upgrade upgrades the schema from an earlier layout. Programs that know only that layout don't take
// the locks on which the isolation of Updates rests now, so they must not write any more. When they
// begin an Update, the fence stops them. An Update that has begun before is serializable, and has
// read the row of the fence: since this transaction is serializable too, changes that row, and
// reads all tables, PostgreSQL lets only one of both commit if that Update writes.
func (s *Store) upgrade(ctx context.Context, tx pgx.Tx) error {
	meta := s.in("_meta")
	err := run(ctx, tx, []string{
		"INSERT INTO " + meta + " (name, value) SELECT '" + versionRow + "', coalesce((SELECT value FROM " + meta + " WHERE name = '" + oldVersionRow + "'), '0') ON CONFLICT (name) DO NOTHING",
		"INSERT INTO " + meta + " (name, value) VALUES ('" + oldVersionRow + "', '" + fence + "') ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value",
		"UPDATE " + meta + " SET value = '" + strconv.Itoa(layout) + "' WHERE name = 'layout'",
		"SET LOCAL enable_indexscan = off", // a sequential scan of one row counts as reading the table
		"SET LOCAL enable_indexonlyscan = off",
		"SET LOCAL enable_bitmapscan = off",
	})
	if err != nil {
		return err
	}
	ts, err := s.load(ctx, tx)
	if err != nil {
		return err
	}
	for _, t := range ts.byName {
		if err := run(ctx, tx, []string{"SELECT 1 FROM " + t.id + " LIMIT 1"}); err != nil {
			return err
		}
	}
	return nil
}

var errNoSchema = errors.New("postgres: schema does not exist")

// create creates the schema with the tables that hold the definitions. Processes that do so at the
// same time conflict in PostgreSQL's catalog, in spite of IF NOT EXISTS; the caller tries again.
func (s *Store) create(ctx context.Context, tx pgx.Tx) error {
	var exists bool // CREATE SCHEMA needs a privilege even if the schema exists
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
		"INSERT INTO "+s.in("_meta")+` (name, value) VALUES ('layout', '`+strconv.Itoa(layout)+`'), ('`+versionRow+`', '0') ON CONFLICT (name) DO NOTHING`,
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

// lock excludes other processes from changing the schema until the transaction ends, and returns
// the version of the layout. It locks a row, since some engines have no advisory locks.
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

// exclusively runs a change of the schema in a transaction, and runs it again if it conflicts with
// others. It creates the schema first if that doesn't exist.
func (s *Store) exclusively(ctx context.Context, level pgx.TxIsoLevel, change func(pgx.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := s.inTransaction(ctx, level, change)
		if errors.Is(err, errNoSchema) {
			err = s.inTransaction(ctx, pgx.ReadCommitted, func(tx pgx.Tx) error { return s.create(ctx, tx) })
			if err == nil && attempt < maxAttempts {
				continue
			}
		}
		// Besides the usual conflicts: a row of the catalog, a schema or a table exists already or
		// has just been changed.
		if !isCode(err, "40001", "40P01", "23505", "42P06", "42P07", "42701", "XX000") || attempt == maxAttempts {
			return err
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

func (s *Store) inTransaction(ctx context.Context, level pgx.TxIsoLevel, fn func(pgx.Tx) error) error {
	wait, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn, err := s.pool.Acquire(wait)
	if err != nil {
		return s.fail(ctx, err, false)
	}
	defer conn.Release()
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: level}, func(tx pgx.Tx) error {
		// Creating an index on a large table may take long. Waiting for a lock must not, since
		// others queue behind it.
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

// querier is implemented by transactions and the pool.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// loadVersion reads the version of the definitions.
func (s *Store) loadVersion(ctx context.Context, q querier) (int, error) {
	var text string
	if err := q.QueryRow(ctx, "SELECT value FROM "+s.in("_meta")+" WHERE name = '"+versionRow+"'").Scan(&text); err != nil {
		return 0, err
	}
	version, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("postgres: the version of the definitions is damaged: %w", err)
	}
	return version, nil
}

// load reads the definitions of all tables. It reads their version first: if the definitions are
// newer than that, they are read again when it matters.
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

// refresh returns the current definitions. The store uses them from now on, unless a Define or
// another refresh was faster.
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
	err = s.exclusively(ctx, pgx.ReadCommitted, func(tx pgx.Tx) (err error) {
		if _, err := s.lock(ctx, tx); err != nil {
			return err
		}
		have, err := s.load(ctx, tx) // another process may have changed them
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
		_, err = tx.Exec(ctx, "UPDATE "+s.in("_meta")+" SET value = $1 WHERE name = '"+versionRow+"'", strconv.Itoa(version))
		return err
	})
	if err != nil {
		return fmt.Errorf("postgres: defining tables: %w", err)
	}
	s.tables.Store(s.compile(want, version))
	return nil
}

// build returns the statements that create a table, or add indexes to the table that exists.
func (s *Store) build(have, want storage.Table) []string {
	var out []string
	t := s.in(want.Name)
	if have.Name == "" {
		out = append(out, "CREATE TABLE "+t+` ("key" text COLLATE "C" NOT NULL, "doc" jsonb NOT NULL, CONSTRAINT `+
			quote(name(want.Name, "key"))+` PRIMARY KEY ("key")) WITH (fillfactor = 90)`) // room to update a document without its indexes
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

// in returns the quoted name of a table in the schema.
func (s *Store) in(table string) string { return quote(s.schema) + "." + quote(table) }
