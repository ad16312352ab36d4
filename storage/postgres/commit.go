package postgres

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-at/gatehouse/storage"
)

// write is a write that a transaction has made.
type write struct {
	table  *table
	key    string
	doc    *storage.Document // nil to delete it
	insert bool              // fail if the document exists
}

func (w *write) ref() storage.Ref { return storage.Ref{Table: w.table.def.Name, Value: w.key} }

// entries are those that the document has afterwards.
func (w *write) entries() []storage.Entry {
	if w.doc == nil {
		return nil
	}
	return w.doc.Entries
}

// unique returns the entries in unique indexes.
func (w *write) unique() (es []storage.Entry) {
	for _, e := range w.entries() {
		if w.table.indexes[e.Index].Unique {
			es = append(es, e)
		}
	}
	return es
}

// note remembers a write for the transaction's reads and its commit. If the document was written
// before with the same unique values, only the later write counts: it meets the same conflicts.
func (tx *transaction) note(w *write) {
	if tx.written == nil {
		tx.written = map[string]map[string]*storage.Document{}
	}
	name := w.table.def.Name
	if tx.written[name] == nil {
		tx.written[name] = map[string]*storage.Document{}
	}
	tx.written[name][w.key] = w.doc
	i, again := tx.last[w.ref()]
	if again && w.doc != nil && !w.insert {
		if before := tx.pending[i]; before.doc != nil && slices.Equal(before.unique(), w.unique()) {
			before.doc = w.doc
			return
		}
	}
	// The entries that a document loses are to be locked. There are none in tables without indexes.
	if _, known := tx.known[w.ref()]; !known && !again && !w.insert && len(w.table.indexes) > 0 {
		tx.unmet = append(tx.unmet, w.ref())
	}
	tx.last[w.ref()] = len(tx.pending)
	tx.pending = append(tx.pending, w)
}

// commit commits what the transaction has written, or closes the snapshot if that is nothing.
func (tx *transaction) commit() error {
	switch {
	case len(tx.pending) > 0:
		if err := tx.fetch(nil, reading); err != nil { // what is unmet
			return err
		}
		return tx.exchange(tx.changes().commit(), writing)
	case tx.conn != nil:
		return tx.exchange(nil, closing)
	}
	return nil
}

// changes returns what the transaction needs to commit what it has written so far.
func (tx *transaction) changes() *changes {
	c := &changes{tx: tx, locks: lockSet{}, versions: map[*table]map[string]string{}, absent: map[*table]map[string][]string{}, now: map[storage.Ref]*presence{}}
	for ref := range tx.relied {
		c.rely(ref)
	}
	for _, s := range tx.scans {
		if l, within := s.lock(); within {
			c.locks.in(s.table).exclusive(l)
		} else {
			c.locks.in(s.table).whole = true
		}
	}
	for _, w := range tx.pending {
		c.write(w)
	}
	return c
}

// changes are what a transaction needs to commit.
type changes struct {
	tx         *transaction
	locks      lockSet
	versions   map[*table]map[string]string   // that documents must still have, by key
	absent     map[*table]map[string][]string // the values that no document may have, by index
	statements []*statement
	now        map[storage.Ref]*presence // of the documents that are being written
}

// presence is what is known of a document between the writes of a transaction.
type presence struct {
	known   bool // otherwise, the document may or may not exist, and has no entries
	exists  bool
	entries []storage.Entry
}

// commit returns the statements of a commit: the first takes the locks of all that the transaction
// relies on or changes, the second fails if something that it relies on has changed since it was
// read, and the others write.
func (c *changes) commit() []*statement {
	locks := heldLocks{}.add(c.locks)
	sql := takeLocks
	if c.tx.held != nil {
		locks, sql = locks.without(c.tx.held), tryLocks
	}
	out := []*statement{c.check()}
	if len(locks) > 0 {
		out = slices.Insert(out, 0, locks.statement(sql))
	}
	return append(out, c.statements...)
}

func (c *changes) rely(ref storage.Ref) {
	t := c.tx.tables.byName[ref.Table]
	c.locks.in(t).shared(t.lockOf(ref))
	if ref.Index != "" {
		if c.absent[t] == nil {
			c.absent[t] = map[string][]string{}
		}
		c.absent[t][ref.Index] = append(c.absent[t][ref.Index], ref.Value)
	} else {
		c.expect(t, ref.Value)
	}
}

// expect demands that a document is as it was in the snapshot.
func (c *changes) expect(t *table, key string) {
	if c.versions[t] == nil {
		c.versions[t] = map[string]string{}
	}
	c.versions[t][key] = c.tx.known[storage.Ref{Table: t.def.Name, Value: key}].version
}

// before returns what is known of a document before a write.
func (c *changes) before(w *write) *presence {
	if p := c.now[w.ref()]; p != nil {
		return p
	}
	p := &presence{known: w.insert} // an INSERT finds out by itself whether the document exists
	if st, known := c.tx.known[w.ref()]; known {
		p.known, p.exists, p.entries = true, st.version != "", st.entries
		c.expect(w.table, w.key)
	}
	c.now[w.ref()] = p
	return p
}

