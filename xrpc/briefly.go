package xrpc

import (
	"context"
	"time"
)

// briefTime is how long an answer to anyone is good that would otherwise be read from the store
// each time.
const briefTime = time.Second

// briefly remembers a value for a second, and has it found out once however many ask.
type briefly[T any] struct {
	turn  chan struct{} // has the one that holds it
	value T
	at    time.Time
	epoch uint64
}

func newBriefly[T any]() *briefly[T] { return &briefly[T]{turn: make(chan struct{}, 1)} }

// get returns the value, found out by find if it is a second old or of another epoch. What find
// doesn't want to be kept is for this caller only. The error is that of a context that ends while
// others find it out.
func (b *briefly[T]) get(ctx context.Context, now func() time.Time, epoch uint64, find func() (value T, keep bool)) (T, error) {
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
	defer func() { <-b.turn }()
	if !b.at.IsZero() && b.epoch == epoch && now().Sub(b.at).Abs() < briefTime {
		return b.value, nil
	}
	value, keep := find()
	if keep {
		b.value, b.at, b.epoch = value, now(), epoch
	}
	return value, nil
}
