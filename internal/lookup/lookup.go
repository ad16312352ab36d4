// Package lookup merges lookups of the same thing that are under way at the same time.
package lookup

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sync/singleflight"
)

// Group has the lookups that are under way. Its zero value is ready to use.
type Group struct{ flights singleflight.Group }

// Forget makes the next caller for a key make a lookup of its own, whatever is under way.
func (g *Group) Forget(key string) { g.flights.Forget(key) }

// Do makes a lookup, or waits for one with the same key that is under way. The lookup has a timeout
// of its own, and goes on if its first caller's context ends, since others may wait for the result.
// Each caller waits as long as its own context allows, and gets the context's error then, as it is
// or, unless gaveUp is nil, as gaveUp returns it.
func Do[T any](
	ctx context.Context, g *Group, key string, timeout time.Duration, gaveUp func(error) error, look func(context.Context) (T, error),
) (T, error) {
	if gaveUp == nil {
		gaveUp = func(err error) error { return err }
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, gaveUp(err)
	}
	done := g.flights.DoChan(key, func() (result any, err error) {
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
		return none, gaveUp(ctx.Err())
	}
}

// panicked is the result of a lookup that panicked. The callers panic with it, as they would have
// if they had made the lookup themselves.
type panicked string
