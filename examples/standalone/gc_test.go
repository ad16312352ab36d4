package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
)

func TestGCPercentFollowsWhatIsInUse(t *testing.T) {
	for _, c := range []struct {
		live int64
		want int
	}{
		{0, 400},
		{4 << 20, 400},
		{10 << 20, 320},
		{16 << 20, 200},
		{45 << 20, 70}, // in a storm of logins on two processors
		{64 << 20, 50},
		{100 << 20, 60},
		{400 << 20, 90},
		{40 << 30, 90},
	} {
		if got := gcPercent(c.live); got != c.want {
			t.Errorf("%d MiB in use: %d%%; want %d%%", c.live>>20, got, c.want)
		}
	}
	runtime.GC()
	if liveHeap() == 0 {
		t.Error("nothing is in use")
	}
}

func TestGCIsTunedUnlessTheOperatorHas(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	ended, end := context.WithCancel(t.Context())
	end()
	for gogc, want := range map[string]int{"50": 100, "off": 100, "": rarely} {
		t.Setenv("GOGC", gogc)
		debug.SetGCPercent(100)
		tuneGC(ended)
		if got := debug.SetGCPercent(100); got != want {
			t.Errorf("GOGC=%q: %d%%; want %d%%", gogc, got, want)
		}
	}
}
