package storage

import (
	"context"
	"fmt"
	"slices"
)

// Problem is an inconsistency that [Check] found.
type Problem struct {
	Table string
	// Key is that of the document, if it is about one.
	Key  string
	What string
}

func (p Problem) String() string {
	if p.Key == "" {
		return fmt.Sprintf("table %s: %s", p.Table, p.What)
	}
	return fmt.Sprintf("table %s, document %q: %s", p.Table, p.Key, p.What)
}

// indexer computes what a document's index entries should be: a [Collection].
type indexer interface {
	EntriesOf(doc []byte) (key string, entries []Entry, err error)
}

// Check proves a store consistent, in one snapshot: every document is found by
// its key and by each of its index entries, every index leads to documents that
// have the entry, unique values are unique, scans are in order, and, for the
// tables of the collections given, each document decodes and has the entries and the key that the
// collection computes. It reads everything several times, and keeps little of it.
func Check(ctx context.Context, s Store, collections ...Definer) ([]Problem, error) {
	tables, err := s.Tables(ctx)
	if err != nil {
		return nil, err
	}
	indexers := map[string]indexer{}
	for _, c := range collections {
		if ix, ok := c.(indexer); ok {
			indexers[c.Table().Name] = ix
		}
	}
	var problems []Problem
	err = s.View(ctx, func(tx Tx) error {
		problems = nil
		for _, t := range tables {
			c := checker{tx: tx, table: t, indexer: indexers[t.Name]}
			if err := c.run(); err != nil {
				return fmt.Errorf("checking table %s: %w", t.Name, err)
			}
			problems = append(problems, c.problems...)
		}
		return nil
	})
	return problems, err
}

type checker struct {
	tx       Tx
	table    Table
	indexer  indexer
	problems []Problem
}

func (c *checker) problem(key, format string, args ...any) {
	c.problems = append(c.problems, Problem{c.table.Name, key, fmt.Sprintf(format, args...)})
}

func (c *checker) run() error {
	entries := map[string]int{} // how many each index should have
	last := ""
	for rec, err := range c.tx.Scan(c.table.Name, Range{Entries: true}) {
		if err != nil {
			return err
		}
		if rec.Key <= last {
			c.problem(rec.Key, "the scan is out of order: %q comes before it", last)
		}
		last = rec.Key
		for _, e := range rec.Entries {
			entries[e.Index]++
		}
		if err := c.document(rec); err != nil {
			return err
		}
	}
	for _, ix := range c.table.Indexes {
		if err := c.index(ix, entries[ix.Name]); err != nil {
			return err
		}
	}
	return nil
}

// document checks one document against its key, its entries and its collection.
func (c *checker) document(rec Record) error {
	if _, err := c.tx.Get(c.table.Name, rec.Key); err != nil {
		c.problem(rec.Key, "it is in a scan, and not found by its key: %v", err)
	}
	for _, e := range rec.Entries {
		if !slices.ContainsFunc(c.table.Indexes, func(ix Index) bool { return ix.Name == e.Index }) {
			c.problem(rec.Key, "it has an entry of an index that is not defined: %s", e.Index)
			continue
		}
		found, err := c.finds(e, rec.Key)
		if err != nil {
			return err
		}
		if !found {
			c.problem(rec.Key, "index %s does not find it by %q", e.Index, e.Value)
		}
	}
	if c.indexer == nil {
		return nil
	}
	key, want, err := c.indexer.EntriesOf(rec.Value)
	switch {
	case err != nil:
		c.problem(rec.Key, "it can't be decoded: %v", err)
	case key != rec.Key:
		c.problem(rec.Key, "its contents belong under the key %q", key)
	case !slices.Equal(slices.Compact(want), rec.Entries):
		c.problem(rec.Key, "its index entries are %v, and should be %v", rec.Entries, want)
	}
	return nil
}

// finds reports whether an index leads to a document by one of its entries.
func (c *checker) finds(e Entry, key string) (bool, error) {
	for rec, err := range c.tx.Scan(c.table.Name, Exactly(e.Index, e.Value)) {
		if err != nil || rec.Key == key {
			return err == nil, err
		}
	}
	return false, nil
}

// index checks that an index has nothing but entries of documents, as many as there should be, in order.
func (c *checker) index(ix Index, want int) error {
	have := 0
	cursor := ""
	for rec, err := range c.tx.Scan(c.table.Name, Range{Index: ix.Name, Entries: true}) {
		if err != nil {
			c.problem("", "index %s: %v", ix.Name, err)
			return nil
		}
		have++
		if rec.Cursor == cursor {
			c.problem(rec.Key, "index %s yields it twice at one place", ix.Name)
		}
		cursor = rec.Cursor
		if !slices.ContainsFunc(rec.Entries, func(e Entry) bool { return e.Index == ix.Name }) {
			c.problem(rec.Key, "index %s leads to it, and it has no entry there", ix.Name)
		}
		if ix.Unique {
			for _, e := range rec.Entries {
				if e.Index != ix.Name {
					continue
				}
				if n, err := c.holders(e); err != nil {
					return err
				} else if n != 1 {
					c.problem(rec.Key, "unique index %s has its value %q %d times", ix.Name, e.Value, n)
				}
			}
		}
	}
	if have != want {
		c.problem("", "index %s has %d entries, and documents have %d", ix.Name, have, want)
	}
	return nil
}

func (c *checker) holders(e Entry) (n int, err error) {
	for _, err := range c.tx.Scan(c.table.Name, Exactly(e.Index, e.Value)) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
