package postgres

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/internal/kv"
)

// chunk is the maximum number of rows of a scan that are read at once.
const chunk = 256

// position is a position in the order of a scan, which is by value, then by key. In a scan by key,
// the value is empty.
type position struct{ value, key string }

func (p position) compare(q position) int {
	if c := strings.Compare(p.value, q.value); c != 0 {
		return c
	}
	return strings.Compare(p.key, q.key)
}

// text returns the position as [kv.Cursor] takes it.
func (p position) text(byKey bool) string {
	if byKey {
		return p.key
	}
	return p.value + "\x00" + p.key
}

// row is one record of a scan.
type row struct {
	position
	doc     []byte
	entries []storage.Entry // if the Range asks for them

	// In the rows of the database that an Update reads, the state of the document.
	version string
	stored  []storage.Entry
}

// bounds limit a scan: to values (from, inclusive, and to, exclusive; empty for no bound), and, if
// set, to the rows after and before a position, and up to the position of the last row, inclusive.
type bounds struct {
	from, to      string
	after, before *position
	last          *position
}

// scan is a scan that is being read.
type scan struct {
	tx     *transaction
	table  *table
	index  *index // nil for a scan by key
	r      storage.Range
	bounds bounds
	span   *span                        // what has been read, in an Update
	hidden map[string]*storage.Document // written by the transaction before the scan began
	own    []row                        // the rows of hidden in the range, in order
}

// Scan implements [storage.Tx]. It reads up to 256 rows at once.
func (tx *transaction) Scan(table string, r storage.Range) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		sc, err := tx.newScan(table, r)
		if err != nil {
			yield(storage.Record{}, err)
			return
		}
		n := 0
		for row, err := range sc.rows() {
			if err == nil {
				err = tx.ready()
			}
			if err != nil {
				yield(storage.Record{}, err)
				return
			}
			rec := storage.Record{Key: row.key, Value: row.doc, Cursor: kv.Cursor(r.Index, row.text(sc.index == nil)), Entries: row.entries}
			if !yield(rec, nil) {
				return
			}
			if n++; n == r.Limit {
				return
			}
		}
	}
}

func (tx *transaction) newScan(name string, r storage.Range) (*scan, error) {
	if err := tx.ready(); err != nil {
		return nil, err
	}
	if err := storage.ValidRange(r); err != nil {
		return nil, err
	}
	t, err := tx.tables.table(name)
	if err != nil {
		return nil, err
	}
	sc := &scan{tx: tx, table: t, r: r, hidden: maps.Clone(tx.written[name])}
	if r.Index != "" {
		if sc.index, err = t.index(r.Index); err != nil {
			return nil, err
		}
	}
	if sc.bounds, err = boundsOf(r); err != nil {
		return nil, err
	}
	if tx.writable {
		sc.span = &span{table: t, index: sc.index, r: r, bounds: sc.bounds}
	}
	for _, doc := range sc.hidden {
		sc.own = append(sc.own, sc.rowsOf(doc)...)
	}
	slices.SortFunc(sc.own, func(a, b row) int { return sc.compare(a.position, b.position) })
	return sc, nil
}

func boundsOf(r storage.Range) (b bounds, err error) {
	for _, s := range []string{r.From, r.To, r.Prefix} {
		if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
			return b, fmt.Errorf("%w: the bound of a scan is not UTF-8 or contains NUL", storage.ErrInvalid)
		}
	}
	b.from, b.to = r.From, r.To
	if r.Prefix != "" {
		b.from = max(b.from, r.Prefix)
		if end := behind(r.Prefix); b.to == "" || end != "" && end < b.to {
			b.to = end
		}
	}
	if r.After == "" {
		return b, nil
	}
	text, err := kv.Position(r.Index, r.After)
	if err != nil {
		return b, err
	}
	p := position{key: text}
	if r.Index != "" {
		var ok bool
		if p.value, p.key, ok = strings.Cut(text, "\x00"); !ok {
			return b, fmt.Errorf("%w: bad cursor", storage.ErrInvalid)
		}
	}
	if !utf8.ValidString(text) || strings.IndexByte(p.key, 0) >= 0 {
		return b, fmt.Errorf("%w: bad cursor", storage.ErrInvalid)
	}
	b.resume(p, r)
	return b, nil
}

// resume makes the scan begin after a position.
func (b *bounds) resume(p position, r storage.Range) {
	by := p.value
	if r.Index == "" {
		by = p.key
	}
	switch {
	case !r.Reverse && by >= b.from:
		b.after = &p
	case r.Reverse && (b.to == "" || by < b.to):
		b.before = &p
	}
}

// behind returns the first string after all strings that start with a prefix, or an empty string if
// there is none.
func behind(prefix string) string {
	rs := []rune(prefix)
	for i := len(rs) - 1; i >= 0; i-- {
		switch next := rs[i] + 1; {
		case next == 0xd800:
			return string(append(rs[:i], 0xe000))
		case next <= utf8.MaxRune:
			return string(append(rs[:i], next))
		}
	}
	return ""
}

