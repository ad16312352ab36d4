package kv

import "github.com/gatehouse-at/gatehouse/storage"

// What follows serves backends that are no key-value store too: the same rules for
// documents, definitions and cursors.

// Check checks a document against its table and returns it with its entries sorted
// and without repeats.
func Check(t storage.Table, doc storage.Document) (storage.Document, error) { return normal(t, doc) }

// Cursor returns the cursor of a position in a scan: a key, or "value NUL key" of an index.
func Cursor(index, pos string) string { return cursor(index, pos) }

// Position returns what Cursor was made of.
func Position(index, cursor string) (string, error) { return position(index, cursor) }
