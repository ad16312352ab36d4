package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/internal/kv"
)

// transaction implements [storage.Tx] and [storage.Prefetcher]. It reads a snapshot, and keeps its
// writes in an overlay until it commits: its reads look there first.
type transaction struct {
	s        *Store
	ctx      context.Context
	tables   *tables
	writable bool
	conn     *pgxpool.Conn // nil until the first exchange
	ended    bool
	doom     error // of the first write or exchange that failed

	read    map[storage.Ref]found                   // what the snapshot holds
	written map[string]map[string]*storage.Document // by table and key; nil is a deletion

	// The rest is for an Update. held are the locks that it takes before it reads, if it has failed
	// for what others changed meanwhile: then it doesn't need a snapshot, since nothing that it may
	// read changes.
	held heldLocks

	// What it needs to commit:
	known   map[storage.Ref]state // of the documents of the snapshot that it has met, by key
	relied  map[storage.Ref]bool  // the keys and values on which what it does may depend
	scans   []*span               // the ranges on which it may depend
	pending []*write              // in order
	unmet   []storage.Ref         // the documents of pending whose states it has to know
	last    map[storage.Ref]int   // the last of pending for each document
}

// found is what the snapshot holds for a key or a value of a unique index; doc is nil if it holds
// nothing.
type found struct {
	key string
	doc []byte
}

// state is what the snapshot holds for a key, apart from the document.
type state struct {
	version string // changes with each write; empty if there is no document
	entries []storage.Entry
}

// statement is one statement of an exchange.
type statement struct {
	sql  string
	args []any
	rows func(pgx.Rows) error // reads the result; nil if there is none
}

func (s *Store) newTx(ctx context.Context, writable bool, held heldLocks) *transaction {
	tx := &transaction{s: s, ctx: ctx, tables: s.tables.Load(), writable: writable, held: held, read: map[storage.Ref]found{}}
	if writable {
		tx.known, tx.relied, tx.last = map[storage.Ref]state{}, map[storage.Ref]bool{}, map[storage.Ref]int{}
	}
	return tx
}

// Owner implements [storage.Tx].
func (tx *transaction) Owner(table string) string {
	if t := tx.tables.byName[table]; t != nil {
		return t.def.Owner
	}
	return ""
}

func (tx *transaction) ready() error {
	switch {
	case tx.ended:
		return storage.ErrClosed
	case tx.doom != nil:
		return tx.doom
	}
	return tx.ctx.Err()
}

// purpose is what an exchange is for.
type purpose int

const (
	reading purpose = iota // the snapshot
	closing                // reading it for the last time, perhaps also for the first
	writing                // committing, after the snapshot is closed
)

// exchange sends statements at once and reads all results. The first exchange of a transaction
// takes a connection and begins; if that connection turns out to be lost, it takes another.
func (tx *transaction) exchange(statements []*statement, to purpose) error {
	for try := 1; ; try++ {
		first := tx.conn == nil
		f := tx.exchangeOnce(statements, to)
		if f == nil {
			return nil
		}
		if first && f.kind == lost && tx.conn != nil && try < maxLost {
			tx.conn.Release()
			tx.conn = nil
			continue
		}
		tx.doom = f
		return f
	}
}

func (tx *transaction) exchangeOnce(statements []*statement, to purpose) *failure {
	// The server limits the time of each statement; this limits that of the network.
	ctx, cancel := context.WithTimeout(tx.ctx, 2*tx.s.timeout)
	defer cancel()
	batch, answered := new(pgx.Batch), 0
	command := func(pgconn.CommandTag) error { answered++; return nil }
	alone := to == closing && tx.conn == nil && tx.s.implicit
	begins := tx.conn == nil && !alone
	if tx.conn == nil {
		if f := tx.connect(); f != nil {
			return f
		}
	} else if to == writing && tx.held == nil {
		batch.Queue("COMMIT").Exec(command)
		begins = true
	}
	if begins {
		for _, sql := range tx.s.begins[to == writing || tx.held != nil] {
			batch.Queue(sql).Exec(command)
		}
		if tx.held != nil {
			take := tx.held.statement(takeLocks)
			batch.Queue(take.sql, take.args...).Exec(command)
		}
	}
	for _, st := range statements {
		q := batch.Queue(st.sql, st.args...)
		if st.rows == nil {
			q.Exec(command)
			continue
		}
		q.Query(func(rows pgx.Rows) error {
			err := st.rows(rows)
			answered++
			return err
		})
	}
	server := tx.conn.Conn().PgConn()
	var tag pgconn.CommandTag
	if to != reading && !alone {
		delete(server.CustomData(), warnedKey)
		batch.Queue("COMMIT").Exec(func(t pgconn.CommandTag) error { tag = t; return nil })
	}
	if err := tx.conn.SendBatch(ctx, batch).Close(); err != nil {
		tx.s.distrust(tx.conn, err)
		unknown := to == writing && !pgconn.SafeToRetry(err) && !before(err, answered, batch.Len()-1)
		return tx.s.fail(tx.ctx, err, unknown)
	}
	if warning, warned := server.CustomData()[warnedKey]; to == writing && (warned || tag.String() != "COMMIT") {
		return &failure{final, fmt.Errorf("%w: the answer to COMMIT was %s (%v)", storage.ErrUnavailable, tag, warning)}
	}
	return nil
}

