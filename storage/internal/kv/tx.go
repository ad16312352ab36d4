package kv

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/btree"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Reader reads a consistent state of a key-value store. The byte slices that it returns stay valid
// and unmodified.
type Reader interface {
	// Get returns the value of a key in a bucket.
	Get(bucket, key string) (value []byte, ok bool)
	// Ascend yields the keys not less than from, in order.
	Ascend(bucket, from string) iter.Seq2[string, []byte]
	// Descend yields the keys less than before, in reverse order; all if before is empty.
	Descend(bucket, before string) iter.Seq2[string, []byte]
}

// Tx implements [storage.Tx] on top of a [Reader].
type Tx struct {
	ctx      context.Context
	tables   Tables
	base     Reader
	writable bool
	written  map[string]*overlay // by bucket
	doom     error               // of the first write that failed
	closed   bool
}

// overlay is what a transaction has written to a bucket; a nil value is a deletion.
type overlay = btree.Map[string, []byte]

// NewTx begins a transaction, which the caller has to end by calling Finish.
func NewTx(ctx context.Context, tables Tables, base Reader, writable bool) *Tx {
	return &Tx{ctx: ctx, tables: tables, base: base, writable: writable}
}

// Finish ends the transaction, and returns the error that dooms it, or that of its context.
func (tx *Tx) Finish() error {
	tx.closed = true
	if tx.doom != nil {
		return tx.doom
	}
	return tx.ctx.Err()
}

// Dirty reports whether the transaction has written anything.
func (tx *Tx) Dirty() bool { return len(tx.written) > 0 }

// Writes yields the writes to each bucket, in the order of the keys; a nil value is a deletion.
func (tx *Tx) Writes() iter.Seq2[string, *btree.Map[string, []byte]] {
	return func(yield func(string, *overlay) bool) {
		for bucket, o := range tx.written {
			if !yield(bucket, o) {
				return
			}
		}
	}
}

func (tx *Tx) ready() error {
	switch {
	case tx.closed:
		return storage.ErrClosed
	case tx.doom != nil:
		return tx.doom
	}
	return tx.ctx.Err()
}

func (tx *Tx) readyToWrite() error {
	if err := tx.ready(); err != nil {
		return err
	}
	if !tx.writable {
		return storage.ErrReadOnly
	}
	return nil
}

func (tx *Tx) get(bucket, key string) ([]byte, bool) {
	if o := tx.written[bucket]; o != nil {
		if v, ok := o.Get(key); ok {
			return v, v != nil
		}
	}
	return tx.base.Get(bucket, key)
}

func (tx *Tx) set(bucket, key string, v []byte) {
	if tx.written == nil {
		tx.written = map[string]*overlay{}
	}
	o := tx.written[bucket]
	if o == nil {
		o = new(overlay)
		tx.written[bucket] = o
	}
	o.Set(key, v)
}

// Owner implements [storage.Tx].
func (tx *Tx) Owner(table string) string { return tx.tables[table].Owner }

// Get implements [storage.Tx].
func (tx *Tx) Get(table, key string) ([]byte, error) {
	if err := tx.ready(); err != nil {
		return nil, err
	}
	if _, err := tx.tables.table(table); err != nil {
		return nil, err
	}
	if err := storage.ValidKey(key); err != nil {
		return nil, err
	}
	b, ok := tx.get(table, key)
	if !ok {
		return nil, storage.ErrNotFound
	}
	return value(b)
}

// GetBy implements [storage.Tx].
func (tx *Tx) GetBy(table, index, val string) ([]byte, error) {
	if err := tx.ready(); err != nil {
		return nil, err
	}
	ix, err := tx.tables.index(table, index)
	if err != nil {
		return nil, err
	}
	if !ix.Unique {
		return nil, fmt.Errorf("%w: index %s of table %s is not unique", storage.ErrInvalid, index, table)
	}
	if err := storage.ValidKey(val); err != nil {
		return nil, err
	}
	key, ok := tx.holder(indexBucket(table, index), val)
	if !ok {
		return nil, storage.ErrNotFound
	}
	b, ok := tx.get(table, key)
	if !ok {
		return nil, fmt.Errorf("storage: index %s of table %s leads to a document that does not exist", index, table)
	}
	return value(b)
}

