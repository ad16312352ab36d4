package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
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

// Check proves a store consistent, in one snapshot. The documents of each table
// come in the order of their keys and are found by their keys; each index holds
// exactly the entries that the documents have, in order, once, and leads to them;
// unique values are unique. Of the tables of the collections given, each document decodes
// and has the key and the entries that its collection computes.
//
// It reads each table a few times and looks every document up, in time
// proportional to their number, and keeps none of them. It names up to 100
// problems of a table.
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

// maxProblems is how many problems of one table are named.
const maxProblems = 100

type checker struct {
	tx       Tx
	table    Table
	indexer  indexer
	problems []Problem
}

func (c *checker) problem(key, format string, args ...any) {
	switch p := (Problem{c.table.Name, key, fmt.Sprintf(format, args...)}); {
	case len(c.problems) < maxProblems:
		c.problems = append(c.problems, p)
	case len(c.problems) == maxProblems:
		c.problems = append(c.problems, Problem{Table: c.table.Name, What: "there are more problems"})
	}
}

// failed makes an error a problem, unless it is one of reaching the store at all,
// which it returns.
func (c *checker) failed(key, what string, err error) error {
	for _, outside := range []error{context.Canceled, context.DeadlineExceeded, ErrUnavailable, ErrClosed} {
		if errors.Is(err, outside) {
			return err
		}
	}
	c.problem(key, "%s: %v", what, err)
	return nil
}

// tally sums up the entries of an index, whatever their order.
type tally struct {
	entries int
	sum     uint64
}

func (t *tally) add(rec Record) {
	h := fnv.New64a()
	_, _ = io.WriteString(h, rec.Key+"\x00")
	_, _ = h.Write(rec.Value)
	for _, e := range rec.Entries {
		_, _ = io.WriteString(h, "\x00"+e.Index+"\x00"+e.Value)
	}
	t.entries++
	t.sum += h.Sum64()
}

func (c *checker) run() error {
	should := map[string]*tally{} // what each index should hold
	for _, ix := range c.table.Indexes {
		should[ix.Name] = new(tally)
	}
	last := ""
	for rec, err := range c.tx.Scan(c.table.Name, Range{Entries: true}) {
		if err != nil {
			if err := c.failed("", "it can't be read to its end", err); err != nil {
				return err
			}
			break
		}
		if rec.Key <= last {
			c.problem(rec.Key, "the scan is out of order: %q comes before it", last)
		}
		last = rec.Key
		for _, e := range rec.Entries {
			if t := should[e.Index]; t != nil {
				t.add(rec)
			}
		}
		if err := c.document(rec); err != nil {
			return err
		}
	}
	for _, ix := range c.table.Indexes {
		if err := c.index(ix, *should[ix.Name]); err != nil {
			return err
		}
	}
	return nil
}

// document checks one document against its key, its entries and its collection.
func (c *checker) document(rec Record) error {
	got, err := c.tx.Get(c.table.Name, rec.Key)
	if err := c.leads(rec, got, err, "its key"); err != nil {
		return err
	}
	for _, e := range rec.Entries {
		i := slices.IndexFunc(c.table.Indexes, func(ix Index) bool { return ix.Name == e.Index })
		switch {
		case i < 0:
			c.problem(rec.Key, "it has an entry of an index that is not defined: %s", e.Index)
		case c.table.Indexes[i].Unique:
			got, err := c.tx.GetBy(c.table.Name, e.Index, e.Value)
			if err := c.leads(rec, got, err, fmt.Sprintf("index %s by %q", e.Index, e.Value)); err != nil {
				return err
			}
		}
	}
	if c.indexer == nil {
		if !json.Valid(rec.Value) {
			c.problem(rec.Key, "it is not JSON")
		}
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

// leads checks that a look-up found the document that a scan did.
func (c *checker) leads(rec Record, got []byte, err error, by string) error {
	switch {
	case err != nil:
		return c.failed(rec.Key, "it is not found by "+by, err)
	case !bytes.Equal(got, rec.Value):
		c.problem(rec.Key, "by %s another document is found", by)
	}
	return nil
}

// index checks that an index holds what it should, in order, and is searched as it
// is scanned.
func (c *checker) index(ix Index, should tally) error {
	var holds tally
	var last Entry
	lastKey := ""
	value := &valueScan{c: c, index: ix.Name}
	defer value.end()
	for rec, err := range c.tx.Scan(c.table.Name, Range{Index: ix.Name, Entries: true}) {
		if err != nil {
			return c.failed("", "index "+ix.Name+" can't be read to its end", err)
		}
		holds.add(rec)
		// A record doesn't say which of its values it is here for: the first
		// that comes behind the record before.
		i := slices.IndexFunc(rec.Entries, func(e Entry) bool {
			return e.Index == ix.Name && (e.Value > last.Value || e.Value == last.Value && rec.Key > lastKey)
		})
		if i < 0 {
			c.problem(rec.Key, "index %s leads to it where it has no entry, or out of order", ix.Name)
			continue
		}
		if ix.Unique && rec.Entries[i].Value == last.Value {
			c.problem(rec.Key, "unique index %s has its value %q for %q too", ix.Name, last.Value, lastKey)
		}
		last, lastKey = rec.Entries[i], rec.Key
		if err := value.step(last.Value, rec.Key); err != nil {
			return err
		}
	}
	if holds != should {
		return c.compare(ix, holds, should)
	}
	return nil
}

// valueScan searches an index for each value that a scan of it comes by, and
// follows both in step.
type valueScan struct {
	c     *checker
	index string
	value string
	next  func() (Record, error, bool)
	stop  func()
}

func (s *valueScan) step(value, key string) error {
	if s.next == nil || value != s.value {
		s.end()
		s.value = value
		s.next, s.stop = iter.Pull2(s.c.tx.Scan(s.c.table.Name, Exactly(s.index, value)))
	}
	rec, err, _ := s.next()
	switch {
	case err != nil:
		return s.c.failed(key, fmt.Sprintf("index %s can't be searched for %q", s.index, value), err)
	case rec.Key != key:
		s.c.problem(key, "index %s searched for %q leads to %q in its place", s.index, value, rec.Key)
	}
	return nil
}

// end ends the search for a value, which should have nothing left.
func (s *valueScan) end() {
	if s.next == nil {
		return
	}
	if rec, err, more := s.next(); more && err == nil {
		s.c.problem(rec.Key, "index %s searched for %q leads to it, and scanned does not", s.index, s.value)
	}
	s.stop()
	s.next = nil
}

// compare names the documents that an index holds too often or not often enough.
// It keeps the keys of all, but an index that comes here is broken.
func (c *checker) compare(ix Index, holds, should tally) error {
	c.problem("", "index %s holds %d entries and documents have %d, or not the same ones", ix.Name, holds.entries, should.entries)
	times := map[string]int{}
	for rec, err := range c.tx.Scan(c.table.Name, Range{Index: ix.Name}) {
		if err != nil {
			return err
		}
		times[rec.Key]++
	}
	for rec, err := range c.tx.Scan(c.table.Name, Range{Entries: true}) {
		if err != nil {
			return err
		}
		n := 0
		for _, e := range rec.Entries {
			if e.Index == ix.Name {
				n++
			}
		}
		if times[rec.Key] != n {
			c.problem(rec.Key, "index %s holds it %d times, and should %d times", ix.Name, times[rec.Key], n)
		}
		delete(times, rec.Key)
	}
	for key := range times {
		c.problem(key, "index %s holds it, and it is not there", ix.Name)
	}
	return nil
}