func (tx *transaction) connect() *failure {
	ctx, cancel := context.WithTimeout(tx.ctx, tx.s.timeout)
	defer cancel()
	conn, err := tx.s.pool.Acquire(ctx)
	if err != nil {
		f := tx.s.fail(tx.ctx, fmt.Errorf("connecting: %w", err), false)
		f.kind = final
		return f
	}
	tx.conn = conn
	return nil
}

// end ends the transaction, and releases its connection.
func (tx *transaction) end() {
	tx.ended = true
	tx.release()
}

// release releases the connection. If the transaction wasn't committed, it is rolled back in the
// background.
func (tx *transaction) release() {
	conn := tx.conn
	tx.conn = nil
	if conn == nil {
		return
	}
	if server := conn.Conn().PgConn(); server.IsClosed() || server.TxStatus() == 'I' {
		conn.Release()
		return
	}
	tx.s.running.Add(1)
	go func() {
		defer tx.s.running.Done()
		defer conn.Release() // closes a connection that is still in a transaction
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tx.ctx), tx.s.timeout)
		defer cancel()
		_ = conn.SendBatch(ctx, rollback()).Close()
	}()
}

func rollback() *pgx.Batch {
	b := new(pgx.Batch)
	b.Queue("ROLLBACK")
	return b
}

// Get implements [storage.Tx].
func (tx *transaction) Get(table, key string) ([]byte, error) {
	if err := tx.ready(); err != nil {
		return nil, err
	}
	if _, err := tx.tables.table(table); err != nil {
		return nil, err
	}
	if err := storage.ValidKey(key); err != nil {
		return nil, err
	}
	if doc, ok := tx.written[table][key]; ok {
		return result(doc)
	}
	f, err := tx.find(storage.Ref{Table: table, Value: key})
	if err != nil {
		return nil, err
	}
	return f.result()
}

// GetBy implements [storage.Tx].
func (tx *transaction) GetBy(table, index, value string) ([]byte, error) {
	if err := tx.ready(); err != nil {
		return nil, err
	}
	t, err := tx.tables.table(table)
	if err != nil {
		return nil, err
	}
	ix, err := t.index(index)
	if err != nil {
		return nil, err
	}
	if !ix.Unique {
		return nil, fmt.Errorf("%w: index %s of table %s is not unique", storage.ErrInvalid, index, table)
	}
	if err := storage.ValidKey(value); err != nil {
		return nil, err
	}
	for _, doc := range tx.written[table] {
		if doc != nil && slices.Contains(doc.Entries, storage.Entry{Index: index, Value: value}) {
			return result(doc)
		}
	}
	f, err := tx.find(storage.Ref{Table: table, Index: index, Value: value})
	if err != nil {
		return nil, err
	}
	if _, changed := tx.written[table][f.key]; changed { // and no longer has the value
		return nil, storage.ErrNotFound
	}
	return f.result()
}

func result(doc *storage.Document) ([]byte, error) {
	if doc == nil {
		return nil, storage.ErrNotFound
	}
	return doc.Value, nil
}

func (f found) result() ([]byte, error) {
	if f.doc == nil {
		return nil, storage.ErrNotFound
	}
	return f.doc, nil
}

// Prefetch implements [storage.Prefetcher].
func (tx *transaction) Prefetch(refs ...storage.Ref) error {
	if err := tx.ready(); err != nil {
		return err
	}
	return tx.fetch(refs, reading)
}

// find returns what the snapshot holds for a reference, and notes that the transaction relies on it.
func (tx *transaction) find(ref storage.Ref) (found, error) {
	if _, ok := tx.read[ref]; !ok {
		if err := tx.fetch([]storage.Ref{ref}, reading); err != nil {
			return found{}, err
		}
	}
	f := tx.read[ref]
	if !tx.writable {
		return f, nil
	}
	if ref.Index != "" && f.doc != nil { // it has the value as long as it doesn't change
		ref = storage.Ref{Table: ref.Table, Value: f.key}
	}
	tx.relied[ref] = true
	t := tx.tables.byName[ref.Table]
	return f, tx.covered(t, t.lockOf(ref), false)
}

