package ratelimit

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// Memory is a limiter in this process's memory, of which it uses a bounded amount.
type Memory struct {
	now    func() time.Time
	seeds  [2]maphash.Seed
	shards [shards]shard
	size   int // the most entries of a shard
}

const (
	shards = 64
	// sample is how many entries are looked at to make room for one.
	sample = 8
	// sweep is how many entries are looked at, for each new one, to see whether
	// they have expired. More than one, so that they go faster than new ones come.
	sweep = 2
)

type shard struct {
	mu      sync.Mutex
	entries map[hash]*entry
}

// hash stands for a key, which may be as long as its sender likes. Its seeds are
// secret, so nobody can choose keys that meet in one shard or in one entry.
type hash [2]uint64

// entry is the count of one key in each of its windows.
type entry struct{ counts []count }

// count is the running period of one window.
type count struct {
	window Window
	used   int
	reset  time.Time
}

// NewMemory returns a limiter for so many keys, rounded down to a multiple of 64
// (default 200,000, at some 200 bytes each, however long they are). A nil now is [time.Now].
//
// Periods that are over are forgotten as new keys come. When it is full all the same, it
// looks at a few keys at random and forgets the one that has used the smallest part of
// its points: whoever floods it with new keys pushes out keys
// that were hardly used, and not the count of somebody who guesses at a password.
func NewMemory(size int, now func() time.Time) *Memory {
	if size <= 0 {
		size = 200_000
	}
	if now == nil {
		now = time.Now
	}
	m := &Memory{now: now, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, size: max(1, size/shards)}
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

// take takes so many points, one or none, of each window of a key.
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

// take takes so many points, one or none, of each window.
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

// used is the part of the points that is used of the window that is nearest to exhaustion,
// and -1 if all periods are over.
func (e *entry) used(now time.Time) float64 {
	most := -1.0
	for i := range e.counts {
		if c := &e.counts[i]; !c.over(now) {
			most = max(most, float64(c.used)/float64(c.window.Points))
		}
	}
	return most
}

// forget drops a few entries whose periods are over, if it meets some; if the shard is full,
// one in any case.
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

// Len returns the number of keys that are kept.
func (m *Memory) Len() int {
	n := 0
	for i := range m.shards {
		m.shards[i].mu.Lock()
		n += len(m.shards[i].entries)
		m.shards[i].mu.Unlock()
	}
	return n
}
