package ratelimit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
)

// Client is what limits need to know about who makes a request. An adapter such as package xrpc
// puts it into the context of each request, and the domain packages count what anybody may try by
// its address.
type Client struct {
	// Address stands for the client's network address. It is empty for callers in this program, who
	// share one count.
	Address string
	// Observe, if not nil, is called with the state of each limit that the request is charged to.
	Observe func(State)
}

type clientKey struct{}

// NewContext returns a context with a client.
func NewContext(ctx context.Context, c Client) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}

// FromContext returns the client of a context, or the zero Client if there is none.
func FromContext(ctx context.Context) Client {
	c, _ := ctx.Value(clientKey{}).(Client)
	return c
}

// LimitedError is returned when a request exceeds a limit. It is an [ErrLimited]. Clients are
// answered 429 RateLimitExceeded.
type LimitedError struct{ State State }

// Error implements error.
func (e *LimitedError) Error() string { return ErrLimited.Error() }

// Unwrap returns [ErrLimited].
func (e *LimitedError) Unwrap() error { return ErrLimited }

// Meter charges requests to a [Limiter] in the way of the domain packages: it allows what can't be
// counted, and tells the client of the context the state. The zero Meter limits nothing.
type Meter struct {
	// Limiter counts the requests. Default: none, so that nothing is limited.
	Limiter Limiter
	// Logger receives a warning if requests can't be counted. Default [slog.Default].
	Logger *slog.Logger
}

// Charge takes a point of each window of a key. Error: [*LimitedError].
func (m Meter) Charge(ctx context.Context, key string, windows ...Window) error {
	return m.ChargeFor(ctx, FromContext(ctx), key, windows...)
}

// ChargeFor is like Charge, for a client that isn't in the context.
func (m Meter) ChargeFor(ctx context.Context, c Client, key string, windows ...Window) error {
	if m.Limiter == nil {
		return nil
	}
	state, err := m.Limiter.Take(ctx, short(key), windows...)
	return m.judge(ctx, c, state, err, true)
}

// Check returns a [*LimitedError] if Charge would, and takes nothing. The client is told the state
// only if it is refused.
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
		if ctx.Err() == nil {
			cmp.Or(m.Logger, slog.Default()).WarnContext(ctx, "rate limits can't be counted", "error", err)
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

// short bounds the length of a key, parts of which are chosen by clients.
func short(key string) string {
	if len(key) <= 128 {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}
