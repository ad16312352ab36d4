package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Shared is a limiter of several processes on one store: they count together. Counting
// costs a write to the store, so only windows of few points are shared, which are those of logins,
// sign-ups and e-mails; the wide ones, such as that of all methods together, are counted in each process.
type Shared struct {
	store storage.Store
	local Limiter
	now   func() time.Time
}

// sharedPoints is the most points of a window that is shared.
const sharedPoints = 1000

// counts is what one key has used.
type counts struct {
	Key     string           `json:"key"`
	Windows map[string]count `json:"windows"` // by their period
	// Until is when the last window ends.
	Until time.Time `json:"until"`
}

type count struct {
	Used  int       `json:"used"`
	Reset time.Time `json:"reset"`
}

var countsTable = storage.NewCollection("rate_limits",
	func(c *counts) string { return c.Key },
	storage.Ordered("until", func(c *counts) string { return storage.TimeKey(c.Until) }),
)

// Tables are the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{countsTable} }

// NewShared returns a limiter on a store, whose table it defines. Wide windows are left to local. A nil
// now is [time.Now].
func NewShared(ctx context.Context, s storage.Store, local Limiter, now func() time.Time) (*Shared, error) {
	if now == nil {
		now = time.Now
	}
	if err := storage.Define(ctx, s, Tables()...); err != nil {
		return nil, fmt.Errorf("ratelimit: %w", err)
	}
	return &Shared{s, local, now}, nil
}

// Take implements [Limiter].
func (s *Shared) Take(ctx context.Context, key string, windows ...Window) (State, error) {
	for _, w := range windows {
		if w.Points > sharedPoints {
			return s.local.Take(ctx, key, windows...)
		}
	}
	if len(key) > 512 { // what a client sent may be of any length
		key = storedKey(key)
	}
	var state State
	err := s.store.Update(ctx, func(tx storage.Tx) error {
		c, err := countsTable.Get(tx, key)
		if errors.Is(err, storage.ErrNotFound) {
			c, err = &counts{Key: key}, nil
		}
		if err != nil {
			return err
		}
		state = c.take(windows, s.now().UTC())
		return countsTable.Put(tx, c)
	})
	return state, err
}

// take takes a point of each window, or of none.
func (c *counts) take(windows []Window, now time.Time) State {
	state := State{Allowed: true}
	if c.Windows == nil {
		c.Windows = map[string]count{}
	}
	for _, w := range windows {
		n := c.Windows[w.Per.String()]
		if !now.Before(n.Reset) {
			n = count{Reset: now.Add(w.Per)}
		}
		c.Windows[w.Per.String()] = n
		if n.Used >= w.Points {
			state.Allowed = false
		}
		if n.Reset.After(c.Until) {
			c.Until = n.Reset
		}
	}
	for i, w := range windows {
		n := c.Windows[w.Per.String()]
		if state.Allowed {
			n.Used++
			c.Windows[w.Per.String()] = n
		}
		state.nearest(i == 0, w, w.Points-n.Used, n.Reset)
	}
	return state
}

// Purge removes counts whose windows have ended. It is housekeeping, to be run now and then.
func Purge(ctx context.Context, s storage.Store, now time.Time) error {
	if err := storage.Define(ctx, s, Tables()...); err != nil {
		return err
	}
	for {
		n := 0
		err := s.Update(ctx, func(tx storage.Tx) (err error) {
			n, err = countsTable.DeleteAll(tx, storage.Range{Index: "until", To: storage.TimeKey(now), Limit: 500})
			return err
		})
		if err != nil || n < 500 {
			return err
		}
	}
}
