package storage

import (
	"bytes"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Cache reads documents of a [Collection] and keeps them in memory as they were decoded, so that a
// document that hasn't changed since isn't decoded again. It never answers for the store: each Get
// reads the stored document, and a decoded one is used only if it was decoded from the same bytes.
type Cache[T any] struct {
	collection *Collection[T]
	decoded    *lru.Cache[string, decoded[T]]
}

// decoded is a document with what it was decoded to, which isn't changed.
type decoded[T any] struct {
	doc   []byte
	value *T
}

// NewCache returns a cache that holds up to size documents of a collection, those that were read
// last. It panics if size isn't positive.
func NewCache[T any](c *Collection[T], size int) *Cache[T] {
	l, err := lru.New[string, decoded[T]](size)
	if err != nil {
		panic(err)
	}
	return &Cache[T]{c, l}
}

// Get is [Collection.Get]. The result is the caller's own copy; but what it refers to by pointers,
// slices and maps is shared with others, and must not be modified.
func (k *Cache[T]) Get(tx Tx, key string) (*T, error) {
	doc, err := k.collection.read(tx, key)
	if err != nil {
		return nil, err
	}
	d, ok := k.decoded.Get(key)
	if !ok || !bytes.Equal(d.doc, doc) {
		d.doc = doc
		if d.value, err = k.collection.decode(doc); err != nil {
			return nil, err
		}
		k.decoded.Add(key, d)
	}
	own := *d.value
	return &own, nil
}

// Put is [Collection.Put]. What t refers to by pointers, slices and maps must not be modified
// afterwards.
func (k *Cache[T]) Put(tx Tx, t *T) error {
	doc, err := k.collection.put(tx, t)
	if err != nil {
		return err
	}
	// If the transaction fails after all, the store holds other bytes, and this isn't used.
	own := *t
	k.decoded.Add(doc.Key, decoded[T]{doc.Value, &own})
	return nil
}
