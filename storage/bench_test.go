package storage_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

const benchBooks = 10_000

// embedded runs a benchmark on each embedded backend, with documents in it.
func embedded(b *testing.B, run func(b *testing.B, s storage.Store)) {
	for name, open := range map[string]func() (storage.Store, error){
		"memory": func() (storage.Store, error) { return memory.New(), nil },
		"bolt":   func() (storage.Store, error) { return bolt.Open(filepath.Join(b.TempDir(), "store.db")) },
	} {
		s, err := open()
		if err != nil {
			b.Fatal(err)
		}
		library(b, s, benchBooks)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			run(b, s)
		})
	}
}

func BenchmarkNew(b *testing.B) {
	for range b.N {
		memory.New()
	}
}

func BenchmarkGet(b *testing.B) {
	embedded(b, func(b *testing.B, s storage.Store) {
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				id := fmt.Sprintf("%05d", n.Add(7919)%benchBooks)
				err := s.View(ctx, func(tx storage.Tx) error { _, err := books.Get(tx, id); return err })
				if err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkGetBy(b *testing.B) {
	embedded(b, func(b *testing.B, s storage.Store) {
		for n := range b.N {
			title := fmt.Sprint("Title ", n*7919%benchBooks)
			err := s.View(ctx, func(tx storage.Tx) error { _, err := books.GetBy(tx, "title", title); return err })
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// rewrite changes the author of a book.
func rewrite(s storage.Store, n int) error {
	return s.Update(ctx, func(tx storage.Tx) error {
		b, err := books.Get(tx, fmt.Sprintf("%05d", n*7919%benchBooks))
		if err != nil {
			return err
		}
		b.Author = fmt.Sprint("Author ", n)
		return books.Put(tx, b)
	})
}

// BenchmarkUpdate reads and writes a document. A single writer waits for the disk each time;
// comparing it with many shows what group commit gains.
func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			embedded(b, func(b *testing.B, s storage.Store) {
				var n atomic.Int64
				done := make(chan error)
				for range writers {
					go func() {
						for {
							i := int(n.Add(1))
							if i > b.N {
								done <- nil
								return
							}
							if err := rewrite(s, i); err != nil {
								done <- err
								return
							}
						}
					}()
				}
				for range writers {
					if err := <-done; err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkScan(b *testing.B) {
	for name, r := range map[string]storage.Range{
		"page of 50":        {Limit: 50, From: "05000"},
		"page of an index":  {Index: "author", Limit: 50, From: "Author 3"},
		"everything (10k)":  {},
		"all of one author": storage.Exactly("author", "Author 3"),
	} {
		b.Run(name, func(b *testing.B) {
			embedded(b, func(b *testing.B, s storage.Store) {
				for range b.N {
					err := s.View(ctx, func(tx storage.Tx) error {
						for _, err := range tx.Scan("books", r) {
							if err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
