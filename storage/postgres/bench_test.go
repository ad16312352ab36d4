package postgres_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
	"github.com/gatehouse-at/gatehouse/storage"
)

type item struct {
	ID    string `json:"id"`
	Owner string `json:"owner"`
	Note  string `json:"note"`
}

var items = storage.NewCollection("items", func(i *item) string { return i.ID },
	storage.Unique("owner", func(i *item) string { return i.Owner }))

func itemNo(i int) *item {
	return &item{ID: fmt.Sprintf("id%06d", i), Owner: fmt.Sprintf("owner%06d", i), Note: "some text of the usual length"}
}

// BenchmarkView reads two documents, as checking a session does.
func BenchmarkView(b *testing.B) {
	bench(b, func(ctx context.Context, s storage.Store, i int) error {
		return s.View(ctx, func(tx storage.Tx) error {
			return readTwo(tx, i)
		})
	})
}

// BenchmarkUpdate reads two documents and writes one, as refreshing a session does.
func BenchmarkUpdate(b *testing.B) {
	bench(b, func(ctx context.Context, s storage.Store, i int) error {
		return s.Update(ctx, func(tx storage.Tx) error {
			if err := readTwo(tx, i); err != nil {
				return err
			}
			return items.Put(tx, itemNo(i))
		})
	})
}

// BenchmarkInsert writes a new document.
func BenchmarkInsert(b *testing.B) {
	bench(b, func(ctx context.Context, s storage.Store, i int) error {
		return s.Update(ctx, func(tx storage.Tx) error {
			return items.Insert(tx, itemNo(stock+int(inserted.Add(1))))
		})
	})
}

const stock = 1000

var inserted atomic.Int64

func readTwo(tx storage.Tx, i int) error {
	a, b := itemNo(i).ID, itemNo((i+1)%stock).ID
	if err := storage.Prefetch(tx, items.Ref(a), items.Ref(b)); err != nil {
		return err
	}
	if _, err := items.Get(tx, a); err != nil {
		return err
	}
	_, err := items.Get(tx, b)
	return err
}

func bench(b *testing.B, op func(context.Context, storage.Store, int) error) {
	ctx := context.Background()
	s := open(b, pgcluster.URL(b))
	defer s.Close()
	if err := storage.Define(ctx, s, items); err != nil {
		b.Fatal(err)
	}
	err := s.Update(ctx, func(tx storage.Tx) error {
		for i := range stock {
			if err := items.Insert(tx, itemNo(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	before := s.Stats()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := op(ctx, s, int(next.Add(7))%stock); err != nil {
				b.Error(err)
				return
			}
		}
	})
	after := s.Stats()
	b.ReportMetric(float64(after.RoundTrips-before.RoundTrips)/float64(b.N), "trips/op")
	b.ReportMetric(float64(after.Retries-before.Retries)/float64(b.N), "retries/op")
}
