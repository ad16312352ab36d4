// Package ratelimit counts requests against limits.
//
// A limit consists of one or more windows, each of which is kept exactly: the first request of a
// key begins a period, and at its end the count starts again at zero. A [Limiter] counts:
// [NewMemory] returns one for a single process, [NewShared] one for several processes on one store,
// and [Off] allows everything. A program may bring its own.
//
// Package xrpc counts requests as they come in. What anybody may try, such as passwords, is counted
// by the domain packages where it is tried: they use a [Meter], which charges the [Client] of the
// context.
package ratelimit
