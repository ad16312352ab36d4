package postgres_test

import (
	"context"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
)

// BenchmarkGet reads one document by its key.
func BenchmarkGet(b *testing.B) {
	b.ReportAllocs()
	bench(b, func(ctx context.Context, s storage.Store, i int) error {
		return s.View(ctx, func(tx storage.Tx) error { _, err := items.Get(tx, itemNo(i).ID); return err })
	})
}

// BenchmarkGetBy reads one document by a value in a unique index.
func BenchmarkGetBy(b *testing.B) {
	b.ReportAllocs()
	bench(b, func(ctx context.Context, s storage.Store, i int) error {
		return s.View(ctx, func(tx storage.Tx) error { _, err := items.GetBy(tx, "owner", itemNo(i).Owner); return err })
	})
}

// BenchmarkPut writes one document that exists, with the same index entries.
func BenchmarkPut(b *testing.B) {
	b.ReportAllocs()
	bench(b, func(ctx context.Context, s storage.Store, i int) error {
		return s.Update(ctx, func(tx storage.Tx) error { return items.Put(tx, itemNo(i)) })
	})
}
