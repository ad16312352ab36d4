package ratelimit_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

var ctx = context.Background()

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func TestSeveralWindowsAreKeptExactly(t *testing.T) {
	c := &clock{time.Unix(1_000_000, 0)}
	m := ratelimit.NewMemory(ratelimit.Config{Now: c.Now})
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

// TestAgainstAModel compares the limiter with a simple model.
func TestAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &clock{time.Unix(1_000_000, 0)}
		m := ratelimit.NewMemory(ratelimit.Config{Now: c.Now})
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
					*p = period{}
				}
				allowed = allowed && p.used < w.Points
			}
			// The window that is nearest to exhaustion has the fewest points left, and of two the
			// one that takes longer.
			want := ratelimit.State{Allowed: allowed, Remaining: 1 << 30}
			for i, w := range windows {
				p := &model[key][i]
				if allowed {
					if p.used++; p.used == 1 {
						p.ends = c.now.Add(w.Per)
					}
				}
				left := w.Points - p.used
				if left < want.Remaining || left == want.Remaining && p.ends.After(want.Reset) {
					want.Window, want.Remaining, want.Reset = w, left, p.ends
				}
			}
			if s, err := m.Take(ctx, key, windows...); err != nil || s != want {
				t.Fatalf("%+v, %v; want %+v", s, err, want)
			}
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	c := &clock{time.Unix(1_000_000, 0)}
	m := ratelimit.NewMemory(ratelimit.Config{Size: 1000, Now: c.Now})
	w := ratelimit.Window{Points: 10, Per: time.Minute}
	// The guesser's points are used up before the flood.
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

func TestConcurrentTakesAreExact(t *testing.T) {
	m := ratelimit.NewMemory(ratelimit.Config{})
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

// TestLongKeysCostNoMemory uses keys of 100 KiB.
func TestLongKeysCostNoMemory(t *testing.T) {
	m := ratelimit.NewMemory(ratelimit.Config{})
	heap := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap()
	filler := strings.Repeat("x", 100<<10)
	for i := range 1000 {
		_, _ = m.Take(ctx, fmt.Sprint(filler, i), ratelimit.Window{Points: 10, Per: time.Hour})
	}
	if after := heap(); after > before+10<<20 {
		t.Errorf("a thousand long keys hold %d MiB", (after-before)>>20)
	}
	if s, _ := m.Take(ctx, filler+"7", ratelimit.Window{Points: 10, Per: time.Hour}); s.Remaining != 8 {
		t.Errorf("a long key has %d points left, want 8", s.Remaining)
	}
}

// TestManyWindowsSurviveAFlood has a guesser who has used most points of the long window and few of
// the short one.
func TestManyWindowsSurviveAFlood(t *testing.T) {
	c := &clock{time.Unix(1_000_000, 0)}
	m := ratelimit.NewMemory(ratelimit.Config{Size: 640, Now: c.Now})
	windows := []ratelimit.Window{{Points: 30, Per: 5 * time.Minute}, {Points: 60, Per: 24 * time.Hour}}
	for range 2 {
		for range 29 {
			_, _ = m.Take(ctx, "guesser", windows...)
		}
		c.now = c.now.Add(5 * time.Minute)
	}
	for i := range 10_000 {
		_, _ = m.Take(ctx, fmt.Sprint("flood ", i), windows...)
	}
	if s, _ := m.Take(ctx, "guesser", windows...); s.Remaining != 1 || s.Window != windows[1] {
		t.Errorf("after a flood: %+v, want one point left for the day", s)
	}
}

func TestExpiredPeriodsAreRemoved(t *testing.T) {
	c := &clock{time.Unix(1_000_000, 0)}
	m := ratelimit.NewMemory(ratelimit.Config{Now: c.Now})
	w := ratelimit.Window{Points: 10, Per: time.Minute}
	for i := range 10_000 {
		_, _ = m.Take(ctx, fmt.Sprint("old ", i), w)
	}
	c.now = c.now.Add(time.Minute)
	for i := range 10_000 {
		_, _ = m.Take(ctx, fmt.Sprint("new ", i), w)
	}
	if n := m.Len(); n > 13_000 {
		t.Errorf("%d keys are kept, and 10,000 are current", n)
	}
}

// TestChangedWindowsBeginAnew changes the windows of a limit, whose points then don't count any
// longer.
func TestChangedWindowsBeginAnew(t *testing.T) {
	m := ratelimit.NewMemory(ratelimit.Config{})
	_, _ = m.Take(ctx, "key", ratelimit.Window{Points: 1, Per: time.Hour})
	changed := ratelimit.Window{Points: 5, Per: time.Minute}
	if s, _ := m.Take(ctx, "key", changed); !s.Allowed || s.Remaining != 4 || s.Window != changed {
		t.Errorf("%+v", s)
	}
}

func TestOffAllowsEverything(t *testing.T) {
	for range 3 {
		s, err := ratelimit.Off{}.Take(ctx, "key", ratelimit.Window{Points: 1, Per: time.Hour})
		if err != nil || !s.Allowed || s.Points != 0 {
			t.Errorf("%+v, %v", s, err)
		}
	}
}

var twoWindows = []ratelimit.Window{{Points: 1 << 30, Per: 5 * time.Minute}, {Points: 1 << 30, Per: 24 * time.Hour}}

func BenchmarkTake(b *testing.B) {
	m := ratelimit.NewMemory(ratelimit.Config{})
	b.ReportAllocs()
	for b.Loop() {
		_, _ = m.Take(ctx, "key", twoWindows...)
	}
}

func BenchmarkTakeOfManyInParallel(b *testing.B) {
	m := ratelimit.NewMemory(ratelimit.Config{})
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = fmt.Sprint("key ", i)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			_, _ = m.Take(ctx, keys[i%len(keys)], twoWindows...)
		}
	})
}

// BenchmarkFlood adds new keys to a full limiter.
func BenchmarkFlood(b *testing.B) {
	m := ratelimit.NewMemory(ratelimit.Config{Size: 10_000})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, _ = m.Take(ctx, strconv.Itoa(i), twoWindows...)
	}
}
