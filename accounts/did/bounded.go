package did

import (
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// bounded is a cache of values by DID, bounded in entries and in bytes. When it is full, it evicts
// the least recently used entry. It is not safe for concurrent use.
type bounded[V any] struct {
	lru   *simplelru.LRU[syntax.DID, entry[V]]
	bytes int // of all entries
	limit int // the most bytes of all entries
}

// entry is a cached value.
type entry[V any] struct {
	value V
	cost  int       // in bytes, including the key and the overhead of the cache
	drop  time.Time // when the entry expires
}

const (
	// overhead is the size of an entry besides its key and what its value refers to, in bytes: its
	// places in the list and in the map of the cache, and the value itself.
	overhead = 512
	// sweep is how many entries are checked for expiry whenever one is added. It is more than one,
	// so that expired entries are removed faster than new ones are added.
	sweep = 2
)

func newBounded[V any](entries, limit int) (*bounded[V], error) {
	b := &bounded[V]{limit: limit}
	lru, err := simplelru.NewLRU(entries, func(_ syntax.DID, e entry[V]) { b.bytes -= e.cost })
	b.lru = lru
	return b, err
}

// get returns a value that hasn't expired, and marks it as used.
func (b *bounded[V]) get(id syntax.DID, now time.Time) (value V, found bool) {
	e, found := b.lru.Get(id)
	if found && !now.Before(e.drop) {
		b.lru.Remove(id)
		return value, false
	}
	return e.value, found
}

// put caches a value until the time drop. The cost is the size of what the value refers to. A value
// that would take more than an eighth of the bytes isn't cached, since it would evict too many
// others.
func (b *bounded[V]) put(id syntax.DID, value V, cost int, now, drop time.Time) {
	b.lru.Remove(id)
	b.sweep(now)
	cost += len(id) + overhead
	if cost > b.limit/8 {
		return
	}
	for b.bytes+cost > b.limit {
		b.lru.RemoveOldest()
	}
	// The key may be a part of a larger string, such as a URL, which would stay in memory with it.
	b.lru.Add(syntax.DID(strings.Clone(id.String())), entry[V]{value, cost, drop})
	b.bytes += cost
}

// sweep removes expired entries among the least recently used ones. Those are the first to expire,
// since an entry that is used is also refreshed, except during an outage.
func (b *bounded[V]) sweep(now time.Time) {
	for range sweep {
		_, e, found := b.lru.GetOldest()
		if !found || now.Before(e.drop) {
			return
		}
		b.lru.RemoveOldest()
	}
}

func (b *bounded[V]) remove(id syntax.DID) { b.lru.Remove(id) }
