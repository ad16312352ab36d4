package password

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// desk is a queue whose waiters are controlled without goroutines.
type desk struct {
	t testing.TB
	*queue
	waiters []*waiter
	names   map[*waiter]string
}

// newDesk returns a queue whose one slot is taken.
func newDesk(t testing.TB, limit int) *desk {
	d := &desk{t, newQueue(1, limit, nil), nil, map[*waiter]string{}}
	if w, err := d.queue.join("before"); w != nil || err != nil {
		t.Fatalf("the free slot isn't given: %v, %v", w, err)
	}
	return d
}

// join puts callers in line. A caller's name is its address and a digit: "a1".
func (d *desk) join(names ...string) {
	d.t.Helper()
	for _, name := range names {
		w, err := d.queue.join(name[:1])
		if w == nil || err != nil {
			d.t.Fatalf("%s: %v, %v", name, w, err)
		}
		d.waiters = append(d.waiters, w)
		d.names[w] = name
	}
}

// find returns the waiter of a name.
func (d *desk) find(name string) *waiter {
	i := slices.IndexFunc(d.waiters, func(w *waiter) bool { return d.names[w] == name })
	return d.waiters[i]
}

// outcomes returns the names of the waiters that got an outcome since the last call.
func (d *desk) outcomes() (served, turnedAway []string) {
	for _, w := range d.waiters {
		select {
		case err := <-w.outcome:
			if err == nil {
				served = append(served, d.names[w])
			} else {
				turnedAway = append(turnedAway, d.names[w])
			}
		default:
		}
	}
	return served, turnedAway
}

// serve gives the slot back until nobody waits, and returns the order in which waiters got it.
func (d *desk) serve() string {
	d.t.Helper()
	var order []string
	for d.waiting > 0 {
		d.leave()
		served, away := d.outcomes()
		if len(served) != 1 || len(away) != 0 {
			d.t.Fatalf("one slot was handed to %q; turned away: %q", served, away)
		}
		order = append(order, served[0])
	}
	return strings.Join(order, " ")
}

func TestAddressesAreServedInTurn(t *testing.T) {
	for _, c := range []struct{ joined, want string }{
		{"a1 a2 a3", "a1 a2 a3"},
		{"a1 a2 a3 b1", "a1 b1 a2 a3"},
		{"a1 a2 a3 b1 b2 c1", "a1 b1 c1 a2 b2 a3"},
		{"a1 b1 a2 b2", "a1 b1 a2 b2"},
	} {
		d := newDesk(t, 10)
		d.join(strings.Fields(c.joined)...)
		if got := d.serve(); got != c.want {
			t.Errorf("%q are served in the order %q; want %q", c.joined, got, c.want)
		}
	}
}

func TestManyWaitersDelayOthersByOne(t *testing.T) {
	d := newDesk(t, 100)
	for range 50 {
		d.join("a1")
	}
	for range 10 {
		d.leave() // the crowd is being served
	}
	d.outcomes()
	d.join("b1")
	if got := d.serve(); !strings.HasPrefix(got, "a1 b1 a1") {
		t.Errorf("served in the order %q", got)
	}
	// A caller that comes again after it was served waits behind those who wait already.
	d.join("a1", "a2", "b1")
	d.leave()
	d.outcomes()
	d.leave()
	d.outcomes()
	d.join("b2")
	if got := d.serve(); got != "a2 b2" {
		t.Errorf("served in the order %q", got)
	}
}

func TestAFullQueueRejectsTheAddressWithTheMostWaiters(t *testing.T) {
	for _, c := range []struct {
		joined, newcomer string
		away             string // "" if it is the newcomer
		order            string
	}{
		{"a1 a2 a3 a4", "a5", "", "a1 a2 a3 a4"},
		{"a1 a2 a3 a4", "b1", "a4", "a1 b1 a2 a3"},
		{"a1 a2 a3 b1", "b2", "a3", "a1 b1 a2 b2"},
		{"a1 a2 b1 b2", "b3", "", "a1 b1 a2 b2"},
		{"a1 a2 b1 b2", "a3", "", "a1 b1 a2 b2"},
		{"a1 a2 b1 b2", "c1", "b2", "a1 b1 c1 a2"},
		{"b1 a1 a2 a3", "b2", "a3", "b1 a1 b2 a2"},
		{"a1 a2 a3 b1", "a4", "", "a1 b1 a2 a3"},
		{"a1 b1 c1 d1", "e1", "", "a1 b1 c1 d1"},
		{"a1 b1 c1 d1", "a2", "", "a1 b1 c1 d1"},
	} {
		d := newDesk(t, 4)
		d.join(strings.Fields(c.joined)...)
		if c.away == "" {
			if w, err := d.queue.join(c.newcomer[:1]); w != nil || !errors.Is(err, ErrBusy) {
				t.Errorf("%s after %q: %v, %v; want ErrBusy", c.newcomer, c.joined, w, err)
			}
		} else {
			d.join(c.newcomer)
		}
		served, away := d.outcomes()
		if len(served) != 0 || strings.Join(away, " ") != c.away || d.waiting != 4 {
			t.Errorf("%s after %q: served %q, turned away %q, %d wait", c.newcomer, c.joined, served, away, d.waiting)
		}
		if got := d.serve(); got != c.order {
			t.Errorf("%s after %q: served in the order %q; want %q", c.newcomer, c.joined, got, c.order)
		}
	}
}

