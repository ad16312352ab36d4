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
	seed   maphash.Seed
	shards [shards]shard
	size   int // the most entries of a shard
}

const (
	shards = 64
	// sample is how many entries are looked at to make room for one.
	sample = 8
)

type shard struct {
	mu      sync.Mutex
	entries map[string]*entry
}

// entry is the count of one key in one window.
type entry struct {
	window Window
	used   int
	reset  time.Time
}

// NewMemory returns a limiter for about so many keys and windows (default
// 200,000, at some 150 bytes each). A nil now is [time.Now].
//
// When it is full it forgets first what has expired, then, of a few entries at random, the
// one with the most points left: whoever floods it with new keys pushes out keys
// that were hardly used, and not the count of somebody who guesses at a password.
func NewMemory(size int, now func() time.Time) *Memory {
	if size <= 0 {
		size = 200_000
	}
	if now == nil {
		now = time.Now
	}
	m := &Memory{now: now, seed: maphash.MakeSeed(), size: max(1, size/shards)}
	for i := range m.shards {
		m.shards[i].entries = map[string]*entry{}
	}
	return m
}

// Take implements [Limiter].
func (m *Memory) Take(ctx context.Context, key string, windows ...Window) (State, error) {
	now := m.now()
	s := &m.shards[maphash.String(m.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	var found [4]*entry
	taken := found[:0]
	for _, w := range windows {
		taken = append(taken, m.entry(s, key, w, now))
	}
	state := State{Allowed: true}
	for _, e := range taken {
		if e.used >= e.window.Points {
			state.Allowed = false
		}
	}
	for i, e := range taken {
		if state.Allowed {
			e.used++
		}
		left := e.window.Points - e.used
		if i == 0 || left < state.Remaining || left == state.Remaining && e.reset.After(state.Reset) {
			state.Window, state.Remaining, state.Reset = e.window, left, e.reset
		}
	}
	return state, nil
}

// entry returns the running period of a key and a window.
func (m *Memory) entry(s *shard, key string, w Window, now time.Time) *entry {
	name := key + "\x00" + w.Per.String()
	e := s.entries[name]
	if e == nil {
		if len(s.entries) >= m.size {
			s.makeRoom(now)
		}
		e = &entry{}
		s.entries[name] = e
	}
	if !now.Before(e.reset) {
		*e = entry{reset: now.Add(w.Per)}
	}
	e.window = w
	return e
}

// makeRoom forgets one entry, or more if they have expired.
func (s *shard) makeRoom(now time.Time) {
	var victim string
	most, seen := -1.0, 0
	for name, e := range s.entries { // in random order
		if !now.Before(e.reset) {
			delete(s.entries, name)
			victim, most = "", 2
			continue
		}
		if left := 1 - float64(e.used)/float64(e.window.Points); left > most {
			victim, most = name, left
		}
		if seen++; seen == sample {
			break
		}
	}
	if victim != "" {
		delete(s.entries, victim)
	}
}

// Len returns the number of entries that are kept.
func (m *Memory) Len() int {
	n := 0
	for i := range m.shards {
		m.shards[i].mu.Lock()
		n += len(m.shards[i].entries)
		m.shards[i].mu.Unlock()
	}
	return n
}
