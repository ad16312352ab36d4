package nested

import (
	"errors"
	"sync"
	"testing"

	"github.com/petermattis/goid"

	"github.com/gatehouse-at/gatehouse/storage"
)

// TestGuard runs with both ways of finding a goroutine's ID.
func TestGuard(t *testing.T) {
	for name, g := range map[string]*Guard{"fast": New(), "slow": {id: slowID}} {
		t.Run(name, func(t *testing.T) {
			id, err := g.Enter()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.Enter(); !errors.Is(err, storage.ErrNested) {
				t.Errorf("a nested Enter: %v", err)
			}
			if err := g.Check(); !errors.Is(err, storage.ErrNested) {
				t.Errorf("a nested Check: %v", err)
			}
			if other, err := New().Enter(); err != nil || other != id {
				t.Errorf("Enter of another store: %d, %v; want %d", other, err, id)
			}
			// Neighbours, more than there are shards, and all inside at once.
			var inside, wg sync.WaitGroup
			inside.Add(200)
			for range 200 {
				wg.Go(func() {
					if err := g.Check(); err != nil {
						t.Errorf("Check in another goroutine: %v", err)
					}
					id, err := g.Enter()
					if err != nil {
						t.Errorf("Enter in another goroutine: %v", err)
					}
					inside.Done()
					inside.Wait()
					if err := g.Check(); !errors.Is(err, storage.ErrNested) {
						t.Errorf("a nested Check in another goroutine: %v", err)
					}
					g.Leave(id)
				})
			}
			wg.Wait()
			g.Leave(id)
			if err := g.Check(); err != nil {
				t.Errorf("Check after Leave: %v", err)
			}
			if id, err = g.Enter(); err != nil {
				t.Errorf("Enter after Leave: %v", err)
			}
			g.Leave(id)
		})
	}
}

// TestTheLibraryKnowsThisGo fails with a version of Go for which New has to take the slow way.
func TestTheLibraryKnowsThisGo(t *testing.T) {
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if fast, slow := goid.Get(), slowID(); fast != slow {
				t.Errorf("the ID of the goroutine is %d, and %d by its stack trace", fast, slow)
			}
		})
	}
	wg.Wait()
}

func BenchmarkGuard(b *testing.B) {
	g := New()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id, _ := g.Enter()
			g.Leave(id)
		}
	})
}
