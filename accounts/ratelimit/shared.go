package ratelimit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Shared is a [Limiter] for several processes on one store, which count together. Each count is a
// write to the store. Therefore only windows of at most 1000 points are shared, such as those of
// logins, sign-ups and e-mails; wider ones, such as the one for all methods together, are counted
// in each process. A key that is exhausted is refused without asking the store until its period
// ends.
type Shared struct {
	store   storage.Store
	local   *Memory // for wide windows
	now     func() time.Time
	refused *lru.Cache[string, State]
}

// refusals is the most exhausted keys that are remembered.
const refusals = 10_000

// sharedPoints is the most points of a window that is shared.
const sharedPoints = 1000

// stored is the entry of one key. The key is hashed, since it may contain any bytes and shows who
// made requests.
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
).OwnedBy(storage.OwnerGatehouse)

// Tables returns the collections of this package, for [storage.Define].
func Tables() []storage.Definer { return []storage.Definer{table} }

// NewShared returns a limiter that keeps its counts in a store, and defines its table there.
// [Purge] has to be called periodically; a gatehouse.Server does that for its own store.
func NewShared(ctx context.Context, s storage.Store, cfg Config) (*Shared, error) {
	if err := storage.Define(ctx, s, Tables()...); err != nil {
		return nil, fmt.Errorf("ratelimit: %w", err)
	}
	refused, err := lru.New[string, State](refusals)
	if err != nil {
		return nil, fmt.Errorf("ratelimit: %w", err)
	}
	return &Shared{s, NewMemory(cfg), cfg.clock(), refused}, nil
}

// Take implements [Limiter].
func (s *Shared) Take(ctx context.Context, key string, windows ...Window) (State, error) {
	if wide(windows) {
		return s.local.Take(ctx, key, windows...)
	}
	name := keyName(key)
	if state, ok := s.refusal(name); ok {
		return state, nil
	}
	var state State
	err := s.store.Update(ctx, func(tx storage.Tx) error {
		e, err := load(tx, name)
		if err != nil {
			return err
		}
		state = e.take(windows, s.now().UTC(), 1)
		if !state.Allowed {
			return nil
		}
		return table.Put(tx, storedEntry(name, e))
	})
	if err == nil && !state.Allowed {
		s.refused.Add(name, state)
	}
	return state, err
}

// Peek implements [Limiter].
func (s *Shared) Peek(ctx context.Context, key string, windows ...Window) (State, error) {
	if wide(windows) {
		return s.local.Peek(ctx, key, windows...)
	}
	name := keyName(key)
	if state, ok := s.refusal(name); ok {
		return state, nil
	}
	var state State
	err := s.store.View(ctx, func(tx storage.Tx) error {
		e, err := load(tx, name)
		if err == nil {
			state = e.take(windows, s.now().UTC(), 0)
		}
		return err
	})
	return state, err
}

// wide reports whether one of the windows has too many points to be shared.
func wide(windows []Window) bool {
	return slices.ContainsFunc(windows, func(w Window) bool { return w.Points > sharedPoints })
}

func keyName(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// refusal returns the refusal of an exhausted key until its period ends. Before that, nothing gives
// points back.
func (s *Shared) refusal(name string) (State, bool) {
	state, ok := s.refused.Get(name)
	if ok && !s.now().Before(state.Reset) {
		s.refused.Remove(name)
		ok = false
	}
	return state, ok
}

// load returns the entry of a key. It is empty if there is none in the store.
func load(tx storage.Tx, name string) (*entry, error) {
	d, err := table.Get(tx, name)
	if errors.Is(err, storage.ErrNotFound) {
		return &entry{}, nil
	}
	if err != nil {
		return nil, err
	}
	return d.entry(), nil
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

// Purge removes the counts of a [Shared] whose periods have ended. Call it periodically.
func Purge(ctx context.Context, s storage.Store, now time.Time) error {
	return table.Purge(ctx, s, storage.Range{Index: "until", To: storage.TimeKey(now)})
}