func TestOneAddressCantFillTheQueue(t *testing.T) {
	d := newDesk(t, 64)
	for range 64 {
		d.join("a1")
	}
	for i := range 1000 {
		if _, err := d.queue.join("a"); !errors.Is(err, ErrBusy) {
			t.Fatalf("newcomer %d of the crowd: %v", i, err)
		}
	}
	for range 32 {
		d.join("b1") // takes one place of the crowd's each time
	}
	if _, err := d.queue.join("b"); !errors.Is(err, ErrBusy) {
		t.Errorf("beyond half of the queue: %v", err)
	}
	if a, b := len(d.lines["a"].waiters), len(d.lines["b"].waiters); a != 32 || b != 32 || d.waiting != 64 {
		t.Errorf("%d and %d wait; %d in all", a, b, d.waiting)
	}
}

func TestAWaiterThatGivesUpFreesItsPlace(t *testing.T) {
	d := newDesk(t, 4)
	d.join("a1", "a2", "b1", "c1")
	for _, name := range []string{"a1", "b1"} {
		if !d.abandon(d.find(name)) {
			t.Errorf("%s didn't wait", name)
		}
		if d.abandon(d.find(name)) {
			t.Errorf("%s left twice", name)
		}
	}
	d.join("b2", "d1") // there is room again, and nobody is turned away
	if served, away := d.outcomes(); len(served)+len(away) != 0 {
		t.Errorf("served %q, turned away %q", served, away)
	}
	if got := d.serve(); got != "a2 c1 b2 d1" {
		t.Errorf("served in the order %q", got)
	}
	if d.abandon(d.find("a2")) {
		t.Error("one who was served gave up its place")
	}
	d.leave()
	if d.free != 1 || len(d.lines) != 0 || len(d.turns) != 0 {
		t.Errorf("not empty at last: %+v", d.queue)
	}
}

