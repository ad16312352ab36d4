package kv

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Tables are the definitions of a store's tables by name. They are immutable once in use.
type Tables map[string]storage.Table

// Define returns the definitions with more tables, indexes and owners added.
func (ts Tables) Define(more ...storage.Table) (Tables, error) {
	out := make(Tables, len(ts)+len(more))
	maps.Copy(out, ts)
	for _, t := range more {
		if err := storage.ValidTable(t); err != nil {
			return nil, err
		}
		have, ok := out[t.Name]
		if !ok {
			t.Indexes = slices.Clone(t.Indexes)
			out[t.Name] = t
			continue
		}
		switch {
		case have.Owner == "":
			have.Owner = t.Owner
		case t.Owner != "" && t.Owner != have.Owner:
			return nil, fmt.Errorf("%w: table %s belongs to the owner %q, and %q can't define it", storage.ErrInvalid, t.Name, have.Owner, t.Owner)
		}
		have.Indexes = slices.Clone(have.Indexes)
		for _, ix := range t.Indexes {
			switch old := indexOf(have, ix.Name); {
			case old == nil:
				have.Indexes = append(have.Indexes, ix)
			case *old != ix:
				return nil, fmt.Errorf("%w: index %s of table %s is defined with another Unique or Multi", storage.ErrInvalid, ix.Name, t.Name)
			}
		}
		out[t.Name] = have
	}
	return out, nil
}

// Include reports whether ts has all of these tables, with their indexes and owners, so that Define
// would change nothing.
func (ts Tables) Include(tables []storage.Table) bool {
	for _, t := range tables {
		have, ok := ts[t.Name]
		if !ok || t.Owner != "" && t.Owner != have.Owner {
			return false
		}
		for _, ix := range t.Indexes {
			if old := indexOf(have, ix.Name); old == nil || *old != ix {
				return false
			}
		}
	}
	return true
}

// Changes returns the definitions that are new in later or differ from those in ts, sorted by name.
func (ts Tables) Changes(later Tables) []storage.Table {
	var changed []storage.Table
	for name, t := range later {
		if have, ok := ts[name]; !ok || have.Owner != t.Owner || len(have.Indexes) != len(t.Indexes) {
			changed = append(changed, t)
		}
	}
	return sorted(changed)
}

// List returns the definitions sorted by name. The caller may modify them.
func (ts Tables) List() []storage.Table {
	list := make([]storage.Table, 0, len(ts))
	n := 0
	for _, t := range ts {
		n += len(t.Indexes)
	}
	indexes := make([]storage.Index, 0, n) // of all tables
	for _, t := range ts {
		if len(t.Indexes) > 0 {
			from := len(indexes)
			indexes = append(indexes, t.Indexes...)
			t.Indexes = indexes[from:len(indexes):len(indexes)]
		}
		list = append(list, t)
	}
	return sorted(list)
}

func sorted(list []storage.Table) []storage.Table {
	slices.SortFunc(list, func(a, b storage.Table) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Buckets returns the names of a table's buckets.
func Buckets(t storage.Table) []string {
	buckets := []string{t.Name}
	for _, ix := range t.Indexes {
		buckets = append(buckets, indexBucket(t.Name, ix.Name))
	}
	return buckets
}

// IsIndex reports whether the bucket is that of an index. The bucket of a table has its name, in
// which there is no dot.
func IsIndex(bucket string) bool { return strings.Contains(bucket, ".") }

func indexBucket(table, index string) string { return table + "." + index }

func (ts Tables) table(name string) (storage.Table, error) {
	t, ok := ts[name]
	if !ok {
		return t, fmt.Errorf("%w: table %q is not defined", storage.ErrInvalid, name)
	}
	return t, nil
}

func (ts Tables) index(table, name string) (*storage.Index, error) {
	t, err := ts.table(table)
	if err != nil {
		return nil, err
	}
	if ix := indexOf(t, name); ix != nil {
		return ix, nil
	}
	return nil, fmt.Errorf("%w: table %s has no index %q", storage.ErrInvalid, table, name)
}

func indexOf(t storage.Table, name string) *storage.Index {
	for i := range t.Indexes {
		if t.Indexes[i].Name == name {
			return &t.Indexes[i]
		}
	}
	return nil
}
