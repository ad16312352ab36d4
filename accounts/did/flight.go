package did

import (
	"context"
	"fmt"
)

// gaveUp is the error of a caller that doesn't wait for a lookup any longer.
func gaveUp(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }

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
