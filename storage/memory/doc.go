// Package memory is a storage backend that keeps everything in memory. It is meant for tests, and
// for servers that may lose their data.
//
// Readers work on immutable snapshots, which are copy-on-write trees behind one atomic pointer, and
// never wait for a writer. Creating a store takes microseconds.
package memory
