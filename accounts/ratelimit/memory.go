package ratelimit

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// Memory is a [Limiter] for one process. It uses a bounded amount of memory.
type Memory struct {
	now    func() time.Time
	seeds  [2]maphash.Seed
	shards [shards]shard
	size   int // the most entries of a shard
}

const (
	shards = 64
	// sample is the number of entries of a full shard from which the one to evict is chosen.
	sample = 8
	// sweep is how many entries are checked for expiry whenever one is added. It is more than one,
	// so that expired entries are removed faster than new ones are added.
	sweep = 2
)

type shard struct {
	mu      sync.Mutex
	entries map[hash]*entry
}

// hash identifies a key, which may be long. Its seeds are secret, so that nobody can choose keys
// that fall into one shard or one entry.
type hash [2]uint64

// entry is the count of one key in each of its windows.
type entry struct{ counts []count }

// count is the running period of one window.
type count struct {
	window Window
	used   int
	reset  time.Time
}

// NewMemory returns a limiter that keeps its counts in memory.
//
// Expired periods are removed as new keys are added. When the limiter is full all the same, it
// looks at a few keys at random and evicts the one that has used the smallest part of its points.
// So a flood of new keys evicts keys that were hardly used, but not the count of somebody who
// guesses passwords.
func NewMemory(cfg Config) *Memory {
	size := cfg.Size
	if size <= 0 {
		size = 200_000
	}
	m := &Memory{now: cfg.clock(), seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, size: max(1, size/shards)}
	for i := range m.shards {
		m.shards[i].entries = map[hash]*entry{}
	}
	return m
}

// Take implements [Limiter].
func (m *Memory) Take(ctx context.Context, key string, windows ...Window) (State, error) {
	return m.take(key, windows, 1), nil
}

// Peek implements [Limiter].
func (m *Memory) Peek(ctx context.Context, key string, windows ...Window) (State, error) {
	return m.take(key, windows, 0), nil
}

// take takes one point or none of each window of a key.
func (m *Memory) take(key string, windows []Window, points int) State {
	now := m.now()
	h := hash{maphash.String(m.seeds[0], key), maphash.String(m.seeds[1], key)}
	s := &m.shards[h[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[h]
	if e == nil {
		e = &entry{}
		if points > 0 {
			s.forget(now, len(s.entries) >= m.size)
			s.entries[h] = e
		}
	}
	return e.take(windows, now, points)
}

// take takes points from each window, one or none.
func (e *entry) take(windows []Window, now time.Time, points int) State {
	if len(e.counts) != len(windows) {
		e.counts = make([]count, len(windows))
	}
	state := State{Allowed: true}
	for i, w := range windows {
		c := &e.counts[i]
		if c.window != w || c.over(now) {
			*c = count{window: w} // the next period begins when a point is taken
		}
		if c.used >= w.Points {
			state.Allowed = false
		}
	}
	for i := range e.counts {
		c := &e.counts[i]
		if state.Allowed && points > 0 {
			if c.used == 0 {
				c.reset = now.Add(c.window.Per)
			}
			c.used += points
		}
		left := c.window.Points - c.used
		if i == 0 || left < state.Remaining || left == state.Remaining && c.reset.After(state.Reset) {
			state.Window, state.Remaining, state.Reset = c.window, left, c.reset
		}
	}
	return state
}

func (c *count) over(now time.Time) bool { return !now.Before(c.reset) }

// used returns the fraction of used points of the window that is nearest to exhaustion, or -1 if
// all periods are over.
func (e *entry) used(now time.Time) float64 {
	most := -1.0
	for i := range e.counts {
		if c := &e.counts[i]; !c.over(now) {
			most = max(most, float64(c.used)/float64(c.window.Points))
		}
	}
	return most
}

// forget removes expired entries among the few that it looks at. If the shard is full, it removes
// at least one entry.
func (s *shard) forget(now time.Time, full bool) {
	look := sweep
	if full {
		look = sample
	}
	var victim hash
	least, dropped := 0.0, false
	for h, e := range s.entries { // in random order
		used := e.used(now)
		switch {
		case used < 0:
			delete(s.entries, h)
			dropped = true
		case victim == hash{} || used < least:
			victim, least = h, used
		}
		if look--; look == 0 {
			break
		}
	}
	if full && !dropped {
		delete(s.entries, victim)
	}
}
