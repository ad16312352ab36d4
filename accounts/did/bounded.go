package did

import (
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// bounded remembers values of DIDs, up to a number of entries and a number of bytes. When it is
// full, the entry that was used the longest ago makes room. It is not safe for concurrent use.
type bounded[V any] struct {
	lru   *simplelru.LRU[syntax.DID, entry[V]]
	bytes int // of all entries
	limit int // of bytes
}

// entry is a value with what it costs in bytes, its key and the cache's own share included.
type entry[V any] struct {
	value V
	cost  int
	drop  time.Time // when it is of no use any more
}

const (
	// overhead is what an entry costs besides its key and what its value refers to: the places in
	// the list and in the map of the cache, and the value itself.
	overhead = 512
	// sweep is how many entries are looked at, for each new one, to see whether they are of no use
	// any more. More than one, so that they go faster than new ones come.
	sweep = 2
)

func newBounded[V any](entries, limit int) (*bounded[V], error) {
	b := &bounded[V]{limit: limit}
	lru, err := simplelru.NewLRU(entries, func(_ syntax.DID, e entry[V]) { b.bytes -= e.cost })
	b.lru = lru
	return b, err
}

// get returns a value that is of use, and marks it as used.
func (b *bounded[V]) get(id syntax.DID, now time.Time) (value V, found bool) {
	e, found := b.lru.Get(id)
	if found && !now.Before(e.drop) {
		b.lru.Remove(id)
		return value, false
	}
	return e.value, found
}

// put remembers a value until a time. The cost is that of what the value refers to. A value that
// would take more than an eighth of the bytes isn't remembered: it would push out too much.
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
	// The key may be a part of something large, as of a URL, which would stay in memory with it.
	b.lru.Add(syntax.DID(strings.Clone(id.String())), entry[V]{value, cost, drop})
	b.bytes += cost
}

// sweep drops entries that are of no use any more. It looks where those are that were used the
// longest ago, since to be used is to be fetched anew, but for the time of an outage.
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