func (c *changes) write(w *write) {
	p, t, locks := c.before(w), w.table, c.locks.in(w.table)
	locks.exclusive(t.document(w.key))
	if !p.known || p.exists != (w.doc != nil) {
		locks.shared(t.granule("", w.key))
	}
	changed := map[string]bool{} // the indexes whose entries change
	for _, e := range difference(p.entries, w.entries()) {
		locks.shared(t.granule(e.Index, e.Value))
		if t.indexes[e.Index].Unique {
			locks.exclusive(t.value(e.Index, e.Value))
		}
		changed[e.Index] = true
	}
	switch {
	case w.doc != nil:
		c.put(w, p, changed)
	case !p.known || p.exists:
		c.add(t.remove, w.key)
	}
	for _, ix := range t.multi {
		if !changed[ix.Name] {
			continue
		}
		if p.exists && len(valuesOf(p.entries, ix.Name)) > 0 {
			c.add(ix.clear, w.key)
		}
		if vs := valuesOf(w.entries(), ix.Name); len(vs) > 0 {
			c.add(ix.fill, w.key, vs)
		}
	}
	p.known, p.exists, p.entries = true, w.doc != nil, w.entries()
}

// put adds the statement that writes the row of a document.
func (c *changes) put(w *write, p *presence, changed map[string]bool) {
	t := w.table
	args := []any{w.key, string(w.doc.Value)}
	sql := t.upsert
	switch {
	case w.insert || p.known && !p.exists:
		sql = t.insert
	case p.exists && !slices.ContainsFunc(t.single, func(ix *index) bool { return changed[ix.Name] }):
		c.add(t.rewrite, args...)
		return
	case p.exists:
		sql = t.replace
	}
	for _, ix := range t.single {
		if vs := valuesOf(w.doc.Entries, ix.Name); len(vs) > 0 {
			args = append(args, vs[0])
		} else {
			args = append(args, nil)
		}
	}
	c.add(sql, args...)
}

func (c *changes) add(sql string, args ...any) {
	c.statements = append(c.statements, &statement{sql: sql, args: args})
}

// difference returns the entries that are in only one of two sorted lists.
func difference(a, b []storage.Entry) (out []storage.Entry) {
	for len(a) > 0 && len(b) > 0 {
		switch order := (position{a[0].Index, a[0].Value}).compare(position{b[0].Index, b[0].Value}); {
		case order < 0:
			out, a = append(out, a[0]), a[1:]
		case order > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// changed is the code of the square root of a negative number, which only the statement of check
// causes.
const changed = "2201F"

// maxSingle is the number of documents of a table, and of values of an index, up to which check
// looks at each by itself, which is cheaper for few of them.
const maxSingle = 8

// check returns the statement that fails as [changed] if something that the transaction relies on
// has changed since it was read, or as [outdated] if the definitions have.
func (c *changes) check() *statement {
	e := &expression{}
	var conditions []string
	for _, t := range slices.SortedFunc(maps.Keys(c.versions), byName) {
		conditions = append(conditions, t.unchanged(e, c.versions[t])...)
	}
	for _, t := range slices.SortedFunc(maps.Keys(c.absent), byName) {
		for _, index := range slices.Sorted(maps.Keys(c.absent[t])) {
			conditions = append(conditions, t.indexes[index].free(e, c.absent[t][index])...)
		}
	}
	for _, s := range c.tx.scans {
		conditions = append(conditions, s.same(e))
	}
	sql := "SELECT " + c.tx.tables.check
	if len(conditions) > 0 {
		sql += ", sqrt((" + strings.Join(conditions, " AND ") + ")::int - 1)"
	}
	return &statement{sql: sql, args: e.args}
}

func byName(a, b *table) int { return strings.Compare(a.def.Name, b.def.Name) }

// unchanged returns the conditions that documents have the given versions, by key.
func (t *table) unchanged(e *expression, versions map[string]string) (conditions []string) {
	keys := slices.Sorted(maps.Keys(versions))
	if len(keys) > maxSingle {
		values := make([]string, len(keys))
		for i, k := range keys {
			values[i] = versions[k]
		}
		return []string{`NOT EXISTS (SELECT FROM unnest(` + e.arg(keys) + `::text[], ` + e.arg(values) + `::text[]) AS u(k, v) LEFT JOIN ` +
			t.id + ` t ON t."key" = u.k WHERE coalesce(t.xmin::text, '') <> u.v)`}
	}
	for _, k := range keys {
		version := fmt.Sprintf(t.version, e.arg(k))
		if versions[k] == "" {
			conditions = append(conditions, version+" IS NULL")
		} else {
			conditions = append(conditions, "coalesce("+version+" = "+e.arg(versions[k])+", false)")
		}
	}
	return conditions
}

// free returns the conditions that no document has one of the values in a unique index.
func (ix *index) free(e *expression, values []string) (conditions []string) {
	slices.Sort(values)
	if len(values) > maxSingle {
		return []string{"NOT " + fmt.Sprintf(ix.taken, "ANY ("+e.arg(values)+"::text[])")}
	}
	for _, v := range values {
		conditions = append(conditions, "NOT "+fmt.Sprintf(ix.taken, e.arg(v)))
	}
	return conditions
}

// expression is an SQL expression that is being built.
type expression struct{ args []any }

// arg adds an argument, and returns its placeholder.
func (e *expression) arg(v any) string {
	e.args = append(e.args, v)
	return "$" + strconv.Itoa(len(e.args))
}
