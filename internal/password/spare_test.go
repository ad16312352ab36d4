package password

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/traffic"
)

// fakeServer is the time and the other requests that a spare learns of.
type fakeServer struct {
	now      time.Time
	requests int64
}

func (s *fakeServer) spare() *spare {
	s.now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return &spare{others: func() int64 { return s.requests }, now: func() time.Time { return s.now }}
}

func (s *fakeServer) elapse(d time.Duration) { s.now = s.now.Add(d) }

func (s *fakeServer) request() { s.requests++ }

// newSpareDesk returns a queue of two slots, of which the second is spare and the first is taken.
func newSpareDesk(t testing.TB, limit int) (*desk, *fakeServer) {
	s := new(fakeServer)
	d := &desk{t, newQueue(2, limit, s.spare()), nil, map[*waiter]string{}}
	if w, err := d.queue.join("before"); w != nil || err != nil {
		t.Fatalf("the free slot isn't given: %v, %v", w, err)
	}
	return d, s
}

// expect checks who was served since the last call, in the order in which they joined.
func (d *desk) expect(when, want string) {
	d.t.Helper()
	if served, away := d.outcomes(); strings.Join(served, " ") != want || len(away) != 0 {
		d.t.Errorf("%s: %q are served, %q turned away; want %q", when, served, away, want)
	}
}

func TestTheSpareSlotIsUsedWhileThereAreOnlyLogins(t *testing.T) {
	d, _ := newSpareDesk(t, 10)
	if w, err := d.queue.join("a"); w != nil || err != nil {
		t.Errorf("the second caller: %v, %v", w, err)
	}
	d.join("a1", "b1", "b2")
	d.leave()
	d.expect("one leaves", "a1")
	d.leave()
	d.leave()
	d.expect("both leave", "b1 b2")
	if d.free != 0 {
		t.Errorf("%d slots are free", d.free)
	}
}

func TestTheSpareSlotIsLeftToOtherRequests(t *testing.T) {
	d, s := newSpareDesk(t, 10)
	s.request()
	d.join("a1", "b1", "c1")
	d.expect("a request was just made", "")
	d.leave()
	d.expect("the other slot is given back", "a1")
	s.elapse(quietTime - 1)
	d.join("d1")
	d.expect("just before the quiet time ends", "")
	s.request()
	s.elapse(1)
	d.join("e1")
	d.expect("after another request", "")
	s.elapse(quietTime - 1)
	d.leave()
	d.expect("just before the quiet time ends again", "b1")
	s.elapse(1)
	d.leave()
	d.expect("the quiet time is over, and a slot is given back", "c1 d1")
	s.request()
	d.leave()
	d.expect("one of two leaves after a request", "")
	d.leave()
	d.expect("the other one too", "e1")
	if d.free != 1 || d.waiting != 0 {
		t.Errorf("%d slots are free, and %d wait", d.free, d.waiting)
	}
}

// TestTheSpareSlotIsGivenInTurn: who comes when the quiet time is over doesn't overtake those who
// wait already, also if the queue is full.
func TestTheSpareSlotIsGivenInTurn(t *testing.T) {
	d, s := newSpareDesk(t, 2)
	s.request()
	d.join("a1", "a2")
	s.elapse(quietTime)
	d.join("b1")
	d.expect("b1 comes", "a1")
	if got := d.serve(); got != "b1 a2" && got != "a2 b1" {
		t.Errorf("then %q are served", got)
	}
}

// TestRequestsCantStopLogins: however many other requests there are, logins go on one at a time.
func TestRequestsCantStopLogins(t *testing.T) {
	d, s := newSpareDesk(t, 100)
	for range 20 {
		s.request()
		d.join("a1", "b1")
	}
	for served := 0; d.waiting > 0; served++ {
		s.request()
		s.elapse(time.Millisecond)
		d.leave()
		if names, _ := d.outcomes(); len(names) != 1 {
			t.Fatalf("after %d, %q are served at once", served, names)
		}
	}
	if d.free != 1 {
		t.Errorf("%d slots are free", d.free)
	}
}

// TestLoginsCantTakeTheSpareSlot: however many logins there are, and from however many addresses,
// the last processor is left to other requests.
func TestLoginsCantTakeTheSpareSlot(t *testing.T) {
	d, s := newSpareDesk(t, 64)
	for i := range 10_000 {
		if i%10 == 0 {
			s.request()
		}
		s.elapse(quietTime / 10)
		_, _ = d.queue.join(string(rune('a' + i%26)))
		if d.free != 1 {
			t.Fatalf("%d slots are free after %d logins", d.free, i)
		}
	}
}

func TestWorkers(t *testing.T) {
	processors := runtime.GOMAXPROCS(0)
	always := max(1, processors-1)
	for _, c := range []struct {
		name         string
		cfg          Config
		slots, limit int
		spare        bool
	}{
		{"default", Config{Traffic: new(traffic.Meter)}, processors, 64 * always, processors > 1},
		{"nothing known of other requests", Config{}, always, 64 * always, false},
		{"as many as the embedder says", Config{Workers: 5, Traffic: new(traffic.Meter)}, 5, 320, false},
		{"one", Config{Workers: 1, Traffic: new(traffic.Meter)}, 1, 64, false},
		{"a queue", Config{Queue: 7, Traffic: new(traffic.Meter)}, processors, 7, processors > 1},
	} {
		h, err := New(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if q := h.queue; q.free != c.slots || q.limit != c.limit || (q.spare != nil) != c.spare {
			t.Errorf("%s: %d workers, room for %d, spare: %t; want %d, %d, %t", c.name, q.free, q.limit, q.spare != nil, c.slots, c.limit, c.spare)
		}
	}
}
