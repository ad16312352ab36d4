// Package briefly caches values for a second, so that questions that anybody may ask don't each
// read from the store.
package briefly

import (
	"context"
	"time"
)

// Lifetime is how long a value is cached.
const Lifetime = time.Second

// Value caches one value. It is looked up once, however many callers ask for it at the same time.
type Value[T any] struct {
	turn  chan struct{} // holds an element while a caller looks the value up
	value T
	at    time.Time
	epoch uint64
}

// New returns an empty Value.
func New[T any]() *Value[T] { return &Value[T]{turn: make(chan struct{}, 1)} }

// Get returns the cached value, or calls find if that is older than [Lifetime] or of another epoch.
// A value that find returns with keep false is returned to this caller only. The error is that of
// the context, if it ends while another caller looks the value up.
func (v *Value[T]) Get(ctx context.Context, now func() time.Time, epoch uint64, find func() (value T, keep bool)) (T, error) {
	select {
	case v.turn <- struct{}{}:
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
	defer func() { <-v.turn }()
	if !v.at.IsZero() && v.epoch == epoch && now().Sub(v.at).Abs() < Lifetime {
		return v.value, nil
	}
	value, keep := find()
	if keep {
		v.value, v.at, v.epoch = value, now(), epoch
	}
	return value, nil
}
