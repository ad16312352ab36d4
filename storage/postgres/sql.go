package postgres

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/internal/kv"
)

// tables are the definitions of all tables with their statements. They are immutable.
type tables struct {
	defs        kv.Tables
	version     int    // of the definitions; it grows with each change
	check       string // the expression that fails as outdated if they have another version now
	byName      map[string]*table
	constraints map[string]*storage.ConflictError // by name
}

// table is the definition of a table with its statements.
type table struct {
	def     storage.Table
	id      string // the table's identifier in SQL
	lock    lock   // of the whole table
	indexes map[string]*index
	single  []*index // the indexes with a column, in the order of the columns
	multi   []*index // the indexes with a table of their own

	entries string // the columns of all entries of a document t, each after a comma
	get     query  // by key
	version string // the expression for the version of the document of a key; null if there is none
	insert  string
	upsert  string
	replace string // an UPDATE of a document and its columns
	rewrite string // an UPDATE of a document only
	remove  string
}

// index is an index of a table with its statements.
type index struct {
	storage.Index
	value string // the expression for its value
	from  string // the tables of its entries and the documents
	side  string // the table of its entries, for a Multi index
	get   query  // by value; for a unique index
	taken string // the expression for whether there is a document with a value
	clear string // deletes the entries of a key, for a Multi index
	fill  string
	all   string // the expression for all values of a document, for a Multi index
}

// query is a statement that reads one document.
type query struct {
	doc   string // the key and the document
	state string // in addition, the version and the entries
}

// compile builds the statements of all tables.
func (s *Store) compile(defs kv.Tables, version int) *tables {
	ts := &tables{defs: defs, version: version, check: s.checkVersion(version), byName: map[string]*table{}, constraints: map[string]*storage.ConflictError{}}
	for _, def := range defs {
		t := s.compileTable(def)
		ts.byName[def.Name] = t
		ts.constraints[name(def.Name, "key")] = &storage.ConflictError{Table: def.Name}
		for _, ix := range def.Indexes {
			constraint := name(def.Name, ix.Name)
			if ix.Multi {
				constraint = name(def.Name, ix.Name, "value")
			}
			ts.constraints[constraint] = &storage.ConflictError{Table: def.Name, Index: ix.Name}
		}
	}
	return ts
}

func (s *Store) compileTable(def storage.Table) *table {
	t := &table{def: def, id: s.in(def.Name), lock: newLock(s.schema, def.Name), indexes: map[string]*index{}}
	columns, values := []string{`"key"`, `"doc"`}, []string{"$1", "$2"}
	var sets, updates []string
	for _, d := range def.Indexes {
		ix := &index{Index: d}
		t.indexes[d.Name] = ix
		if d.Multi {
			ix.side = s.in(name(def.Name, d.Name))
			ix.value, ix.from = `m."value"`, ix.side+` m JOIN `+t.id+` t ON t."key" = m."key"`
			ix.clear = `DELETE FROM ` + ix.side + ` WHERE "key" = $1`
			ix.fill = `INSERT INTO ` + ix.side + ` ("value", "key") SELECT v, $1::text FROM unnest($2::text[]) AS u(v)`
			ix.all = `ARRAY(SELECT a."value" FROM ` + ix.side + ` a WHERE a."key" = t."key" ORDER BY a."value")`
			t.multi = append(t.multi, ix)
			continue
		}
		col := column(d.Name)
		ix.value, ix.from = "t."+col, t.id+" t"
		t.single = append(t.single, ix)
		columns = append(columns, col)
		values = append(values, fmt.Sprintf("$%d", len(columns)))
		sets = append(sets, fmt.Sprintf(", %s = $%d", col, len(columns)))
		updates = append(updates, ", "+col+" = EXCLUDED."+col)
	}
	for _, ix := range t.single {
		t.entries += ", " + ix.value
	}
	for _, ix := range t.multi {
		t.entries += ", " + ix.all
	}
	t.get = t.query(t.id+" t", `t."key"`)
	for _, ix := range t.indexes {
		if ix.Unique {
			ix.get = t.query(ix.from, ix.value)
			ix.taken = `EXISTS (SELECT FROM ` + ix.from + ` WHERE ` + ix.value + ` = %s)`
		}
	}
	t.version = `(SELECT xmin::text FROM ` + t.id + ` WHERE "key" = %s)`
	t.insert = `INSERT INTO ` + t.id + ` (` + strings.Join(columns, ", ") + `) VALUES (` + strings.Join(values, ", ") + `)`
	t.upsert = t.insert + ` ON CONFLICT ("key") DO UPDATE SET "doc" = EXCLUDED."doc"` + strings.Join(updates, "")
	t.rewrite = `UPDATE ` + t.id + ` SET "doc" = $2 WHERE "key" = $1`
	t.replace = `UPDATE ` + t.id + ` SET "doc" = $2` + strings.Join(sets, "") + ` WHERE "key" = $1`
	t.remove = `DELETE FROM ` + t.id + ` WHERE "key" = $1`
	return t
}

func (t *table) query(from, by string) query {
	rest := ` FROM ` + from + ` WHERE ` + by + ` = $1`
	return query{
		doc:   `SELECT t."key", t."doc"` + rest,
		state: `SELECT t."key", t."doc", t.xmin::text` + t.entries + rest,
	}
}

func (ts *tables) table(name string) (*table, error) {
	if t := ts.byName[name]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("%w: table %q is not defined", storage.ErrInvalid, name)
}

func (t *table) index(name string) (*index, error) {
	if ix := t.indexes[name]; ix != nil {
		return ix, nil
	}
	return nil, fmt.Errorf("%w: table %s has no index %q", storage.ErrInvalid, t.def.Name, name)
}

// conflict returns the error of a unique violation, or nil if its constraint is unknown.
func (ts *tables) conflict(err *pgconn.PgError) *storage.ConflictError {
	return ts.constraints[err.ConstraintName]
}

// entryColumns receives the columns of the entries of documents, row by row.
type entryColumns struct {
	t      *table
	single []*string
	multi  [][]string
}

func (t *table) entryColumns() *entryColumns {
	return &entryColumns{t, make([]*string, len(t.single)), make([][]string, len(t.multi))}
}

// dest appends the destinations of the columns.
func (c *entryColumns) dest(dest []any) []any {
	for i := range c.single {
		dest = append(dest, &c.single[i])
	}
	for i := range c.multi {
		dest = append(dest, &c.multi[i])
	}
	return dest
}

// entries returns the entries of the row that was read last, in the order of [storage.Record].
func (c *entryColumns) entries() (es []storage.Entry) {
	for i, ix := range c.t.single {
		if c.single[i] != nil {
			es = append(es, storage.Entry{Index: ix.Name, Value: *c.single[i]})
		}
	}
	for i, ix := range c.t.multi {
		for _, v := range c.multi[i] {
			es = append(es, storage.Entry{Index: ix.Name, Value: v})
		}
	}
	slices.SortFunc(es, func(a, b storage.Entry) int {
		return position{a.Index, a.Value}.compare(position{b.Index, b.Value})
	})
	return es
}

func valuesOf(entries []storage.Entry, index string) []string {
	var vs []string
	for _, e := range entries {
		if e.Index == index {
			vs = append(vs, e.Value)
		}
	}
	return vs
}
