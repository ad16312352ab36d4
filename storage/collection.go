package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"sort"
	"strconv"
)

// IndexOf declares an index of a [Collection]: its name, its kind (see [Index]), and the function
// that computes the values of a document. A document without values (nil, or empty strings) is not
// in the index.
type IndexOf[T any] struct {
	Name   string
	Unique bool
	Multi  bool
	Values func(*T) []string
}

// Unique declares an index that allows each value to at most one document. A document with an empty
// value is not in it.
func Unique[T any](name string, value func(*T) string) IndexOf[T] {
	return IndexOf[T]{Name: name, Unique: true, Values: one(value)}
}

// Ordered declares an index for scans. A document with an empty value is not in it.
func Ordered[T any](name string, value func(*T) string) IndexOf[T] {
	return IndexOf[T]{Name: name, Values: one(value)}
}

func one[T any](f func(*T) string) func(*T) []string {
	return func(t *T) []string { return []string{f(t)} }
}

// Collection is a table of documents of the type T, which is encoded as a JSON object. The property
// "_v" is added for the schema version. A Collection has no state, and is usually a package
// variable of the package that owns it.
type Collection[T any] struct {
	name    string
	owner   string
	key     func(*T) string
	indexes []IndexOf[T]
	version int
	upgrade func(version int, doc []byte) ([]byte, error)
	prefix  []byte
}

// NewCollection declares a collection: the name of its table, the function that returns a
// document's key, and its indexes. The table belongs to [OwnerApp]. NewCollection panics if a name
// breaks the rules of [Table].
func NewCollection[T any](name string, key func(*T) string, indexes ...IndexOf[T]) *Collection[T] {
	c := &Collection[T]{name: name, key: key, indexes: indexes}
	return c.OwnedBy(OwnerApp).Versioned(1, nil)
}

// OwnedBy sets the owner of the collection's table, and returns c. [Define] refuses to define the
// table in a store in which it belongs to another owner, and the methods of c refuse to use it
// there, with [ErrInvalid]. A library that keeps collections in the store of a program should name
// itself here. OwnedBy panics if the owner is empty or breaks the
// rules of [Table].
func (c *Collection[T]) OwnedBy(owner string) *Collection[T] {
	c.owner = owner
	if err := ValidTable(c.Table()); err != nil {
		panic(err)
	}
	if owner == "" {
		panic(fmt.Errorf("%w: table %s: owner is required", ErrInvalid, c.name))
	}
	return c
}

// Versioned sets the schema version of the documents that are written, and the function that
// upgrades a document of an older version when it is read, and returns c. The version is 1 if not
// set. Documents of a later version can't be read.
func (c *Collection[T]) Versioned(version int, upgrade func(version int, doc []byte) ([]byte, error)) *Collection[T] {
	c.version, c.upgrade = version, upgrade
	c.prefix = []byte(`{"_v":` + strconv.Itoa(version) + `,`)
	return c
}

// Definer is anything that declares a table, such as a [Collection].
type Definer interface {
	Table() Table
}

// Define defines the tables of collections in a store: see [Store].
func Define(ctx context.Context, s Store, collections ...Definer) error {
	tables := make([]Table, len(collections))
	for i, c := range collections {
		tables[i] = c.Table()
	}
	return s.Define(ctx, tables...)
}

// Table returns the declaration of the collection's table.
func (c *Collection[T]) Table() Table {
	t := Table{Name: c.name, Owner: c.owner}
	for _, ix := range c.indexes {
		t.Indexes = append(t.Indexes, Index{Name: ix.Name, Unique: ix.Unique, Multi: ix.Multi})
	}
	return t
}

// Ref refers to the document of a key, for [Prefetch] and [ViewOf].
func (c *Collection[T]) Ref(key string) Ref { return Ref{Table: c.name, Value: key} }

// RefBy refers to the document that has a value in a unique index, for [Prefetch] and [ViewOf].
func (c *Collection[T]) RefBy(index, value string) Ref {
	return Ref{Table: c.name, Index: index, Value: value}
}

// Get returns the document of a key, or [ErrNotFound].
func (c *Collection[T]) Get(tx Tx, key string) (*T, error) {
	doc, err := c.read(tx, key)
	if err != nil {
		return nil, err
	}
	return c.decode(doc)
}

// read returns the encoded document of a key, or [ErrNotFound].
func (c *Collection[T]) read(tx Tx, key string) ([]byte, error) {
	if err := c.owned(tx); err != nil {
		return nil, err
	}
	if ValidKey(key) != nil {
		return nil, ErrNotFound
	}
	return tx.Get(c.name, key)
}

// GetBy returns the document that has a value in a unique index, or [ErrNotFound].
func (c *Collection[T]) GetBy(tx Tx, index, value string) (*T, error) {
	if err := c.owned(tx); err != nil {
		return nil, err
	}
	if ValidKey(value) != nil {
		return nil, ErrNotFound
	}
	doc, err := tx.GetBy(c.name, index, value)
	if err != nil {
		return nil, err
	}
	return c.decode(doc)
}

// Put writes a document, replacing the one with the same key.
func (c *Collection[T]) Put(tx Tx, t *T) error {
	_, err := c.put(tx, t)
	return err
}

// put writes a document, and returns it as it was encoded.
func (c *Collection[T]) put(tx Tx, t *T) (Document, error) {
	if err := c.owned(tx); err != nil {
		return Document{}, err
	}
	doc, err := c.encode(t)
	if err != nil {
		return Document{}, err
	}
	return doc, tx.Put(c.name, doc)
}

