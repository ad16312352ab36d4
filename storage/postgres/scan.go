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
	entries []storage.Entry
}

// bounds limit a scan: to values (from, inclusive, and to, exclusive; empty for no bound), and, if
// set, to the rows after and before a position.
type bounds struct {
	from, to      string
	after, before *position
}

// scan is a scan that is being read.
type scan struct {
	tx     *transaction
	table  *table
	index  *index // nil for a scan by key
	r      storage.Range
	bounds bounds
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
	for _, v := range valuesOf(*doc, sc.index.Name) {
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
				if !yield(r, nil) {
					return
				}
			}
			if len(rows) < n {
				return
			}
			left -= n
			sc.bounds.resume(rows[n-1].position, sc.r)
		}
	}
}

// fetch reads the next n rows.
func (sc *scan) fetch(n int) ([]row, error) {
	if err := sc.tx.ready(); err != nil {
		return nil, err
	}
	sql, args := sc.query(n)
	var out []row
	err := sc.tx.exchange([]*statement{{sql: sql, args: args, rows: func(rows pgx.Rows) error {
		out = make([]row, 0, n)
		single := make([]*string, len(sc.table.single))
		multi := make([][]string, len(sc.table.multi))
		for rows.Next() {
			var r row
			dest := []any{&r.value, &r.key}
			if !sc.r.KeysOnly {
				dest = append(dest, &r.doc)
			}
			if sc.r.Entries {
				for i := range single {
					dest = append(dest, &single[i])
				}
				for i := range multi {
					dest = append(dest, &multi[i])
				}
			}
			if err := rows.Scan(dest...); err != nil {
				return err
			}
			if sc.r.Entries {
				r.entries = sc.table.entries(single, multi)
			}
			out = append(out, r)
		}
		return rows.Err()
	}}}, false)
	return out, err
}

func (t *table) entries(single []*string, multi [][]string) (es []storage.Entry) {
	for i, ix := range t.single {
		if single[i] != nil {
			es = append(es, storage.Entry{Index: ix.Name, Value: *single[i]})
		}
	}
	for i, ix := range t.multi {
		for _, v := range multi[i] {
			es = append(es, storage.Entry{Index: ix.Name, Value: v})
		}
	}
	slices.SortFunc(es, func(a, b storage.Entry) int {
		return position{a.Index, a.Value}.compare(position{b.Index, b.Value})
	})
	return es
}

// query returns the statement that reads the next n rows.
func (sc *scan) query(n int) (sql string, args []any) {
	value, from, by, key := `''`, sc.table.id+" t", `t."key"`, `t."key"`
	order := []string{by}
	if ix := sc.index; ix != nil {
		value, from, by = ix.value, ix.from, ix.value
		if ix.Multi {
			key = `m."key"`
		}
		if ix.Multi && sc.r.KeysOnly {
			from = ix.side + " m"
		}
		order = []string{by, key}
		if ix.Unique { // no two rows have the same value
			order = order[:1]
		}
	}
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	var where []string
	beyond := func(op string, p *position) {
		switch {
		case sc.index == nil:
			where = append(where, by+" "+op+" "+arg(p.key))
		case sc.index.Unique:
			where = append(where, by+" "+op+" "+arg(p.value))
		default:
			where = append(where, fmt.Sprintf("(%s, %s) %s (%s, %s)", by, order[1], op, arg(p.value), arg(p.key)))
		}
	}
	b := sc.bounds
	switch {
	case b.after != nil:
		beyond(">", b.after)
	case b.from != "":
		where = append(where, by+" >= "+arg(b.from))
	}
	switch {
	case b.before != nil:
		beyond("<", b.before)
	case b.to != "":
		where = append(where, by+" < "+arg(b.to))
	}
	if len(where) == 0 && sc.index != nil {
		where = append(where, by+" IS NOT NULL")
	}
	sql = "SELECT " + value + ", " + key
	if !sc.r.KeysOnly {
		sql += `, t."doc"`
	}
	if sc.r.Entries {
		for _, ix := range sc.table.single {
			sql += ", " + ix.value
		}
		for _, ix := range sc.table.multi {
			sql += ", " + ix.all
		}
	}
	sql += " FROM " + from
	if len(where) > 0 {
		sql += " WHERE " + strings.Join(where, " AND ")
	}
	direction := ""
	if sc.r.Reverse {
		direction = " DESC"
	}
	return sql + " ORDER BY " + strings.Join(order, direction+", ") + direction + " LIMIT " + arg(int64(n)), args
}
