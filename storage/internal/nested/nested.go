// Package nested finds calls of a store that come from inside a transaction of the same store.
//
// A backend enters its [Guard] before it runs the closure of a View or an Update, and leaves it
// afterwards. Nested calls are told by the goroutine that makes them: the closure may call anything
// with any context, so nothing else is known of such a call.
package nested

import (
	"bytes"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"github.com/petermattis/goid"

	"github.com/gatehouse-at/gatehouse/storage"
)

// A Guard is the set of goroutines that are inside a transaction of one store.
type Guard struct {
	id     func() int64 // of the calling goroutine
	shards [64]shard    // by ID, so that transactions rarely wait for each other's lock
}

type shard struct {
	mu     sync.Mutex
	inside []int64
	_      [32]byte // no two shards share a cache line
}

// New returns the guard of a store.
func New() *Guard {
	if !known() {
		return &Guard{id: slowID}
	}
	return &Guard{id: goid.Get}
}

// known reports whether the library knows this version of Go. It reads the ID from the memory of
// Go's runtime, and another version may have moved it.
var known = sync.OnceValue(func() bool { return goid.Get() == slowID() })

// slowID returns the ID of the calling goroutine from its stack trace, which begins with "goroutine
// 123 [running]". That takes microseconds.
func slowID() int64 {
	var buf [64]byte
	trace := buf[:runtime.Stack(buf[:], false)]
	digits, _, _ := bytes.Cut(bytes.TrimPrefix(trace, []byte("goroutine ")), []byte(" "))
	id, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		panic("storage: no goroutine ID in the stack trace " + strconv.Quote(string(trace)))
	}
	return id
}

// Enter adds the calling goroutine, and returns its ID for [Guard.Leave]. It returns
// [storage.ErrNested] if the goroutine is inside a transaction already.
func (g *Guard) Enter() (id int64, err error) {
	id = g.id()
	s := g.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.inside, id) {
		return 0, storage.ErrNested
	}
	s.inside = append(s.inside, id)
	return id, nil
}

// Leave removes a goroutine.
func (g *Guard) Leave(id int64) {
	s := g.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.inside, id); i >= 0 {
		last := len(s.inside) - 1
		s.inside[i] = s.inside[last]
		s.inside = s.inside[:last]
	}
}

// Check returns [storage.ErrNested] if the calling goroutine is inside a transaction.
func (g *Guard) Check() error {
	id := g.id()
	s := g.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.inside, id) {
		return storage.ErrNested
	}
	return nil
}

func (g *Guard) shard(id int64) *shard { return &g.shards[uint64(id)%uint64(len(g.shards))] }