// holder returns the key of the document with a value in a unique index. It looks into the overlay
// and the store one after the other: to merge them as scan does would copy the overlay.
func (tx *Tx) holder(bucket, val string) (string, bool) {
	from, to := val+"\x00", val+"\x01"
	o := tx.written[bucket]
	if o != nil {
		for pos, v := range bounded(overlaid{o}, bucket, from, to, false) {
			if v != nil {
				return pos[len(from):], true
			}
		}
	}
	for pos := range bounded(tx.base, bucket, from, to, false) {
		if o != nil {
			if _, deleted := o.Get(pos); deleted {
				continue
			}
		}
		return pos[len(from):], true
	}
	return "", false
}

// Put implements [storage.Tx].
func (tx *Tx) Put(table string, doc storage.Document) error { return tx.write(table, doc, false) }

// Insert implements [storage.Tx].
func (tx *Tx) Insert(table string, doc storage.Document) error { return tx.write(table, doc, true) }

func (tx *Tx) write(table string, doc storage.Document, insert bool) error {
	if err := tx.readyToWrite(); err != nil {
		return err
	}
	if err := tx.put(table, doc, insert); err != nil {
		tx.doom = err
		return err
	}
	return nil
}

func (tx *Tx) put(table string, doc storage.Document, insert bool) error {
	t, err := tx.tables.table(table)
	if err != nil {
		return err
	}
	if doc, err = Check(t, doc); err != nil {
		return err
	}
	var had []storage.Entry
	if old, ok := tx.get(table, doc.Key); ok {
		if insert {
			return &storage.ConflictError{Table: table}
		}
		if had, err = entriesOf(old); err != nil {
			return err
		}
	}
	tx.unindex(table, doc.Key, without(had, doc.Entries))
	for _, e := range without(doc.Entries, had) {
		bucket := indexBucket(table, e.Index)
		if indexOf(t, e.Index).Unique {
			if _, taken := tx.holder(bucket, e.Value); taken {
				return &storage.ConflictError{Table: table, Index: e.Index}
			}
		}
		tx.set(bucket, e.Value+"\x00"+doc.Key, []byte{})
	}
	tx.set(table, doc.Key, frame(doc))
	return nil
}

// without returns the entries that aren't among others. Both are sorted. Entries that a document
// keeps are not written again, which would cost a page of the file for each of them.
func without(entries, others []storage.Entry) []storage.Entry {
	var rest []storage.Entry
	for _, e := range entries {
		for len(others) > 0 && compareEntries(others[0], e) < 0 {
			others = others[1:]
		}
		if len(others) == 0 || others[0] != e {
			rest = append(rest, e)
		}
	}
	return rest
}

func (tx *Tx) unindex(table, key string, entries []storage.Entry) {
	for _, e := range entries {
		tx.set(indexBucket(table, e.Index), e.Value+"\x00"+key, nil)
	}
}

// Delete implements [storage.Tx].
func (tx *Tx) Delete(table, key string) error {
	if err := tx.readyToWrite(); err != nil {
		return err
	}
	if err := tx.delete(table, key); err != nil {
		tx.doom = err
		return err
	}
	return nil
}

func (tx *Tx) delete(table, key string) error {
	if _, err := tx.tables.table(table); err != nil {
		return err
	}
	if err := storage.ValidKey(key); err != nil {
		return err
	}
	old, ok := tx.get(table, key)
	if !ok {
		return nil
	}
	had, err := entriesOf(old)
	if err != nil {
		return err
	}
	tx.unindex(table, key, had)
	tx.set(table, key, nil)
	return nil
}

// Scan implements [storage.Tx].
func (tx *Tx) Scan(table string, r storage.Range) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		bucket, from, to, err := tx.bounds(table, r)
		if err != nil {
			yield(storage.Record{}, err)
			return
		}
		docs := tx.frozen(table)
		n := 0
		for pos, stored := range tx.scan(bucket, from, to, r.Reverse) {
			if err := tx.ready(); err != nil {
				yield(storage.Record{}, err)
				return
			}
			rec := storage.Record{Key: pos, Cursor: Cursor(r.Index, pos)}
			if r.Index != "" {
				rec.Key = pos[strings.IndexByte(pos, 0)+1:]
			}
			if r.Index != "" && !r.KeysOnly {
				var ok bool
				if stored, ok = docs(rec.Key); !ok {
					yield(storage.Record{}, fmt.Errorf("storage: index %s of table %s leads to a document that does not exist", r.Index, table))
					return
				}
			}
			if !r.KeysOnly {
				rec.Value, err = value(stored)
			}
			if err == nil && r.Entries {
				rec.Entries, err = entriesOf(stored)
			}
			if !yield(rec, err) || err != nil {
				return
			}
			if n++; n == r.Limit {
				return
			}
		}
	}
}

