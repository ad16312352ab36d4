package sessions

import (
	"crypto/sha256"
	"sync"
	"time"
)

// seen remembers in memory for some minutes which values were used. It is for proofs of requests
// that change nothing, for which a write to the store would cost too much.
type seen struct {
	mu sync.Mutex
	// recent and former are two generations. When recent has become old or full, it becomes former.
	recent, former map[[16]byte]struct{}
	since          time.Time
}

// A value is remembered for one to two times seenFor. A proof can be used for two minutes and the
// skew of a clock, if its client is ahead of time. Under a flood of proofs, which only whoever has
// a session can send, the older ones are forgotten earlier.
const (
	seenFor = 130 * time.Second
	maxSeen = 100_000
)

func newSeen() *seen { return &seen{recent: map[[16]byte]struct{}{}} }

// first marks a value as used, and reports whether it is used for the first time.
func (s *seen) first(value string, now time.Time) bool {
	sum := sha256.Sum256([]byte(value))
	key := [16]byte(sum[:16])
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.since) >= seenFor || len(s.recent) >= maxSeen {
		if now.Sub(s.since) >= 2*seenFor {
			s.recent = nil
		}
		s.former, s.recent, s.since = s.recent, map[[16]byte]struct{}{}, now
	}
	if _, used := s.recent[key]; used {
		return false
	}
	if _, used := s.former[key]; used {
		return false
	}
	s.recent[key] = struct{}{}
	return true
}