// covered checks that what the transaction has read can't change, if it takes locks before it
// reads. Otherwise it has to begin again, with more locks.
func (tx *transaction) covered(t *table, l lock, exclusive bool) error {
	if tx.held == nil || tx.held.cover(t, l, exclusive) {
		return nil
	}
	tx.doom = &failure{uncovered, fmt.Errorf("%w: more was read than in the attempt before", storage.ErrUnavailable)}
	return tx.doom
}

// fetch reads documents at once.
func (tx *transaction) fetch(refs []storage.Ref, to purpose) error {
	statements, learn := tx.ask(refs)
	if len(statements) == 0 {
		return nil
	}
	if err := tx.exchange(statements, to); err != nil {
		return err
	}
	learn()
	return nil
}

// ask returns the statements that read documents, and a function that remembers what they have
// found. It leaves out references that are invalid or known already, and adds the documents that
// are unmet.
func (tx *transaction) ask(refs []storage.Ref) (statements []*statement, learn func()) {
	got, states := map[storage.Ref]found{}, map[storage.Ref]state{}
	for _, ref := range slices.Concat(refs, tx.unmet) {
		t, sql := tx.query(ref)
		_, known := tx.read[ref]
		_, asked := got[ref]
		if sql == "" || known || asked {
			continue
		}
		got[ref] = found{}
		statements = append(statements, &statement{sql: sql, args: []any{ref.Value}, rows: func(rows pgx.Rows) error {
			var f found
			var st state
			dest := []any{&f.key, &f.doc}
			var columns *entryColumns
			if tx.writable {
				columns = t.entryColumns()
				dest = columns.dest(append(dest, &st.version))
			}
			for rows.Next() {
				if err := rows.Scan(dest...); err != nil {
					return err
				}
				if tx.writable {
					st.entries = columns.entries()
				}
			}
			got[ref], states[ref] = f, st
			return rows.Err()
		}})
	}
	return statements, func() {
		tx.unmet = nil
		for ref, f := range got {
			tx.learn(ref, f, states[ref])
		}
	}
}

// learn remembers what the snapshot holds for a reference.
func (tx *transaction) learn(ref storage.Ref, f found, st state) {
	tx.read[ref] = f
	key := storage.Ref{Table: ref.Table, Value: f.key}
	if f.doc != nil {
		tx.read[key] = f
	}
	if tx.writable && f.doc != nil {
		tx.known[key] = st
	} else if tx.writable && ref.Index == "" {
		tx.known[ref] = state{}
	}
}

// query returns the table of a reference and the statement that reads it, which is empty if the
// reference is invalid.
func (tx *transaction) query(ref storage.Ref) (*table, string) {
	t := tx.tables.byName[ref.Table]
	if t == nil || storage.ValidKey(ref.Value) != nil {
		return nil, ""
	}
	q := t.get
	if ref.Index != "" {
		ix := t.indexes[ref.Index]
		if ix == nil {
			return nil, ""
		}
		q = ix.get
	}
	if tx.writable {
		return t, q.state
	}
	return t, q.doc
}

// Put implements [storage.Tx].
func (tx *transaction) Put(table string, doc storage.Document) error {
	return tx.write(table, doc, false)
}

// Insert implements [storage.Tx]. A conflict is found when the transaction commits.
func (tx *transaction) Insert(table string, doc storage.Document) error {
	return tx.write(table, doc, true)
}

// Delete implements [storage.Tx].
func (tx *transaction) Delete(name, key string) error {
	return tx.change(name, func(t *table) error {
		if err := storage.ValidKey(key); err != nil {
			return err
		}
		tx.note(&write{table: t, key: key})
		return nil
	})
}

func (tx *transaction) write(name string, doc storage.Document, insert bool) error {
	return tx.change(name, func(t *table) error {
		doc, err := kv.Check(t.def, doc)
		if err != nil {
			return err
		}
		tx.note(&write{table: t, key: doc.Key, doc: &doc, insert: insert})
		return nil
	})
}

// change calls write for a table, and dooms the transaction if it fails.
func (tx *transaction) change(name string, write func(*table) error) error {
	if err := tx.ready(); err != nil {
		return err
	}
	if !tx.writable {
		return storage.ErrReadOnly
	}
	t, err := tx.tables.table(name)
	if err == nil {
		err = write(t)
	}
	tx.doom = err
	return err
}
