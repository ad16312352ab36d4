// Package memory is a storage backend that keeps everything in memory: for tests,
// and for servers that may forget.
//
// Readers work on immutable snapshots, copy-on-write trees behind one atomic pointer, and take no
// lock that a writer holds. Making a store costs microseconds.
package memory
