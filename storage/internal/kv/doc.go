// Package kv implements transactions on top of an ordered key-value store, and the rules for
// documents, definitions and cursors that all backends share.
//
// A table is a bucket of documents by key, and a bucket for each index with an entry "value NUL
// key" for each value. A transaction keeps its writes in an overlay, and its reads look there
// before they look in the store. When the transaction succeeds, the backend applies the overlay;
// when it fails, there is nothing to undo.
package kv
