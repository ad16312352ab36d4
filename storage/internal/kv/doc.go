// Package kv makes a storage transaction out of an ordered key-value store, for
// backends that are one.
//
// A table is a bucket of its documents by key, and a bucket for each index with an entry for each
// value, "value NUL key". What a transaction writes stays in an overlay of its own, over which its
// reads look at the store beneath; when the transaction succeeds the backend applies the overlay,
// and when it fails nothing needs to be undone.
package kv
