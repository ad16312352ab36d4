package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// rarely is the percentage of garbage at which it is collected if the heap is small (GOGC). A
	// server with its data on disk has a heap of some megabytes, which Go would collect many times a
	// second at its default of 100.
	rarely = 400
	// muchGarbage is how much garbage there may be at most while less than twice of it is in use.
	muchGarbage = 32 << 20
	// hashing is how much of what is in use may be that of password hashes, 19 MiB each.
	hashing = 40 << 20
)

// tuneGC sets how much garbage is collected at once, unless the operator has set it (GOGC). Until
// ctx ends, that follows what is in use: a storm of logins leaves a gigabyte of garbage a second. A
// memory limit would bound that too, but near it Go returns memory to the system all the time, and
// each hash gets it back page by page.
func tuneGC(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := rarely
	debug.SetGCPercent(percent)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if now := gcPercent(liveHeap()); now != percent { // setting it stops the program for a moment
				percent = now
				debug.SetGCPercent(percent)
			}
		}
	}()
}

// gcPercent returns the percentage of garbage at which it is collected, if so many bytes were in
// use after the last collection. It is rounded, so that it changes seldom.
func gcPercent(live int64) int {
	const step = 10
	garbage := max(muchGarbage, live-hashing)
	return int(min(rarely, garbage*100/max(live, 1))) / step * step
}

// liveHeap returns how many bytes were in use after the last garbage collection.
func liveHeap() int64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	return int64(live[0].Value.Uint64())
}
