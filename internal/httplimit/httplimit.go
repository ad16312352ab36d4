// Package httplimit holds what all HTTP handlers share of rate limits: the limit on all requests of
// a client together, and the response headers that tell a client what it has left.
package httplimit

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

// All returns the limit on all requests of a client together.
func All() []ratelimit.Window { return all }

var all = []ratelimit.Window{{Points: 3000, Per: 5 * time.Minute}}

// Charge charges a request to its payer under the name of what is limited, which is empty for the
// limit on all requests. If it refuses, it has charged none of the windows.
func Charge(ctx context.Context, meter ratelimit.Meter, client ratelimit.Client, name, payer string, windows ...ratelimit.Window) error {
	return meter.ChargeFor(ctx, client, name+" "+payer, windows...)
}

// Headers are the headers about rate limits in one response. If a request meets several limits,
// they describe the one with the least left.
type Headers struct {
	header   http.Header
	now      func() time.Time
	tightest ratelimit.State
}

// NewHeaders returns Headers that are written into h.
func NewHeaders(h http.Header, now func() time.Time) Headers { return Headers{header: h, now: now} }

// Observe takes note of the state of a limit. It fits [ratelimit.Client.Observe].
func (h *Headers) Observe(state ratelimit.State) {
	if h.tightest.Points == 0 || state.Remaining < h.tightest.Remaining || !state.Allowed {
		h.tightest = state
		h.set(state)
	}
	if !state.Allowed {
		wait := state.Reset.Sub(h.now()) + time.Second - 1 // rounded up to whole seconds
		h.header.Set("Retry-After", strconv.Itoa(max(1, int(wait/time.Second))))
	}
}

// set sets the headers by their canonical names, which saves canonicalizing four names for each
// request.
func (h *Headers) set(state ratelimit.State) {
	points := strconv.Itoa(state.Points)
	values := [...]string{
		points,
		strconv.Itoa(state.Remaining),
		strconv.FormatInt(ceilUnix(state.Reset), 10),
		points + ";w=" + strconv.Itoa(int(state.Per.Seconds())),
	}
	for i, name := range [...]string{"Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset", "Ratelimit-Policy"} {
		h.header[name] = values[i : i+1 : i+1]
	}
}

// ceilUnix returns a time as a Unix time, rounded up to whole seconds.
func ceilUnix(t time.Time) int64 {
	u := t.Unix()
	if t.Nanosecond() > 0 {
		u++
	}
	return u
}
