package ratelimit_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

func TestProcessesCountTogether(t *testing.T) {
	c := &clock{time.Unix(1_000_000, 0)}
	store := memory.New()
	defer store.Close()
	process := func() ratelimit.Limiter {
		l, err := ratelimit.NewShared(ctx, store, ratelimit.Config{Now: c.Now})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	a, b := process(), process()
	few, wide := ratelimit.Window{Points: 20, Per: time.Minute}, ratelimit.Window{Points: 3000, Per: time.Minute}
	key := "any bytes \x00\xff " + strings.Repeat("x", 2000)
	var allowed atomic.Int32
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			l := []ratelimit.Limiter{a, b}[i%2]
			s, err := l.Take(ctx, key, few)
			if err != nil {
				t.Error(err)
			}
			if s.Allowed {
				allowed.Add(1)
			}
		}()
	}
	wg.Wait()
	if allowed.Load() != 20 {
		t.Errorf("%d were allowed, want 20", allowed.Load())
	}
	if s, _ := b.Take(ctx, key, few); s.Allowed || s.Remaining != 0 || !s.Reset.Equal(c.now.Add(time.Minute)) {
		t.Errorf("beyond the limit: %+v", s)
	}
	if s, _ := a.Take(ctx, "wide", wide); s.Remaining != 2999 {
		t.Errorf("a wide window: %+v", s)
	}
	if s, _ := b.Take(ctx, "wide", wide); s.Remaining != 2999 {
		t.Errorf("a wide window in another process: %+v", s)
	}
	c.now = c.now.Add(time.Minute)
	if s, _ := b.Take(ctx, key, few); !s.Allowed || s.Remaining != 19 {
		t.Errorf("in the next period: %+v", s)
	}
	c.now = c.now.Add(2 * time.Minute)
	if err := ratelimit.Purge(ctx, store, c.now); err != nil {
		t.Fatal(err)
	}
	_ = store.View(ctx, func(tx storage.Tx) error {
		for rec := range tx.Scan("rate_limits", storage.Range{}) {
			t.Errorf("left behind: %s", rec.Value)
		}
		return nil
	})
}