// compare orders positions in the direction of the scan.
func (sc *scan) compare(a, b position) int {
	if sc.r.Reverse {
		a, b = b, a
	}
	return a.compare(b)
}

// rowsOf returns the rows in the range for a document that the transaction has written.
func (sc *scan) rowsOf(doc *storage.Document) (rows []row) {
	if doc == nil {
		return nil
	}
	r := row{position: position{key: doc.Key}}
	if !sc.r.KeysOnly {
		r.doc = doc.Value
	}
	if sc.r.Entries {
		r.entries = doc.Entries
	}
	if sc.index == nil {
		if sc.bounds.hold(r.position, doc.Key) {
			rows = append(rows, r)
		}
		return rows
	}
	for _, v := range valuesOf(doc.Entries, sc.index.Name) {
		r.value = v
		if sc.bounds.hold(r.position, v) {
			rows = append(rows, r)
		}
	}
	return rows
}

func (b *bounds) hold(p position, by string) bool {
	return by >= b.from && (b.to == "" || by < b.to) &&
		(b.after == nil || p.compare(*b.after) > 0) && (b.before == nil || p.compare(*b.before) < 0)
}

// rows yields the rows of the database merged with those that the transaction has written.
func (sc *scan) rows() iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		own := sc.own
		for r, err := range sc.stored() {
			if err != nil {
				yield(row{}, err)
				return
			}
			if _, changed := sc.hidden[r.key]; changed {
				continue
			}
			for len(own) > 0 && sc.compare(own[0].position, r.position) < 0 {
				if !yield(own[0], nil) {
					return
				}
				own = own[1:]
			}
			if !yield(r, nil) {
				return
			}
		}
		for _, r := range own {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// stored yields the rows of the database in the range.
func (sc *scan) stored() iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		if err := sc.begin(); err != nil {
			yield(row{}, err)
			return
		}
		left := sc.r.Limit
		for {
			n := chunk
			if left > 0 && len(sc.hidden) == 0 {
				n = min(n, left)
			}
			rows, err := sc.fetch(n)
			if err != nil {
				yield(row{}, err)
				return
			}
			for _, r := range rows {
				if err := sc.note(r); err != nil {
					yield(row{}, err)
					return
				}
				if !yield(r, nil) {
					return
				}
			}
			if len(rows) < n {
				if sc.span != nil {
					sc.span.bounds.last = nil // it has read everything
				}
				return
			}
			left -= n
			sc.bounds.resume(rows[n-1].position, sc.r)
		}
	}
}

// begin notes in an Update that it relies on what it reads from now on.
func (sc *scan) begin() error {
	if sc.span == nil {
		return nil
	}
	sc.tx.scans = append(sc.tx.scans, sc.span)
	l, _ := sc.span.lock()
	return sc.tx.covered(sc.table, l, true)
}

// note remembers in an Update what a row of the database looked like.
func (sc *scan) note(r row) error {
	if sc.span == nil {
		return nil
	}
	sc.span.bounds.last = &r.position
	sc.span.rows = append(sc.span.rows, sc.span.text(r))
	if sc.r.KeysOnly {
		return nil
	}
	ref := storage.Ref{Table: sc.table.def.Name, Value: r.key}
	sc.tx.known[ref] = state{r.version, r.stored}
	sc.tx.relied[ref] = true
	return sc.tx.covered(sc.table, sc.table.document(r.key), false)
}

// fetch reads the next n rows.
func (sc *scan) fetch(n int) ([]row, error) {
	if err := sc.tx.ready(); err != nil {
		return nil, err
	}
	sql, args := sc.query(n)
	var out []row
	statements, learn := sc.tx.ask(nil)
	statements = append(statements, &statement{sql: sql, args: args, rows: func(rows pgx.Rows) error {
		out = make([]row, 0, n)
		var r row
		dest := []any{&r.value, &r.key}
		if !sc.r.KeysOnly {
			dest = append(dest, &r.doc)
		}
		columns := sc.table.entryColumns()
		if sc.states() {
			dest = append(dest, &r.version)
		}
		if sc.states() || sc.r.Entries {
			dest = columns.dest(dest)
		}
		for rows.Next() {
			r.doc = nil // not to be overwritten
			if err := rows.Scan(dest...); err != nil {
				return err
			}
			if sc.states() || sc.r.Entries {
				r.stored = columns.entries()
			}
			if sc.r.Entries {
				r.entries = r.stored
			}
			out = append(out, r)
		}
		return rows.Err()
	}})
	if err := sc.tx.exchange(statements, reading); err != nil {
		return nil, err
	}
	learn()
	return out, nil
}

