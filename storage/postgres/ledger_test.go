package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/storage"
)

type entry struct {
	ID     string `json:"id"`
	Worker string `json:"worker"`
}

type total struct {
	Worker string `json:"worker"`
	N      int    `json:"n"`
}

var (
	entries = storage.NewCollection("entries", func(e *entry) string { return e.ID },
		storage.Ordered("worker", func(e *entry) string { return e.Worker }))
	totals = storage.NewCollection("totals", func(t *total) string { return t.Worker })
)

// ledger writes from several goroutines, and keeps track of what the store has acknowledged.
type ledger struct {
	t     testing.TB
	store storage.Store
	stop  context.CancelFunc
	work  sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	acked   map[string]bool
	unsure  map[string]bool // failed, perhaps after the commit
	failed  int
	lastAck time.Time
}

func startLedger(t testing.TB, store storage.Store, workers int) *ledger {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	if err := storage.Define(ctx, store, entries, totals); err != nil {
		t.Fatal(err)
	}
	l := &ledger{t: t, store: store, stop: stop, acked: map[string]bool{}, unsure: map[string]bool{}}
	l.changed = sync.NewCond(&l.mu)
	for w := range workers {
		l.work.Add(1)
		go func() {
			defer l.work.Done()
			for i := 0; ctx.Err() == nil; i++ {
				l.add(fmt.Sprintf("w%02d", w), i)
			}
		}()
	}
	return l
}

// add writes an entry and the worker's total in one transaction.
func (l *ledger) add(worker string, i int) {
	e := &entry{ID: fmt.Sprintf("%s-%06d", worker, i), Worker: worker}
	err := l.store.Update(context.Background(), func(tx storage.Tx) error {
		t, err := totals.Get(tx, worker)
		if errors.Is(err, storage.ErrNotFound) {
			t, err = &total{Worker: worker}, nil
		}
		if err != nil {
			return err
		}
		t.N++
		return errors.Join(totals.Put(tx, t), entries.Insert(tx, e))
	})
	l.mu.Lock()
	switch {
	case err == nil:
		l.acked[e.ID] = true
		l.lastAck = time.Now()
	case errors.Is(err, storage.ErrUnavailable):
		l.unsure[e.ID] = true
		l.failed++
	default:
		l.t.Errorf("Update of %s: %v, want ErrUnavailable", e.ID, err)
		l.stop()
	}
	l.changed.Broadcast()
	l.mu.Unlock()
	if err != nil {
		<-time.After(5 * time.Millisecond) // clients try again later
	}
}

// acks waits for more acknowledged writes.
func (l *ledger) acks(more int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for want := len(l.acked) + more; len(l.acked) < want && !l.t.Failed(); {
		l.changed.Wait()
	}
}

// refusals waits for more failed writes.
func (l *ledger) refusals(more int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for want := l.failed + more; l.failed < want && !l.t.Failed(); {
		l.changed.Wait()
	}
}

// check stops the workers, and compares what was acknowledged with what the store holds.
func (l *ledger) check() {
	l.t.Helper()
	l.stop()
	l.work.Wait()
	held, sums := map[string]bool{}, map[string]int{}
	err := l.store.View(context.Background(), func(tx storage.Tx) error {
		for e, err := range entries.Scan(tx, storage.Range{}) {
			if err != nil {
				return err
			}
			held[e.ID] = true
			sums[e.Worker]++
		}
		for t, err := range totals.Scan(tx, storage.Range{}) {
			if err != nil {
				return err
			}
			if t.N != sums[t.Worker] {
				l.t.Errorf("the total of %s is %d, but it has %d entries", t.Worker, t.N, sums[t.Worker])
			}
		}
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	for id := range l.acked {
		if !held[id] {
			l.t.Errorf("%s was acknowledged and is lost", id)
		}
	}
	for id := range held {
		if !l.acked[id] && !l.unsure[id] {
			l.t.Errorf("%s is there, but nobody wrote it", id)
		}
	}
	l.t.Logf("%d writes acknowledged, %d refused, none lost", len(l.acked), l.failed)
}
