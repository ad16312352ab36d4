package storage_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
)

// BenchmarkPut writes documents that exist, from several goroutines: with the same index entries,
// and with another one.
func BenchmarkPut(b *testing.B) {
	for name, author := range map[string]func(book, n int64) int64{
		"same entries":  func(book, _ int64) int64 { return book % 7 },
		"another entry": func(_, n int64) int64 { return n },
	} {
		b.Run(name, func(b *testing.B) {
			embedded(b, func(b *testing.B, s storage.Store) {
				var n atomic.Int64
				b.SetParallelism(16)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						i := n.Add(1)
						id := i % benchBooks
						err := s.Update(ctx, func(tx storage.Tx) error {
							return books.Put(tx, &book{fmt.Sprintf("%05d", id), fmt.Sprint("Title ", id), fmt.Sprint("Author ", author(id, i)), int(i)})
						})
						if err != nil {
							b.Error(err)
						}
					}
				})
			})
		})
	}
}
