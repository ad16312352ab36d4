package domaintest

import (
	"context"
	"iter"
	"maps"
	"sync"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Counted is a store that counts what transactions read.
type Counted struct {
	storage.Store
	mu    sync.Mutex
	reads map[string]int // by table
	most  int
}

// Count returns a store that counts what transactions read in it. Services that [Services.Another]
// makes afterwards use it if it takes the place of Services.Store.
func Count(s storage.Store) *Counted { return &Counted{Store: s, reads: map[string]int{}} }

// Reads returns how many documents, and keys of documents, were read in a table since the last call
// of Reset.
func (c *Counted) Reads(table string) int { return c.AllReads()[table] }

// AllReads returns what Reads does for each table in which something was read.
func (c *Counted) AllReads() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.reads)
}

// Most returns the most that one transaction has read of all tables since the last call of Reset.
func (c *Counted) Most() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most
}

// Reset begins to count anew.
func (c *Counted) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.reads)
	c.most = 0
}

// View implements [storage.Store].
func (c *Counted) View(ctx context.Context, fn func(storage.Tx) error) error {
	return c.Store.View(ctx, func(tx storage.Tx) error { return fn(&countedTx{Tx: tx, c: c}) })
}

// Update implements [storage.Store].
func (c *Counted) Update(ctx context.Context, fn func(storage.Tx) error) error {
	return c.Store.Update(ctx, func(tx storage.Tx) error { return fn(&countedTx{Tx: tx, c: c}) })
}

type countedTx struct {
	storage.Tx
	c *Counted
	n int
}

func (tx *countedTx) count(table string) {
	tx.c.mu.Lock()
	defer tx.c.mu.Unlock()
	tx.n++
	tx.c.reads[table]++
	tx.c.most = max(tx.c.most, tx.n)
}

func (tx *countedTx) Get(table, key string) ([]byte, error) {
	tx.count(table)
	return tx.Tx.Get(table, key)
}

func (tx *countedTx) GetBy(table, index, value string) ([]byte, error) {
	tx.count(table)
	return tx.Tx.GetBy(table, index, value)
}

func (tx *countedTx) Scan(table string, r storage.Range) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for rec, err := range tx.Tx.Scan(table, r) {
			tx.count(table)
			if !yield(rec, err) {
				return
			}
		}
	}
}
