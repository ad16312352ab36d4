package sessions

import (
	"strconv"
	"testing"
	"time"
)

func TestSeen(t *testing.T) {
	s, now := newSeen(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, value string
		after       time.Duration
		first       bool
	}{
		{"a value", "a", 0, true},
		{"the value again", "a", 0, false},
		{"another value", "b", time.Minute, true},
		{"the value in the next generation", "a", seenFor, false},
		{"the other one just before it could be forgotten", "b", seenFor + time.Minute, false},
		{"a value of the next generation", "c", 2*seenFor - 1, true},
		{"the first value when it is forgotten", "a", 2 * seenFor, true},
		{"the value of the generation before", "c", 2 * seenFor, false},
		{"after a long pause", "c", 5 * seenFor, true},
	} {
		if got := s.first(c.value, now.Add(c.after)); got != c.first {
			t.Errorf("%s: first is %t", c.name, got)
		}
	}
}

// TestSeenIsBounded: a flood makes it forget what is old, and no more is kept than twice the bound.
func TestSeenIsBounded(t *testing.T) {
	s, now := newSeen(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 2*maxSeen + maxSeen/2 {
		if !s.first(strconv.Itoa(i), now) {
			t.Fatalf("%d was seen before", i)
		}
	}
	if n := len(s.recent) + len(s.former); n > 2*maxSeen {
		t.Errorf("%d values are kept", n)
	}
	if s.first(strconv.Itoa(2*maxSeen), now) || s.first(strconv.Itoa(maxSeen+maxSeen/2), now) {
		t.Error("a recent value was forgotten")
	}
}