// frozen returns a function that returns the documents of a table as they are now, whatever is
// written later.
func (tx *Tx) frozen(table string) func(key string) ([]byte, bool) {
	o := tx.written[table]
	if o != nil {
		o = o.Copy()
	}
	return func(key string) ([]byte, bool) {
		if o != nil {
			if v, ok := o.Get(key); ok {
				return v, v != nil
			}
		}
		return tx.base.Get(table, key)
	}
}

// bounds converts a range to a bucket and positions in it: from (inclusive) and to (exclusive),
// which are empty for no bound.
func (tx *Tx) bounds(table string, r storage.Range) (bucket, from, to string, err error) {
	if err = tx.ready(); err != nil {
		return
	}
	if err = storage.ValidRange(r); err != nil {
		return
	}
	if _, err = tx.tables.table(table); err != nil {
		return
	}
	bucket = table
	if r.Index != "" {
		if _, err = tx.tables.index(table, r.Index); err != nil {
			return
		}
		bucket = indexBucket(table, r.Index)
	}
	for _, b := range []string{r.From, r.To, r.Prefix} {
		if !utf8.ValidString(b) || strings.IndexByte(b, 0) >= 0 {
			err = fmt.Errorf("%w: the bound of a scan is not UTF-8 or contains NUL", storage.ErrInvalid)
			return
		}
	}
	from, to = r.From, r.To
	if r.Prefix != "" {
		from, to = max(from, r.Prefix), lower(to, after(r.Prefix))
	}
	if r.After != "" {
		var pos string
		if pos, err = Position(r.Index, r.After); err != nil {
			return
		}
		if r.Reverse {
			to = lower(to, pos)
		} else {
			from = max(from, pos+"\x00")
		}
	}
	return
}

// lower returns the lower of two upper bounds; empty means no bound.
func lower(a, b string) string {
	if a == "" || b != "" && b < a {
		return b
	}
	return a
}

// after returns the first string after all strings that start with a prefix.
func after(prefix string) string {
	b := []byte(prefix)
	b[len(b)-1]++ // never 0xff in UTF-8
	return string(b)
}

// scan yields a bucket with what the transaction has written to it so far. Later writes don't
// change what it yields.
func (tx *Tx) scan(bucket, from, to string, reverse bool) iter.Seq2[string, []byte] {
	base := bounded(tx.base, bucket, from, to, reverse)
	o := tx.written[bucket]
	if o == nil {
		return base
	}
	return merge(base, bounded(overlaid{o.Copy()}, bucket, from, to, reverse), reverse)
}

func bounded(r Reader, bucket, from, to string, reverse bool) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if to != "" && from >= to {
			return
		}
		if reverse {
			for k, v := range r.Descend(bucket, to) {
				if k < from || !yield(k, v) {
					return
				}
			}
			return
		}
		for k, v := range r.Ascend(bucket, from) {
			if to != "" && k >= to || !yield(k, v) {
				return
			}
		}
	}
}

// merge yields two sequences in order. If both have a key, the value of the second is used. Keys
// with a nil value in the second are left out.
func merge(a, b iter.Seq2[string, []byte], reverse bool) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		next, stop := iter.Pull2(b)
		defer stop()
		over, value, more := next()
		for k, v := range a {
			for more && (over < k) != reverse && over != k {
				if value != nil && !yield(over, value) {
					return
				}
				over, value, more = next()
			}
			if more && over == k {
				v = value
				over, value, more = next()
				if v == nil {
					continue
				}
			}
			if !yield(k, v) {
				return
			}
		}
		for ; more; over, value, more = next() {
			if value != nil && !yield(over, value) {
				return
			}
		}
	}
}

// overlaid implements [Reader] with an overlay in place of all buckets.
type overlaid struct{ m *overlay }

func (o overlaid) Get(_, key string) ([]byte, bool) { return o.m.Get(key) }

func (o overlaid) Ascend(_, from string) iter.Seq2[string, []byte] { return Ascend(o.m, from) }

func (o overlaid) Descend(_, before string) iter.Seq2[string, []byte] { return Descend(o.m, before) }

// Ascend yields a tree's keys not less than from.
func Ascend(m *btree.Map[string, []byte], from string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) { m.Ascend(from, yield) }
}

// Descend yields a tree's keys less than before, in reverse order; all if before is empty.
func Descend(m *btree.Map[string, []byte], before string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if before == "" {
			m.Reverse(yield)
			return
		}
		m.Descend(before, func(k string, v []byte) bool { return k >= before || yield(k, v) })
	}
}
