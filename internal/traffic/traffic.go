// Package traffic tells the requests that hash a password from all others.
//
// A goroutine that hashes keeps its processor for some milliseconds, and with all processors
// hashing, other requests wait so long for one. The pool of hashes uses the last processor only
// while there are no other requests, which it learns from a [Meter].
package traffic

import (
	"context"
	"net/http"
	"sync/atomic"
)

// Meter counts requests that hash no password. The zero value is ready for use.
type Meter struct{ others atomic.Int64 }

// Others returns how many requests have been counted. A request that may still come to hash a
// password is counted when it ends without having done so, and any other when it begins.
func (m *Meter) Others() int64 { return m.others.Load() }

// Serve has a handler serve a request, and counts it.
func (m *Meter) Serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	switch {
	case r.Method != http.MethodPost: // only a POST brings a password
		m.others.Add(1)
	case ctx.Value(markKey{}) == nil: // otherwise a handler around this one counts it
		hashes := new(mark)
		defer func() {
			if !hashes.Load() {
				m.others.Add(1)
			}
		}()
		r = r.WithContext(context.WithValue(ctx, markKey{}, hashes))
	}
	next.ServeHTTP(w, r)
}

// Wrap returns a handler that counts the requests that another one serves.
func (m *Meter) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.Serve(next, w, r) })
}

// mark is set once its request hashes a password.
type mark = atomic.Bool

type markKey struct{}

// Hashes marks the request of a context as one that hashes a password. A context of no request is
// left alone.
func Hashes(ctx context.Context) {
	if hashes, ok := ctx.Value(markKey{}).(*mark); ok {
		hashes.Store(true)
	}
}
