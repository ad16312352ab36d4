package ratelimit_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-at/gatehouse/xrpc/ratelimit"
)

var ctx = context.Background()

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func TestSeveralWindowsAreKeptExactly(t *testing.T) {
	c := &clock{time.Unix(1_000_000, 0)}
	m := ratelimit.NewMemory(0, c.Now)
	short, long := ratelimit.Window{Points: 2, Per: time.Minute}, ratelimit.Window{Points: 3, Per: time.Hour}
	take := func() ratelimit.State {
		s, err := m.Take(ctx, "key", short, long)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for i, want := range []struct {
		after   time.Duration
		allowed bool
		left    int
		window  ratelimit.Window
	}{
		{0, true, 1, short},
		{10 * time.Second, true, 0, short},
		{0, false, 0, short},
		{50 * time.Second, true, 0, long},
		{0, false, 0, long},
		{59*time.Minute - time.Nanosecond, false, 0, long},
		{time.Nanosecond, true, 1, short},
	} {
		c.now = c.now.Add(want.after)
		s := take()
		if s.Allowed != want.allowed || s.Remaining != want.left || s.Window != want.window {
			t.Errorf("step %d: %+v, want %+v", i, s, want)
		}
	}
}

// TestAgainstAModel compares with a list of all that was ever taken.
func TestAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &clock{time.Unix(1_000_000, 0)}
		m := ratelimit.NewMemory(0, c.Now)
		windows := []ratelimit.Window{{Points: 3, Per: 10 * time.Second}, {Points: 5, Per: 25 * time.Second}}
		type period struct {
			used int
			ends time.Time
		}
		model := map[string][]period{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			c.now = c.now.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "seconds")) * time.Second)
			key := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key")
			if model[key] == nil {
				model[key] = make([]period, len(windows))
			}
			allowed := true
			for i, w := range windows {
				p := &model[key][i]
				if !c.now.Before(p.ends) {
					*p = period{ends: c.now.Add(w.Per)}
				}
				allowed = allowed && p.used < w.Points
			}
			left := windows[0].Points
			for i, w := range windows {
				p := &model[key][i]
				if allowed {
					p.used++
				}
				left = min(left, w.Points-p.used)
			}
			s, err := m.Take(ctx, key, windows...)
			if err != nil || s.Allowed != allowed || s.Remaining != left {
				t.Fatalf("%+v, %v; want allowed %v with %d left", s, err, allowed, left)
			}
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	c := &clock{time.Unix(1_000_000, 0)}
	m := ratelimit.NewMemory(1000, c.Now)
	w := ratelimit.Window{Points: 10, Per: time.Minute}
	// Somebody has used up their points before the flood.
	for range 10 {
		_, _ = m.Take(ctx, "guesser", w)
	}
	for i := range 50_000 {
		_, _ = m.Take(ctx, fmt.Sprint("flood ", i), w)
	}
	if n := m.Len(); n > 1100 {
		t.Errorf("%d entries, for a limit of 1000", n)
	}
	if s, _ := m.Take(ctx, "guesser", w); s.Allowed {
		t.Error("a flood of other keys gave a guesser new points")
	}
}

func TestConcurrentTakersGetNoPointTooMany(t *testing.T) {
	m := ratelimit.NewMemory(0, nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	allowed := 0
	for range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 100 {
				if s, _ := m.Take(ctx, "key", ratelimit.Window{Points: 500, Per: time.Hour}); s.Allowed {
					mu.Lock()
					allowed++
					mu.Unlock()
				}
			}
		}()
	}
	wg.Wait()
	if allowed != 500 {
		t.Errorf("%d were allowed, want 500", allowed)
	}
}

func BenchmarkTake(b *testing.B) {
	m := ratelimit.NewMemory(0, nil)
	w := ratelimit.Window{Points: 1 << 30, Per: time.Hour}
	for b.Loop() {
		_, _ = m.Take(ctx, "key", w)
	}
}
