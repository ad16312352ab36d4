package password

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

// ErrBusy says that a password wasn't hashed because too many are waiting already. The caller may
// try again in a few seconds. It is a [ratelimit.ErrBusy].
var ErrBusy = fmt.Errorf("password: %w to be hashed", ratelimit.ErrBusy)

// queue lets so many callers work at once and makes the others wait in line, a line for each
// address. The lines are served in turn, so that an address with many waiters delays the others by
// one of its own each time and no more. A caller that leaves hands its slot to the next waiter.
type queue struct {
	limit int // how many may wait

	mu      sync.Mutex
	free    int // slots that nobody has; none while anybody waits
	waiting int
	lines   map[string]*line // by address; none is empty
	turns   []*line          // the same lines, the one that is served next first
}

// line is the waiters of an address, the oldest first.
type line struct {
	address string
	waiters []*waiter
}

type waiter struct {
	line *line
	// outcome gets one value when the waiter is taken out of its line by another: nil with a slot,
	// or ErrBusy.
	outcome chan error
}

func newQueue(slots, limit int) *queue {
	return &queue{limit: limit, free: slots, lines: map[string]*line{}}
}

// enter waits for a slot. It returns nil with one, which leave gives back; [ErrBusy] if too many
// wait; or the context's error if that ends first, in which case there is no slot to give back.
func (q *queue) enter(ctx context.Context, address string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w, err := q.join(address)
	if err != nil {
		return err
	}
	if w != nil {
		select {
		case err = <-w.outcome:
		case <-ctx.Done():
			if q.abandon(w) {
				return ctx.Err()
			}
			err = <-w.outcome // it came at the same time
		}
		if err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		q.leave()
		return err
	}
	return nil
}

// join takes a slot if one is free, and then returns no waiter. Otherwise it returns a new waiter
// at the end of its address's line, or [ErrBusy].
func (q *queue) join(address string) (*waiter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.free > 0 {
		q.free--
		return nil, nil
	}
	l := q.lines[address]
	if q.waiting >= q.limit && !q.makeRoom(l) {
		return nil, ErrBusy
	}
	if l == nil {
		l = &line{address: address}
		q.lines[address] = l
		q.turns = append(q.turns, l)
	}
	w := &waiter{line: l, outcome: make(chan error, 1)}
	l.waiters = append(l.waiters, w)
	q.waiting++
	return w, nil
}

// makeRoom turns the newest waiter of the longest line away, if that line is longer than the
// newcomer's would be. Of several longest lines, the one whose turn is the last gives way.
func (q *queue) makeRoom(newcomers *line) bool {
	n := 2 // the least length of a line that gives way: one more than the newcomer's will be
	if newcomers != nil {
		n += len(newcomers.waiters)
	}
	var longest *line
	for _, l := range q.turns {
		if len(l.waiters) >= n {
			n, longest = len(l.waiters), l
		}
	}
	if longest == nil {
		return false
	}
	w := longest.waiters[n-1]
	q.remove(w)
	w.outcome <- ErrBusy
	return true
}

// leave hands the caller's slot to the next waiter, or sets it free.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.turns) == 0 {
		q.free++
		return
	}
	l := q.turns[0]
	w := l.waiters[0]
	q.turns = append(slices.Delete(q.turns, 0, 1), l)
	q.remove(w)
	w.outcome <- nil
}

// abandon takes a waiter out of its line, unless it has an outcome already.
func (q *queue) abandon(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.remove(w)
}

// remove takes a waiter out of its line, and the line out of the queue if it was the last in it.
// It reports whether the waiter was there.
func (q *queue) remove(w *waiter) bool {
	l := w.line
	i := slices.Index(l.waiters, w)
	if i < 0 {
		return false
	}
	l.waiters = slices.Delete(l.waiters, i, i+1)
	q.waiting--
	if len(l.waiters) == 0 {
		delete(q.lines, l.address)
		q.turns = slices.DeleteFunc(q.turns, func(other *line) bool { return other == l })
	}
	return true
}
