// Package ratelimit counts requests against limits.
//
// A limit is one or several windows, each kept exactly: the first request of a
// key begins a period, and when it ends the count begins anew. [Memory] is for one process,
// [Shared] for several on one store; a program may bring a [Limiter] of its own.
//
// Requests are counted where they come in (package xrpc), and what anybody may try, such as
// passwords, where it is tried (package accounts): a [Meter] does it for the [Client] of the
// context.
package ratelimit
