package postgres

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/internal/kv"
)

// tables are the definitions of all tables with their statements. They are immutable.
type tables struct {
	defs        kv.Tables
	version     int    // of the definitions; it grows with each change
	check       string // the statement that fails as outdated if they have another version now
	byName      map[string]*table
	constraints map[string]*storage.ConflictError // by name
}

// table is the definition of a table with its statements.
type table struct {
	def     storage.Table
	id      string // the table's identifier in SQL
	indexes map[string]*index
	single  []*index // the indexes with a column, in the order of the columns
	multi   []*index // the indexes with a table of their own

	get, insert, upsert, remove string
}

// index is an index of a table with its statements.
type index struct {
	storage.Index
	value string // the expression for its value
	from  string // the tables of its entries and the documents
	side  string // the table of its entries, for a Multi index
	get   string // by value; for a unique index
	clear string // deletes the entries of a key, for a Multi index
	fill  string
	all   string // the expression for all values of a document, for a Multi index
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
	t := &table{def: def, id: s.in(def.Name), indexes: map[string]*index{}}
	columns, values, updates := []string{`"key"`, `"doc"`}, []string{"$1", "$2"}, []string{`"doc" = EXCLUDED."doc"`}
	for _, d := range def.Indexes {
		ix := &index{Index: d}
		t.indexes[d.Name] = ix
		if d.Multi {
			side := s.in(name(def.Name, d.Name))
			ix.side = side
			ix.value, ix.from = `m."value"`, side+` m JOIN `+t.id+` t ON t."key" = m."key"`
			ix.clear = `DELETE FROM ` + side + ` WHERE "key" = $1`
			ix.fill = `INSERT INTO ` + side + ` ("value", "key") SELECT v, $1::text FROM unnest($2::text[]) AS u(v)`
			ix.all = `ARRAY(SELECT a."value" FROM ` + side + ` a WHERE a."key" = t."key" ORDER BY a."value")`
			t.multi = append(t.multi, ix)
		} else {
			col := column(d.Name)
			ix.value, ix.from = "t."+col, t.id+" t"
			t.single = append(t.single, ix)
			columns = append(columns, col)
			values = append(values, fmt.Sprintf("$%d", len(columns)))
			updates = append(updates, col+" = EXCLUDED."+col)
		}
		if d.Unique {
			ix.get = `SELECT t."key", t."doc" FROM ` + ix.from + ` WHERE ` + ix.value + ` = $1`
		}
	}
	t.get = `SELECT "key", "doc" FROM ` + t.id + ` WHERE "key" = $1`
	t.insert = `INSERT INTO ` + t.id + ` (` + strings.Join(columns, ", ") + `) VALUES (` + strings.Join(values, ", ") + `)`
	t.upsert = t.insert + ` ON CONFLICT ("key") DO UPDATE SET ` + strings.Join(updates, ", ")
	t.remove = `DELETE FROM ` + t.id + ` WHERE "key" = $1`
	return t
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

// write returns the statements that write a document.
func (t *table) write(doc storage.Document, insert bool) []*statement {
	args := []any{doc.Key, string(doc.Value)}
	for _, ix := range t.single {
		if vs := valuesOf(doc, ix.Name); len(vs) > 0 {
			args = append(args, vs[0])
		} else {
			args = append(args, nil)
		}
	}
	sql := t.upsert
	if insert {
		sql = t.insert
	}
	out := []*statement{{sql: sql, args: args}}
	for _, ix := range t.multi {
		if !insert {
			out = append(out, &statement{sql: ix.clear, args: []any{doc.Key}})
		}
		if vs := valuesOf(doc, ix.Name); len(vs) > 0 {
			out = append(out, &statement{sql: ix.fill, args: []any{doc.Key, vs}})
		}
	}
	return out
}

// erase returns the statements that delete a document.
func (t *table) erase(key string) []*statement {
	out := []*statement{{sql: t.remove, args: []any{key}}}
	for _, ix := range t.multi {
		out = append(out, &statement{sql: ix.clear, args: []any{key}})
	}
	return out
}

func valuesOf(doc storage.Document, index string) []string {
	var vs []string
	for _, e := range doc.Entries {
		if e.Index == index {
			vs = append(vs, e.Value)
		}
	}
	return vs
}
