package ratelimit

import (
	"context"
	"errors"
	"time"
)

// ErrLimited says that a limit is exhausted.
var ErrLimited = errors.New("ratelimit: limit exceeded")

// ErrBusy says that too many requests are waiting already for what only so many can have at the
// same time. Clients may try again in a moment.
var ErrBusy = errors.New("too many are waiting")

// Window allows so many points in each period, which begins with the first
// point taken.
type Window struct {
	Points int
	Per    time.Duration
}

// State is what is left of the window that is nearest to exhaustion.
type State struct {
	Window
	// Allowed reports whether the points were taken. If not, none was, of any window.
	Allowed bool
	// Remaining is how many points are left.
	Remaining int
	// Reset is when the period ends.
	Reset time.Time
}

// Limiter counts points. Its methods are safe for concurrent use.
type Limiter interface {
	// Take takes one point of each window of a key, or of none if one is exhausted.
	// A key always comes with the same windows, is different for each method, and holds no
	// secrets; it can contain any bytes, at most 256 of them. An error is for
	// when the counters can't be reached; callers then let the request pass.
	Take(ctx context.Context, key string, windows ...Window) (State, error)
	// Peek reports what Take would, and takes nothing. If Take would be allowed, Remaining is
	// what is left before it.
	Peek(ctx context.Context, key string, windows ...Window) (State, error)
}

// Off is a limiter that allows everything.
type Off struct{}

// Take implements [Limiter].
func (Off) Take(context.Context, string, ...Window) (State, error) { return State{Allowed: true}, nil }

// Peek implements [Limiter].
func (Off) Peek(context.Context, string, ...Window) (State, error) { return State{Allowed: true}, nil }
