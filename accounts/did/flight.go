package did

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sync/singleflight"
)

// merge makes a lookup, or waits for one with the same key that is under way. The lookup has a
// timeout of its own, and goes on if its first caller's context ends, since others may wait for
// the result. Each caller waits as long as its own context allows.
func merge[T any](
	ctx context.Context, flights *singleflight.Group, key string, timeout time.Duration, look func(context.Context) (T, error),
) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	done := flights.DoChan(key, func() (result any, err error) {
		// Callers can't recover from a panic in this goroutine.
		defer func() {
			if p := recover(); p != nil {
				result = panicked(fmt.Sprintf("%v\n\n%s", p, debug.Stack()))
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		return look(ctx)
	})
	select {
	case r := <-done:
		if p, ok := r.Val.(panicked); ok {
			panic(string(p))
		}
		found, _ := r.Val.(T)
		return found, r.Err
	case <-ctx.Done():
		return none, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

// panicked is the result of a lookup that panicked. The callers panic with it, as they would have
// if they had made the lookup themselves.
type panicked string

// slots is a semaphore that bounds how many lookups are under way.
type slots chan struct{}

// errBusy is returned for a lookup that didn't get a slot before its context ended.
var errBusy = fmt.Errorf("%w: too many lookups are under way", ErrUnavailable)

// take waits for a slot. Error: errBusy.
func (s slots) take(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		if ctx.Err() != nil {
			s.free()
			return errBusy
		}
		return nil
	case <-ctx.Done():
		return errBusy
	}
}

func (s slots) free() { <-s }
