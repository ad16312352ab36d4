// Package ratelimit counts requests against limits.
//
// A limit is one or several windows, each kept exactly: the first request of a
// key begins a period, and when it ends the count begins anew. [Memory] is for one process; a
// program that runs several may share a [Limiter] of its own.
package ratelimit