func TestConcurrentEventsHaveOneOutcome(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	q := newQueue(1, 1, nil)
	if err := q.enter(ended, "a"); !errors.Is(err, context.Canceled) || q.free != 1 {
		t.Errorf("the context has ended and a slot is free: %v, %d free", err, q.free)
	}
	if err := q.enter(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	// A waiter is handed the slot as its context ends: whichever it sees first, the slot isn't
	// lost.
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			got := make(chan error)
			go func() { got <- q.enter(ctx, "a") }()
			synctest.Wait()
			cancel()
			q.leave()
			if err := <-got; !errors.Is(err, context.Canceled) || q.free != 1 {
				t.Fatalf("%v, %d free", err, q.free)
			}
			if err := q.enter(t.Context(), "b"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestQueueInvariants lets random callers join, give up and leave, with other requests now and then,
// and checks the invariants after each step.
func TestQueueInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots, limit := rapid.IntRange(1, 3).Draw(t, "slots"), rapid.IntRange(1, 8).Draw(t, "limit")
		var server fakeServer
		var last *spare
		if slots > 1 && rapid.Bool().Draw(t, "spare") {
			last = server.spare()
		}
		q := newQueue(slots, limit, last)
		addresses := rapid.SampledFrom([]string{"", "a", "b", "c"})
		working := 0
		var waiters []*waiter
		passed := map[string]map[string]int{} // how often others were served while an address waits
		collect := func() {
			var served []string // at once, if the spare slot has become free too
			waiters = slices.DeleteFunc(waiters, func(w *waiter) bool {
				select {
				case err := <-w.outcome:
					if err == nil {
						served = append(served, w.line.address)
					}
					return true
				default:
					return false
				}
			})
			working += len(served)
			for _, address := range served {
				delete(passed, address)
			}
			for _, address := range served {
				for waiting, by := range passed {
					if by[address]++; by[address] > 1 {
						t.Fatalf("%q was served %d times while %q waited", address, by[address], waiting)
					}
				}
			}
			for address := range passed {
				if q.lines[address] == nil {
					delete(passed, address)
				}
			}
			for address := range q.lines {
				if passed[address] == nil {
					passed[address] = map[string]int{}
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				full := q.waiting == limit && (q.free == 0 || last.reserved() > 0)
				reserved := min(q.free, last.reserved())
				w, err := q.join(addresses.Draw(t, "address"))
				switch {
				case err != nil:
					if !full || !errors.Is(err, ErrBusy) {
						t.Fatalf("full: %t, %v", full, err)
					}
				case w == nil:
					working++
				default:
					waiters = append(waiters, w)
				}
				if q.free < reserved {
					t.Fatal("the spare slot was given away while there are other requests")
				}
				collect()
			},
			"abandon": func(t *rapid.T) {
				if len(waiters) == 0 {
					t.Skip("nobody waits")
				}
				i := rapid.IntRange(0, len(waiters)-1).Draw(t, "who")
				if !q.abandon(waiters[i]) {
					t.Fatal("it didn't wait")
				}
				waiters = slices.Delete(waiters, i, i+1)
				collect()
			},
			"leave": func(t *rapid.T) {
				if working == 0 {
					t.Skip("nobody works")
				}
				working--
				q.leave()
				collect()
				switch reserved := last.reserved(); {
				case q.free < reserved:
					t.Fatal("the spare slot was given away while there are other requests")
				case q.waiting > 0 && q.free > reserved:
					t.Fatal("somebody waits for the spare slot while there are no other requests")
				}
			},
			"time passes": func(t *rapid.T) {
				server.elapse(time.Duration(rapid.IntRange(1, 300).Draw(t, "ms")) * time.Millisecond)
			},
			"another request": func(*rapid.T) { server.request() },
			"": func(t *rapid.T) {
				inLines := 0
				for _, l := range q.turns {
					inLines += len(l.waiters)
					if q.lines[l.address] != l || len(l.waiters) == 0 {
						t.Fatalf("the line of %q: %+v", l.address, l)
					}
				}
				switch {
				case q.free+working != slots:
					t.Fatalf("%d slots are free and %d taken of %d", q.free, working, slots)
				case q.free > 0 && q.waiting > 0 && (last == nil || q.free > 1 || working == 0):
					t.Fatalf("%d wait, %d slots are free, and %d work", q.waiting, q.free, working)
				case q.waiting != len(waiters), q.waiting != inLines, q.waiting > limit, len(q.lines) != len(q.turns):
					t.Fatalf("%d wait of at most %d: %d in %d lines; %d know it", q.waiting, limit, inLines, len(q.lines), len(waiters))
				}
			},
		})
	})
}

// TestConcurrentCallersHaveOneOutcome has many concurrent callers, some of which give up.
func TestConcurrentCallersHaveOneOutcome(t *testing.T) {
	const slots, limit, callers, rounds = 3, 16, 40, 200
	q := newQueue(slots, limit, nil)
	var working, served, busy, gaveUp atomic.Int64
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(caller)))
			for range rounds {
				ctx, cancel := context.WithCancel(t.Context())
				if random.IntN(3) == 0 {
					go cancel()
				}
				switch err := q.enter(ctx, string(rune('a'+caller%5))); {
				case err == nil:
					if n := working.Add(1); n > slots {
						t.Errorf("%d work at once", n)
					}
					q.mu.Lock()
					if q.waiting > limit {
						t.Errorf("%d wait", q.waiting)
					}
					q.mu.Unlock()
					working.Add(-1)
					served.Add(1)
					q.leave()
				case errors.Is(err, ErrBusy):
					busy.Add(1)
				case errors.Is(err, context.Canceled):
					gaveUp.Add(1)
				default:
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if n := served.Load() + busy.Load() + gaveUp.Load(); n != callers*rounds {
		t.Errorf("%d outcomes of %d callers", n, callers*rounds)
	}
	if q.free != slots || q.waiting != 0 || len(q.lines) != 0 || len(q.turns) != 0 {
		t.Errorf("not empty at last: %d free, %d waiting, %d lines, %d turns", q.free, q.waiting, len(q.lines), len(q.turns))
	}
}
