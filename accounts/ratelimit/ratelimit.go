package ratelimit

import (
	"context"
	"errors"
	"time"
)

// ErrLimited is returned when a limit is exhausted. Clients are answered 429 RateLimitExceeded.
var ErrLimited = errors.New("ratelimit: limit exceeded")

// ErrBusy is returned when too many requests are waiting already for something of which only a few
// can have their turn at the same time, such as the hashing of passwords. Clients are answered 503
// ServiceUnavailable, and may try again in a moment.
var ErrBusy = errors.New("ratelimit: too many requests are waiting")

// Window allows a number of points in each period. A period begins when its first point is taken.
type Window struct {
	// Points is how many points may be taken in a period.
	Points int
	// Per is the length of a period.
	Per time.Duration
}

// State is the state of the window of a key that is nearest to exhaustion.
type State struct {
	// Window is the window. It is zero if limits are off.
	Window
	// Allowed reports whether the points were taken. Otherwise none was taken of any window.
	Allowed bool
	// Remaining is how many points are left.
	Remaining int
	// Reset is when the period ends.
	Reset time.Time
}

// Limiter counts points. Its methods are safe for concurrent use.
type Limiter interface {
	// Take takes one point of each window of a key, or none if one of the windows is exhausted. A
	// key always comes with the same windows, and keys of different limits differ. Keys contain no
	// secrets; they may contain any bytes, at most 256. An error means that the counters can't be
	// reached, and callers then allow the request.
	Take(ctx context.Context, key string, windows ...Window) (State, error)
	// Peek returns what Take would, and takes nothing. If Take would be allowed, Remaining is the
	// number of points before it.
	Peek(ctx context.Context, key string, windows ...Window) (State, error)
}

// Config configures the limiters of this package. Its zero value is a good choice for a server.
type Config struct {
	// Size is the most keys of a [Memory], rounded down to a multiple of 64. A key takes about 200
	// bytes, however long it is. Default 200,000.
	Size int
	// Now returns the time. Default [time.Now].
	Now func() time.Time
}

// clock returns the configured clock.
func (c Config) clock() func() time.Time {
	if c.Now == nil {
		return time.Now
	}
	return c.Now
}

// Off is a [Limiter] that allows everything.
type Off struct{}

// Take implements [Limiter].
func (Off) Take(context.Context, string, ...Window) (State, error) { return State{Allowed: true}, nil }

// Peek implements [Limiter].
func (Off) Peek(context.Context, string, ...Window) (State, error) { return State{Allowed: true}, nil }