// states reports whether the scan reads the states of the documents.
func (sc *scan) states() bool { return sc.span != nil && !sc.r.KeysOnly }

// query returns the statement that reads the next n rows.
func (sc *scan) query(n int) (sql string, args []any) {
	e := &expression{}
	o := orderOf(sc.table, sc.index, sc.r.KeysOnly)
	sql = "SELECT " + o.value + ", " + o.key
	if !sc.r.KeysOnly {
		sql += `, t."doc"`
	}
	if sc.states() {
		sql += ", t.xmin::text"
	}
	if sc.states() || sc.r.Entries {
		sql += sc.table.entries
	}
	sql += o.rows(e, sc.bounds, sc.r.Reverse)
	return sql + " LIMIT " + e.arg(int64(n)), e.args
}

// order is how the rows of a scan are found and ordered.
type order struct {
	from, value, key string
	by               []string // the columns that order the rows
}

// orderOf returns the order of an index, or of the keys if it is nil.
func orderOf(t *table, ix *index, keysOnly bool) order {
	switch key := `t."key"`; {
	case ix == nil:
		return order{from: t.id + " t", value: `''`, key: key, by: []string{key}}
	case ix.Unique && !ix.Multi: // no two rows have the same value
		return order{from: ix.from, value: ix.value, key: key, by: []string{ix.value}}
	case !ix.Multi:
		return order{from: ix.from, value: ix.value, key: key, by: []string{ix.value, key}}
	default:
		o := order{from: ix.from, value: ix.value, key: `m."key"`, by: []string{ix.value, `m."key"`}}
		if keysOnly {
			o.from = ix.side + " m"
		}
		if ix.Unique {
			o.by = o.by[:1]
		}
		return o
	}
}

// rows returns the rest of a statement that reads the rows within bounds, in order.
func (o order) rows(e *expression, b bounds, reverse bool) string {
	byKey := o.by[0] == o.key
	var where []string
	beyond := func(op string, p *position) {
		switch {
		case byKey:
			where = append(where, o.by[0]+" "+op+" "+e.arg(p.key))
		case len(o.by) == 1:
			where = append(where, o.by[0]+" "+op+" "+e.arg(p.value))
		default:
			where = append(where, fmt.Sprintf("(%s, %s) %s (%s, %s)", o.by[0], o.by[1], op, e.arg(p.value), e.arg(p.key)))
		}
	}
	switch {
	case b.after != nil:
		beyond(">", b.after)
	case b.from != "":
		where = append(where, o.by[0]+" >= "+e.arg(b.from))
	}
	switch {
	case b.before != nil:
		beyond("<", b.before)
	case b.to != "":
		where = append(where, o.by[0]+" < "+e.arg(b.to))
	}
	direction := ""
	if reverse {
		direction = " DESC"
	}
	switch {
	case b.last == nil:
	case reverse:
		beyond(">=", b.last)
	default:
		beyond("<=", b.last)
	}
	if len(where) == 0 && !byKey {
		where = append(where, o.value+" IS NOT NULL")
	}
	sql := " FROM " + o.from
	if len(where) > 0 {
		sql += " WHERE " + strings.Join(where, " AND ")
	}
	return sql + " ORDER BY " + strings.Join(o.by, direction+", ") + direction
}

// span is what an Update has read of a range: all rows within bounds.
type span struct {
	table  *table
	index  *index // nil for a range of keys
	r      storage.Range
	bounds bounds
	rows   []string // see text
}

// text returns what the transaction relies on in a row: its value, its key, and the version of its
// document unless it has only read the key.
func (s *span) text(r row) string {
	text := strconv.Itoa(len(r.value)) + ":" + r.value + r.key
	if !s.r.KeysOnly {
		text += " " + r.version
	}
	return text
}

// same returns the condition that the range still has the same rows.
func (s *span) same(e *expression) string {
	o := orderOf(s.table, s.index, s.r.KeysOnly)
	text := "octet_length(" + o.value + ")::text || ':' || " + o.value + " || " + o.key
	if !s.r.KeysOnly {
		text += " || ' ' || t.xmin::text"
	}
	rows := s.rows
	if rows == nil {
		rows = []string{}
	}
	return "ARRAY(SELECT " + text + o.rows(e, s.bounds, s.r.Reverse) + ") = " + e.arg(rows) + "::text[]"
}

// lock returns the lock of the granule in which the range lies, if it lies within one, and that of
// the table otherwise.
func (s *span) lock() (l lock, within bool) {
	from, to := s.bounds.from, s.bounds.to
	// The values from "x y" to "x!", which comes right after "x ", begin with "x ".
	first, _, several := strings.Cut(from, " ")
	exactly := from != "" && to == from+"\x01" // as storage.Exactly says it
	if !exactly && (!several || to == "" || to > first+"!") {
		return s.table.lock, false
	}
	return s.table.granule(s.r.Index, from), true
}
