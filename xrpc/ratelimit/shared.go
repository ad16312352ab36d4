package ratelimit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Shared is a limiter of several processes on one store: they count together.
// Counting costs a write to the store, so only windows of few points are shared, which
// are those of logins, sign-ups and e-mails; wide ones, such as that of all
// methods together, are counted in each process.
type Shared struct {
	store storage.Store
	local Limiter
	now   func() time.Time
}

// sharedPoints is the most points of a window that is shared.
const sharedPoints = 1000

// stored is the entry of one key, which is hashed: it may hold any bytes, and says who made requests.
type stored struct {
	Key    string        `json:"key"`
	Counts []storedCount `json:"counts"`
	// Until is when the last of its periods ends.
	Until time.Time `json:"until"`
}

type storedCount struct {
	Points int           `json:"points"`
	Per    time.Duration `json:"per"`
	Used   int           `json:"used"`
	Reset  time.Time     `json:"reset"`
}

var table = storage.NewCollection("rate_limits",
	func(s *stored) string { return s.Key },
	storage.Ordered("until", func(s *stored) string { return storage.TimeKey(s.Until) }),
)

// Tables are the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{table} }

// NewShared returns a limiter on a store, whose table it defines. Wide windows are
// left to local. A nil now is [time.Now].
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
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:])
	var state State
	err := s.store.Update(ctx, func(tx storage.Tx) error {
		d, err := table.Get(tx, name)
		if errors.Is(err, storage.ErrNotFound) {
			d, err = &stored{}, nil
		}
		if err != nil {
			return err
		}
		e := d.entry()
		state = e.take(windows, s.now().UTC())
		if !state.Allowed {
			return nil
		}
		return table.Put(tx, storedEntry(name, e))
	})
	return state, err
}

func (s *stored) entry() *entry {
	e := &entry{}
	for _, c := range s.Counts {
		e.counts = append(e.counts, count{Window{c.Points, c.Per}, c.Used, c.Reset})
	}
	return e
}

func storedEntry(key string, e *entry) *stored {
	s := &stored{Key: key}
	for _, c := range e.counts {
		s.Counts = append(s.Counts, storedCount{c.window.Points, c.window.Per, c.used, c.reset})
		if c.reset.After(s.Until) {
			s.Until = c.reset
		}
	}
	return s
}

// Purge removes counts of a [Shared] whose periods have ended. It is
// housekeeping, to be run now and then.
func Purge(ctx context.Context, s storage.Store, now time.Time) error {
	for {
		n := 0
		err := s.Update(ctx, func(tx storage.Tx) (err error) {
			n, err = table.DeleteAll(tx, storage.Range{Index: "until", To: storage.TimeKey(now), Limit: 500})
			return err
		})
		if err != nil || n < 500 {
			return err
		}
	}
}