// Insert writes a new document. If its key exists, the error is a [*ConflictError].
func (c *Collection[T]) Insert(tx Tx, t *T) error {
	if err := c.owned(tx); err != nil {
		return err
	}
	doc, err := c.encode(t)
	if err != nil {
		return err
	}
	return tx.Insert(c.name, doc)
}

// Delete removes the document of a key, if it exists.
func (c *Collection[T]) Delete(tx Tx, key string) error {
	if err := c.owned(tx); err != nil {
		return err
	}
	return tx.Delete(c.name, key)
}

// Scan yields the documents of a range, in order.
func (c *Collection[T]) Scan(tx Tx, r Range) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for rec, err := range c.records(tx, r) {
			var t *T
			if err == nil {
				t, err = c.decode(rec.Value)
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// Keys yields the keys of the documents of a range, in order, without reading the documents: see
// [Range.KeysOnly].
func (c *Collection[T]) Keys(tx Tx, r Range) iter.Seq2[string, error] {
	r.KeysOnly = true
	return func(yield func(string, error) bool) {
		for rec, err := range c.records(tx, r) {
			if !yield(rec.Key, err) || err != nil {
				return
			}
		}
	}
}

// All returns the documents of a range as a slice.
func (c *Collection[T]) All(tx Tx, r Range) ([]*T, error) {
	var all []*T
	for t, err := range c.Scan(tx, r) {
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// Page returns up to r.Limit documents of a range, and the cursor for [Range.After] with which the
// next page begins. The cursor is empty on the last page.
func (c *Collection[T]) Page(tx Tx, r Range) (page []*T, cursor string, err error) {
	limit := r.Limit
	if limit > 0 {
		r.Limit++
	}
	for rec, err := range c.records(tx, r) {
		if err != nil {
			return nil, "", err
		}
		if limit > 0 && len(page) == limit {
			return page, cursor, nil
		}
		t, err := c.decode(rec.Value)
		if err != nil {
			return nil, "", err
		}
		page, cursor = append(page, t), rec.Cursor
	}
	return page, "", nil
}

// DeleteAll removes all documents of a range and returns their number. For ranges that may be
// large, use [Collection.Purge].
func (c *Collection[T]) DeleteAll(tx Tx, r Range) (int, error) {
	keys := map[string]bool{} // a Multi index can yield a document twice
	for key, err := range c.Keys(tx, r) {
		if err != nil {
			return 0, err
		}
		keys[key] = true
	}
	for k := range keys {
		if err := tx.Delete(c.name, k); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}

// records yields the encoded documents of a range.
func (c *Collection[T]) records(tx Tx, r Range) iter.Seq2[Record, error] {
	if err := c.owned(tx); err != nil {
		return func(yield func(Record, error) bool) { yield(Record{}, err) }
	}
	return tx.Scan(c.name, r)
}

// owned returns an error if the table belongs to another owner. [Define] refuses this too, but a
// program may use a collection that it never defined.
func (c *Collection[T]) owned(tx Tx) error {
	if owner := tx.Owner(c.name); owner != "" && owner != c.owner {
		return fmt.Errorf("%w: table %s belongs to the owner %q, and a collection of %q can't use it", ErrInvalid, c.name, owner, c.owner)
	}
	return nil
}

// entriesOf implements [indexer].
func (c *Collection[T]) entriesOf(doc []byte) (key string, entries []Entry, err error) {
	t, err := c.decode(doc)
	if err != nil {
		return "", nil, err
	}
	return c.key(t), c.entries(t), nil
}

func (c *Collection[T]) entries(t *T) []Entry {
	var es []Entry
	for _, ix := range c.indexes {
		for _, v := range ix.Values(t) {
			if v != "" {
				es = append(es, Entry{Index: ix.Name, Value: v})
			}
		}
	}
	sort.Slice(es, func(i, j int) bool {
		if es[i].Index != es[j].Index {
			return es[i].Index < es[j].Index
		}
		return es[i].Value < es[j].Value
	})
	return es
}

func (c *Collection[T]) encode(t *T) (Document, error) {
	body, err := json.Marshal(t)
	if err != nil {
		return Document{}, fmt.Errorf("storage: encoding a document of %s: %w", c.name, err)
	}
	if len(body) < 2 || body[0] != '{' {
		return Document{}, fmt.Errorf("%w: %s: a document must be a JSON object", ErrInvalid, c.name)
	}
	doc := make([]byte, 0, len(c.prefix)+len(body))
	doc = append(doc, c.prefix...)
	if len(body) == 2 {
		doc = doc[:len(doc)-1]
	}
	return Document{Key: c.key(t), Value: append(doc, body[1:]...), Entries: c.entries(t)}, nil
}

func (c *Collection[T]) decode(doc []byte) (*T, error) {
	if !bytes.HasPrefix(doc, c.prefix) {
		var v struct {
			V int `json:"_v"`
		}
		if err := json.Unmarshal(doc, &v); err != nil {
			return nil, fmt.Errorf("storage: decoding a document of %s: %w", c.name, err)
		}
		switch {
		case v.V > c.version:
			return nil, fmt.Errorf("storage: a document of %s has version %d, and this program supports versions up to %d", c.name, v.V, c.version)
		case v.V < c.version && c.upgrade != nil:
			var err error
			if doc, err = c.upgrade(v.V, doc); err != nil {
				return nil, fmt.Errorf("storage: upgrading a document of %s: %w", c.name, err)
			}
		}
	}
	t := new(T)
	if err := json.Unmarshal(doc, t); err != nil {
		return nil, fmt.Errorf("storage: decoding a document of %s: %w", c.name, err)
	}
	return t, nil
}
