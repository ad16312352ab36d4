package ratelimit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
)

// Client is who makes a request, as far as it matters to limits. An adapter such as xrpc puts one
// into the context of each request; the domains count what anybody may try by its address.
type Client struct {
	// Address stands for the client's network address. It is empty for callers in this program,
	// who then share one count.
	Address string
	// Observe, if not nil, is told the state of each limit that the request meets.
	Observe func(State)
}

type clientKey struct{}

// NewContext returns a context for the requests of a client.
func NewContext(ctx context.Context, c Client) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}

// FromContext returns the client of a context, or the zero Client.
func FromContext(ctx context.Context) Client {
	c, _ := ctx.Value(clientKey{}).(Client)
	return c
}

// LimitedError is the refusal of a request beyond a limit. It is an [ErrLimited].
type LimitedError struct{ State State }

// Error implements error.
func (e *LimitedError) Error() string { return ErrLimited.Error() }

// Unwrap makes errors.Is(err, ErrLimited) true.
func (e *LimitedError) Unwrap() error { return ErrLimited }

// Meter charges limits to a [Limiter] as the domains do it: what can't be counted passes, and the
// client of the context is told the state. The zero Meter limits nothing.
type Meter struct {
	Limiter Limiter
	// Logger is told when limits can't be counted. Nil is none.
	Logger *slog.Logger
}

// Charge takes a point of each window of a key, or returns a [*LimitedError].
func (m Meter) Charge(ctx context.Context, key string, windows ...Window) error {
	return m.ChargeFor(ctx, FromContext(ctx), key, windows...)
}

// ChargeFor is Charge for a client that isn't in the context.
func (m Meter) ChargeFor(ctx context.Context, c Client, key string, windows ...Window) error {
	if m.Limiter == nil {
		return nil
	}
	state, err := m.Limiter.Take(ctx, short(key), windows...)
	return m.judge(ctx, c, state, err, true)
}

// Check returns a [*LimitedError] if Charge would, and takes nothing. The client is only told if it
// is refused.
func (m Meter) Check(ctx context.Context, key string, windows ...Window) error {
	if m.Limiter == nil {
		return nil
	}
	state, err := m.Limiter.Peek(ctx, short(key), windows...)
	return m.judge(ctx, FromContext(ctx), state, err, false)
}

func (m Meter) judge(ctx context.Context, c Client, state State, err error, observed bool) error {
	switch {
	case err != nil:
		// Nobody is locked out because the counters can't be reached.
		if ctx.Err() == nil && m.Logger != nil {
			m.Logger.WarnContext(ctx, "rate limits can't be counted", "error", err)
		}
		return nil
	case state.Points == 0: // limits are off
		return nil
	}
	if c.Observe != nil && (observed || !state.Allowed) {
		c.Observe(state)
	}
	if !state.Allowed {
		return &LimitedError{state}
	}
	return nil
}

// short bounds a key, parts of which clients choose.
func short(key string) string {
	if len(key) <= 128 {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}
