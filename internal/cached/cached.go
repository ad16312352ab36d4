// Package cached keeps what other servers answer: for as long as they say, within bounds, and
// longer while they can't be reached. Concurrent lookups of one key are merged, and the memory that
// it takes is bounded.
package cached

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/gatehouse-at/gatehouse/internal/lookup"
)

// Config configures a [Cache]. All durations and bounds have to be set.
type Config struct {
	// Default is how long a value is fresh whose lifetime isn't said. Min and Max bound the
	// lifetimes that are said.
	Default, Min, Max time.Duration
	// Stale is how much longer a value is used while lookups fail with an error that is Outage.
	Stale  time.Duration
	Outage error
	// Retry is the pause after a lookup that failed with an Outage, if there is a stale value.
	Retry time.Duration
	// Negative is how long errors are cached for which there is no value.
	Negative time.Duration
	// Entries and Bytes bound the values that are cached. As many errors are cached beside them.
	Entries, Bytes int
	// Timeout bounds a lookup.
	Timeout time.Duration
	Now     func() time.Time
}

// Found is what a lookup found.
type Found[V any] struct {
	Value V
	// Cost is the size of the value in bytes.
	Cost int
	// Lifetime is how long the value may be cached. It is negative if that isn't said.
	Lifetime time.Duration
}

// Cache caches values by key. Its methods are safe for concurrent use. Values aren't modified.
type Cache[V any] struct {
	cfg     Config
	flights lookup.Group

	mu     sync.Mutex
	values *simplelru.LRU[string, *entry[V]]
	bytes  int // of all values
	errors *simplelru.LRU[string, *entry[V]]
}

// entry is a cached value or error. A value has the error of the last lookup if that was an outage.
type entry[V any] struct {
	value V
	err   error
	cost  int
	at    time.Time // when it was looked up
	fresh time.Time // until when it is returned without a lookup
	drop  time.Time // until when it is returned if a lookup fails
}

// overhead is the size of an entry beside its key and value, in bytes.
const overhead = 512

// New returns an empty cache.
func New[V any](cfg Config) (*Cache[V], error) {
	c := &Cache[V]{cfg: cfg}
	var err error
	if c.values, err = simplelru.NewLRU(cfg.Entries, func(_ string, e *entry[V]) { c.bytes -= e.cost }); err != nil {
		return nil, fmt.Errorf("cached: %w", err)
	}
	if c.errors, err = simplelru.NewLRU[string, *entry[V]](cfg.Entries, nil); err != nil {
		return nil, fmt.Errorf("cached: %w", err)
	}
	return c, nil
}

// Get returns the value of a key, from the cache if it is fresh there, and otherwise by a lookup.
//
// If the lookup fails with an outage, a value from before is returned. If it fails with another
// error, the value from before is dropped.
func (c *Cache[V]) Get(ctx context.Context, key string, look func(context.Context) (Found[V], error)) (V, error) {
	r, err := c.get(ctx, key, nil, look)
	return r.value, errors.Join(err, r.err)
}

// Renew is like Get for callers who need to know what is true now. A value that was looked up least
// ago or earlier isn't fresh for them, and an outage is an error for them although there is a value
// from before, which stays in the cache. least bounds how often the same question is asked; it may
// be 0.
func (c *Cache[V]) Renew(ctx context.Context, key string, least time.Duration, look func(context.Context) (Found[V], error)) (V, error) {
	r, err := c.get(ctx, key, &least, look)
	if err := errors.Join(err, r.err, r.outage); err != nil {
		var none V
		return none, err
	}
	return r.value, nil
}

// result is the result of a lookup: a value, or an error, or a value from before and the outage
// because of which it is returned.
type result[V any] struct {
	value       V
	err, outage error
}

// get returns an error of its own if the context ends.
func (c *Cache[V]) get(ctx context.Context, key string, least *time.Duration, look func(context.Context) (Found[V], error)) (result[V], error) {
	if r, found := c.cached(key, least); found {
		return r, nil
	}
	return lookup.Do(ctx, &c.flights, key, c.cfg.Timeout, nil, func(ctx context.Context) (result[V], error) {
		// Another lookup may have ended between the look at the cache and this one.
		if r, found := c.cached(key, least); found {
			return r, nil
		}
		found, err := look(ctx)
		return c.put(key, found, err), nil
	})
}

// cached returns what is known about a key without a lookup.
func (c *Cache[V]) cached(key string, least *time.Duration) (r result[V], found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	if e, ok := c.values.Get(key); ok && e.usable(now, least) {
		return result[V]{value: e.value, outage: e.err}, true
	}
	if e, ok := c.errors.Get(key); ok && now.Before(e.fresh) {
		return result[V]{err: e.err}, true
	}
	return result[V]{}, false
}

// usable reports whether a value is returned without a lookup.
func (e *entry[V]) usable(now time.Time, least *time.Duration) bool {
	return now.Before(e.fresh) && (least == nil || now.Sub(e.at) < *least)
}

// put caches the result of a lookup, and returns what its callers get.
func (c *Cache[V]) put(key string, f Found[V], err error) result[V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	// The key may be a part of a larger string, which would stay in memory with it.
	key = strings.Clone(key)
	if err == nil {
		lifetime := c.cfg.Default
		if f.Lifetime >= 0 {
			lifetime = min(max(f.Lifetime, c.cfg.Min), c.cfg.Max)
		}
		fresh := now.Add(lifetime)
		c.errors.Remove(key)
		c.add(key, &entry[V]{value: f.Value, cost: f.Cost, at: now, fresh: fresh, drop: fresh.Add(c.cfg.Stale)})
		return result[V]{value: f.Value}
	}
	old, known := c.values.Peek(key)
	if known && errors.Is(err, c.cfg.Outage) && now.Before(old.drop) {
		e := *old
		e.at, e.err, e.fresh = now, err, later(old.fresh, now.Add(c.cfg.Retry))
		c.values.Add(key, &e)
		return result[V]{value: old.value, outage: err}
	}
	c.values.Remove(key)
	c.errors.Add(key, &entry[V]{err: err, fresh: now.Add(c.cfg.Negative)})
	return result[V]{err: err}
}

// add adds a value, and evicts the least recently used ones. A value that would take more than an
// eighth of the cache isn't cached, since it would evict too many others.
func (c *Cache[V]) add(key string, e *entry[V]) {
	c.values.Remove(key)
	if e.cost += len(key) + overhead; e.cost > c.cfg.Bytes/8 {
		return
	}
	for c.bytes+e.cost > c.cfg.Bytes {
		c.values.RemoveOldest()
	}
	c.values.Add(key, e)
	c.bytes += e.cost
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
