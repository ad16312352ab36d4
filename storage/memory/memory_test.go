package memory_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/storage/storagetest"
)

func TestContract(t *testing.T) {
	storagetest.Run(t, storagetest.Backend{
		Open: func(t *testing.T) storage.Store { return memory.New() },
	})
}

// TestReadersShareTreesWithAWriter reads everything repeatedly while a writer moves coins between
// purses: each reader must find all coins. With the race detector, this shows that the shared parts
// of the trees are not modified.
func TestReadersShareTreesWithAWriter(t *testing.T) {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	if err := storage.Define(ctx, store, purses); err != nil {
		t.Fatal(err)
	}
	const n, each = 500, 10
	err := store.Update(ctx, func(tx storage.Tx) error {
		for i := range n {
			if err := purses.Insert(tx, &purse{i, each}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for reader := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := storage.Range{Index: []string{"", "holds"}[reader%2], Reverse: reader > 1}
			for !stop.Load() {
				err := store.View(ctx, func(tx storage.Tx) error {
					count, sum := 0, 0
					for p, err := range purses.Scan(tx, r) {
						if err != nil {
							return err
						}
						count, sum = count+1, sum+p.Holds
					}
					if count != n || sum != n*each {
						t.Errorf("a reader found %d coins in %d purses, want %d in %d", sum, count, n*each, n)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	for i := range 1000 {
		err := store.Update(ctx, func(tx storage.Tx) error {
			a, err := purses.Get(tx, fmt.Sprintf("%03d", i*7%n))
			if err != nil {
				return err
			}
			b, err := purses.Get(tx, fmt.Sprintf("%03d", (i*7+1)%n))
			if err != nil {
				return err
			}
			a.Holds, b.Holds = a.Holds-1, b.Holds+1
			return errors.Join(purses.Put(tx, a), purses.Put(tx, b))
		})
		if err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	wg.Wait()
}

type purse struct {
	N, Holds int
}

var purses = storage.NewCollection("purses", func(p *purse) string { return fmt.Sprintf("%03d", p.N) },
	storage.Ordered("holds", func(p *purse) string { return fmt.Sprintf("%05d", 1000+p.Holds) }),
)

type note struct {
	ID, Text string
}

var notes = storage.NewCollection("notes", func(n *note) string { return n.ID })

func ExampleNew() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	if err := storage.Define(ctx, store, notes); err != nil {
		fmt.Println(err)
	}
	err := store.Update(ctx, func(tx storage.Tx) error {
		return notes.Put(tx, &note{ID: "1", Text: "kept until the program ends"})
	})
	fmt.Println(err)
	err = store.View(ctx, func(tx storage.Tx) error {
		n, err := notes.Get(tx, "1")
		if err == nil {
			fmt.Println(n.Text)
		}
		return err
	})
	fmt.Println(err)
	// Output:
	// <nil>
	// kept until the program ends
	// <nil>
}
