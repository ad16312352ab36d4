package password

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

// ErrBusy is returned when a password wasn't hashed because too many are waiting already. It is a
// [ratelimit.ErrBusy]: clients are answered 503 ServiceUnavailable, and may try again in some
// seconds.
var ErrBusy = fmt.Errorf("password: %w to be hashed", ratelimit.ErrBusy)

// queue is a semaphore with lines of waiters, one for each address. The lines are served in turn,
// so that an address with many waiters delays each caller of another address by at most one of its
// own. A caller that leaves hands its slot to the next waiter.
//
// With a spare, the last slot is kept free while the server has other things to do. Callers then
// wait although it is free. They aren't forgotten: another slot is taken, or they would have got it,
// and whoever leaves that one looks whether the spare slot may be used too.
type queue struct {
	limit int // the most waiters

	mu      sync.Mutex
	spare   *spare
	free    int // slots that nobody holds; at most the spare one while anybody waits
	waiting int
	lines   map[string]*line // by address, without empty ones
	turns   []*line          // the same lines in the order in which they are served next
}

// line has the waiters of one address, oldest first.
type line struct {
	address string
	waiters []*waiter
}

type waiter struct {
	line *line
	// outcome gets one value when the waiter is taken out of its line by another goroutine: nil
	// with a slot, or ErrBusy.
	outcome chan error
}

// newQueue returns a queue. A nil spare reserves no slot.
func newQueue(slots, limit int, s *spare) *queue {
	return &queue{limit: limit, spare: s, free: slots, lines: map[string]*line{}}
}

// enter waits for a slot, which leave gives back. Errors: [ErrBusy] if too many callers wait, and
// the context's error if that ends first. With an error there is no slot to give back.
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
			err = <-w.outcome // which it got at the same time
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

// join takes a slot if one is free, and then returns no waiter. Otherwise it adds a waiter to the
// line of the address, or returns an [ErrBusy].
func (q *queue) join(address string) (*waiter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.serve() { // nobody waits any longer
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

// makeRoom rejects the newest waiter of the longest line if that line is longer than the newcomer's
// would be, and reports whether it did. If several lines are the longest, it is the one that is
// served last.
func (q *queue) makeRoom(newcomers *line) bool {
	n := 2 // the least length of a line that loses a waiter: one more than the newcomer's would have
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

// leave gives the caller's slot back.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free++
	q.serve()
}

// serve hands slots to those who are next, and reports whether one is left.
func (q *queue) serve() bool {
	if q.free == 0 {
		return false
	}
	for reserved := q.spare.reserved(); q.free > reserved; q.free-- {
		if len(q.turns) == 0 {
			return true
		}
		l := q.turns[0]
		w := l.waiters[0]
		q.turns = append(slices.Delete(q.turns, 0, 1), l)
		q.remove(w)
		w.outcome <- nil
	}
	return false
}

// abandon takes a waiter out of its line, and reports whether it did: not if it has an outcome
// already.
func (q *queue) abandon(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.remove(w)
}

// remove takes a waiter out of its line, and the line out of the queue if it is empty then. It
// reports whether the waiter was in the line.
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
