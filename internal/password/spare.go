package password

import "time"

// quietTime is how long there must have been no other requests before the spare slot is used. A
// server that is asked something more often than that has a processor for it at any time.
const quietTime = 100 * time.Millisecond

// spare says when the last slot of a queue may be used: while there are no other requests than
// those that hash. A nil spare allows it always. The queue asks whenever a caller comes or leaves,
// which is often enough as long as anybody waits.
type spare struct {
	others func() int64 // how many other requests there have been
	now    func() time.Time

	seen  int64
	since time.Time // when seen was found to have changed
}

// reserved returns how many slots are kept free now.
func (s *spare) reserved() int {
	if s == nil {
		return 0
	}
	now := s.now()
	if n := s.others(); n != s.seen {
		s.seen, s.since = n, now
	}
	if now.Sub(s.since) < quietTime {
		return 1
	}
	return 0
}
