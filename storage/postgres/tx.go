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

// transaction implements [storage.Tx] and [storage.Prefetcher]. It keeps its writes in an overlay
// until it commits, and its reads look there first.
type transaction struct {
	s        *Store
	ctx      context.Context
	tables   *tables
	writable bool
	conn     *pgxpool.Conn // nil until the first exchange
	ended    bool
	doom     error // of the first write or exchange that failed

	read    map[storage.Ref]found
	written map[string]map[string]*storage.Document // by table and key; nil is a deletion
	pending []*statement                            // the statements for written, in order
}

// found is what the database holds for a key or a value of a unique index; doc is nil if it holds
// nothing.
type found struct {
	key string
	doc []byte
}

// statement is one statement of an exchange.
type statement struct {
	sql  string
	args []any
	rows func(pgx.Rows) error // reads the result; nil if there is none
}

func (s *Store) newTx(ctx context.Context, writable bool) *transaction {
	return &transaction{s: s, ctx: ctx, tables: s.tables.Load(), writable: writable, read: map[storage.Ref]found{}}
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

// exchange sends statements at once and reads all results. The first exchange of a transaction
// takes a connection and begins; if that connection turns out to be lost, it takes another.
func (tx *transaction) exchange(statements []*statement, commit bool) error {
	for try := 1; ; try++ {
		first := tx.conn == nil
		f := tx.exchangeOnce(statements, commit)
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

func (tx *transaction) exchangeOnce(statements []*statement, commit bool) *failure {
	// The server limits the time of each statement; this limits that of the network.
	ctx, cancel := context.WithTimeout(tx.ctx, 2*tx.s.timeout)
	defer cancel()
	batch, answered := new(pgx.Batch), 0
	command := func(pgconn.CommandTag) error { answered++; return nil }
	if tx.conn == nil {
		if f := tx.connect(); f != nil {
			return f
		}
		for _, sql := range tx.s.begins[tx.writable] {
			batch.Queue(sql).Exec(command)
		}
		if tx.writable {
			batch.Queue(tx.tables.check).Exec(command)
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
	durable := commit && len(tx.pending) > 0
	server := tx.conn.Conn().PgConn()
	var tag pgconn.CommandTag
	if commit {
		delete(server.CustomData(), warnedKey)
		batch.Queue("COMMIT").Exec(func(t pgconn.CommandTag) error { tag = t; return nil })
	}
	if err := tx.conn.SendBatch(ctx, batch).Close(); err != nil {
		tx.s.distrust(tx.conn, err)
		unknown := durable && !pgconn.SafeToRetry(err) && !before(err, answered, batch.Len()-1)
		return tx.s.fail(tx.ctx, err, unknown)
	}
	if warning, warned := server.CustomData()[warnedKey]; durable && (warned || tag.String() != "COMMIT") {
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

// commit sends the pending writes and commits.
func (tx *transaction) commit() error {
	if tx.conn == nil && len(tx.pending) == 0 {
		return nil
	}
	return tx.exchange(tx.pending, true)
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
	return tx.fetch(refs, false)
}

// find returns what the database holds for a reference. It remembers it, since that doesn't change
// during the transaction.
func (tx *transaction) find(ref storage.Ref) (found, error) {
	if f, ok := tx.read[ref]; ok {
		return f, nil
	}
	if err := tx.fetch([]storage.Ref{ref}, false); err != nil {
		return found{}, err
	}
	return tx.read[ref], nil
}

// fetch reads documents at once, and commits in the same exchange if commit is set. It skips
// references that are invalid or known already.
func (tx *transaction) fetch(refs []storage.Ref, commit bool) error {
	var statements []*statement
	got := map[storage.Ref]found{}
	for _, ref := range refs {
		sql := tx.query(ref)
		_, known := tx.read[ref]
		_, asked := got[ref]
		if sql == "" || known || asked {
			continue
		}
		got[ref] = found{}
		statements = append(statements, &statement{sql: sql, args: []any{ref.Value}, rows: func(rows pgx.Rows) error {
			var f found
			for rows.Next() {
				if err := rows.Scan(&f.key, &f.doc); err != nil {
					return err
				}
			}
			got[ref] = f
			return rows.Err()
		}})
	}
	if len(statements) == 0 {
		return nil
	}
	if err := tx.exchange(statements, commit); err != nil {
		return err
	}
	for ref, f := range got {
		tx.read[ref] = f
		if f.doc != nil {
			tx.read[storage.Ref{Table: ref.Table, Value: f.key}] = f
		}
	}
	return nil
}

// query returns the statement that reads a reference, or an empty string if the reference is
// invalid.
func (tx *transaction) query(ref storage.Ref) string {
	t := tx.tables.byName[ref.Table]
	if t == nil || storage.ValidKey(ref.Value) != nil {
		return ""
	}
	if ref.Index == "" {
		return t.get
	}
	if ix := t.indexes[ref.Index]; ix != nil {
		return ix.get
	}
	return ""
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
		tx.note(t, key, nil, t.erase(key))
		return nil
	})
}

func (tx *transaction) write(name string, doc storage.Document, insert bool) error {
	return tx.change(name, func(t *table) error {
		doc, err := kv.Check(t.def, doc)
		if err != nil {
			return err
		}
		tx.note(t, doc.Key, &doc, t.write(doc, insert))
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

// note remembers a write for the transaction's reads and its commit.
func (tx *transaction) note(t *table, key string, doc *storage.Document, statements []*statement) {
	if tx.written == nil {
		tx.written = map[string]map[string]*storage.Document{}
	}
	if tx.written[t.def.Name] == nil {
		tx.written[t.def.Name] = map[string]*storage.Document{}
	}
	tx.written[t.def.Name][key] = doc
	tx.pending = append(tx.pending, statements...)
}
