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
	// Key is the key of the document that the problem is about; it may be empty.
	Key  string
	What string
}

// String returns the problem on one line.
func (p Problem) String() string {
	if p.Key == "" {
		return fmt.Sprintf("table %s: %s", p.Table, p.What)
	}
	return fmt.Sprintf("table %s, document %q: %s", p.Table, p.Key, p.What)
}

// indexer is implemented by [Collection].
type indexer interface {
	// entriesOf computes the key and the index entries of an encoded document, sorted as those of a
	// [Record].
	entriesOf(doc []byte) (key string, entries []Entry, err error)
}

// Check verifies that a snapshot of a store is consistent, and returns the problems that it finds.
// In each table, a scan yields the documents in the order of their keys, and each is found by its
// key. Each index holds exactly the entries of the documents, in order and once, and leads to their
// documents; values of unique indexes are unique. In the tables of the given collections, each
// document can be decoded, and has the key and the index entries that its collection computes.
//
// Check takes time in proportion to the number of documents, and constant memory. It returns at
// most 100 problems of each table, and one more that says so.
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

// maxProblems is the number of problems of one table that are reported.
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
		c.problems = append(c.problems, Problem{Table: c.table.Name, What: "more problems were found"})
	}
}

// failed reports an error of the store as a problem. It returns the error if it says nothing of the
// store's contents.
func (c *checker) failed(key, what string, err error) error {
	for _, outside := range []error{context.Canceled, context.DeadlineExceeded, ErrUnavailable, ErrClosed} {
		if errors.Is(err, outside) {
			return err
		}
	}
	c.problem(key, "%s: %v", what, err)
	return nil
}

// tally is the number of entries of an index and a checksum that doesn't depend on their order.
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
	should := map[string]*tally{} // the entries that each index should hold
	for _, ix := range c.table.Indexes {
		should[ix.Name] = new(tally)
	}
	last := ""
	for rec, err := range c.tx.Scan(c.table.Name, Range{Entries: true}) {
		if err != nil {
			if err := c.failed("", "it can't be scanned to the end", err); err != nil {
				return err
			}
			break
		}
		if rec.Key <= last {
			c.problem(rec.Key, "a scan yields it out of order, after %q", last)
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

// document checks that a document is found by its key and its unique values, and that it is what
// its collection would write.
func (c *checker) document(rec Record) error {
	got, err := c.tx.Get(c.table.Name, rec.Key)
	if err := c.leads(rec, got, err, "its key"); err != nil {
		return err
	}
	for _, e := range rec.Entries {
		i := slices.IndexFunc(c.table.Indexes, func(ix Index) bool { return ix.Name == e.Index })
		switch {
		case i < 0:
			c.problem(rec.Key, "it has an entry in the index %s, which is not defined", e.Index)
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
	key, want, err := c.indexer.entriesOf(rec.Value)
	switch {
	case err != nil:
		c.problem(rec.Key, "it can't be decoded: %v", err)
	case key != rec.Key:
		c.problem(rec.Key, "its key should be %q", key)
	case !slices.Equal(slices.Compact(want), rec.Entries):
		c.problem(rec.Key, "its index entries are %v, want %v", rec.Entries, want)
	}
	return nil
}

// leads checks that a lookup found the same document as the scan.
func (c *checker) leads(rec Record, got []byte, err error, by string) error {
	switch {
	case err != nil:
		return c.failed(rec.Key, "it can't be found by "+by, err)
	case !bytes.Equal(got, rec.Value):
		c.problem(rec.Key, "%s leads to another document", by)
	}
	return nil
}

// index checks that a scan of an index yields exactly the entries that it should hold, in order,
// and that searching it for each value yields the same.
func (c *checker) index(ix Index, should tally) error {
	var holds tally
	var last Entry
	lastKey := ""
	value := &valueScan{c: c, index: ix.Name}
	defer value.end()
	for rec, err := range c.tx.Scan(c.table.Name, Range{Index: ix.Name, Entries: true}) {
		if err != nil {
			return c.failed("", "index "+ix.Name+" can't be scanned to the end", err)
		}
		holds.add(rec)
		// A record doesn't say for which of its values it is yielded: it is the first value after
		// the previous record.
		i := slices.IndexFunc(rec.Entries, func(e Entry) bool {
			return e.Index == ix.Name && (e.Value > last.Value || e.Value == last.Value && rec.Key > lastKey)
		})
		if i < 0 {
			c.problem(rec.Key, "index %s yields it without an entry, or out of order", ix.Name)
			continue
		}
		if ix.Unique && rec.Entries[i].Value == last.Value {
			c.problem(rec.Key, "unique index %s has its value %q for %q as well", ix.Name, last.Value, lastKey)
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

// valueScan searches an index for each value that a scan of the index yields, and compares the two
// step by step.
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
		s.c.problem(key, "index %s, searched for %q, yields %q instead", s.index, value, rec.Key)
	}
	return nil
}

// end ends the search for a value, and reports a problem if it would yield more.
func (s *valueScan) end() {
	if s.next == nil {
		return
	}
	if rec, err, more := s.next(); more && err == nil {
		s.c.problem(rec.Key, "index %s, searched for %q, yields it, but a scan does not", s.index, s.value)
	}
	s.stop()
	s.next = nil
}

// compare reports the documents that an index holds too often or not often enough. It keeps all
// keys in memory, but runs only if the index is broken.
func (c *checker) compare(ix Index, holds, should tally) error {
	c.problem("", "index %s holds %d entries that differ from the %d of the documents", ix.Name, holds.entries, should.entries)
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
			c.problem(rec.Key, "index %s holds it %d times, want %d", ix.Name, times[rec.Key], n)
		}
		delete(times, rec.Key)
	}
	for key := range times {
		c.problem(key, "index %s holds it, but it does not exist", ix.Name)
	}
	return nil
}
