package cached_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/cached"
)

var (
	ctx       = context.Background()
	errOutage = errors.New("outage")
	errGone   = errors.New("gone")
)

// source is what lookups find.
type source struct {
	now   time.Time
	found cached.Found[string]
	err   error
	asked int
}

func (s *source) look(context.Context) (cached.Found[string], error) {
	s.asked++
	return s.found, s.err
}

func newCache(t *testing.T) (*cached.Cache[string], *source) {
	t.Helper()
	s := &source{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), found: cached.Found[string]{Value: "first", Lifetime: -1}}
	c, err := cached.New[string](cached.Config{
		Default: 10 * time.Minute, Min: time.Minute, Max: time.Hour, Stale: 24 * time.Hour, Outage: errOutage, Retry: 30 * time.Second, Negative: 5 * time.Second,
		Entries: 10, Bytes: 16 << 10, Timeout: time.Second, Now: func() time.Time { return s.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func expect(t *testing.T, c *cached.Cache[string], s *source, want string, wantErr error, asked int) {
	t.Helper()
	s.asked = 0
	got, err := c.Get(ctx, "key", s.look)
	if got != want || !errors.Is(err, wantErr) || s.asked != asked {
		t.Errorf("got %q, %v after %d lookups; want %q, %v after %d", got, err, s.asked, want, wantErr, asked)
	}
}

func TestValuesAreFreshForTheirLifetime(t *testing.T) {
	for said, want := range map[time.Duration]time.Duration{
		-1: 10 * time.Minute, 0: time.Minute, time.Second: time.Minute, 20 * time.Minute: 20 * time.Minute, 100 * time.Hour: time.Hour,
	} {
		c, s := newCache(t)
		s.found.Lifetime = said
		expect(t, c, s, "first", nil, 1)
		s.found.Value = "second"
		s.now = s.now.Add(want - 1)
		expect(t, c, s, "first", nil, 0)
		s.now = s.now.Add(1)
		expect(t, c, s, "second", nil, 1)
	}
}

func TestAnOutageLeavesTheValue(t *testing.T) {
	c, s := newCache(t)
	expect(t, c, s, "first", nil, 1)
	s.err = fmt.Errorf("asking: %w", errOutage)
	s.now = s.now.Add(10 * time.Minute)
	expect(t, c, s, "first", nil, 1)
	s.now = s.now.Add(30*time.Second - 1)
	expect(t, c, s, "first", nil, 0) // a pause
	s.now = s.now.Add(1)
	expect(t, c, s, "first", nil, 1)
	s.err, s.found.Value = nil, "second"
	s.now = s.now.Add(30 * time.Second)
	expect(t, c, s, "second", nil, 1)
	s.err = errOutage
	s.now = s.now.Add(10*time.Minute + 24*time.Hour - 1)
	expect(t, c, s, "second", nil, 1)
	s.now = s.now.Add(30 * time.Second)
	expect(t, c, s, "", errOutage, 1) // the day is over, although there were lookups in it
}

func TestAnotherErrorDropsTheValue(t *testing.T) {
	c, s := newCache(t)
	expect(t, c, s, "first", nil, 1)
	s.err = errGone
	s.now = s.now.Add(10 * time.Minute)
	expect(t, c, s, "", errGone, 1)
	s.err = errOutage
	expect(t, c, s, "", errGone, 0) // cached for some seconds
	s.now = s.now.Add(5 * time.Second)
	expect(t, c, s, "", errOutage, 1)
	s.err = nil
	s.now = s.now.Add(5 * time.Second)
	expect(t, c, s, "first", nil, 1)
	expect(t, c, s, "first", nil, 0)
}

func TestRenewAsksAgain(t *testing.T) {
	c, s := newCache(t)
	renew := func(want string, asked int) {
		t.Helper()
		s.asked = 0
		if got, err := c.Renew(ctx, "key", 30*time.Second, s.look); got != want || err != nil || s.asked != asked {
			t.Errorf("got %q, %v after %d lookups; want %q after %d", got, err, s.asked, want, asked)
		}
	}
	renew("first", 1)
	s.found.Value = "second"
	s.now = s.now.Add(30*time.Second - 1)
	renew("first", 0)
	s.now = s.now.Add(1)
	renew("second", 1)
	expect(t, c, s, "second", nil, 0)
	// An outage is an error, now and until it is asked again; the value is still there for Get.
	s.err = errOutage
	s.now = s.now.Add(time.Minute)
	for i := range 2 {
		s.asked = 0
		if got, err := c.Renew(ctx, "key", 30*time.Second, s.look); got != "" || !errors.Is(err, errOutage) || s.asked != 1-i {
			t.Errorf("got %q, %v after %d lookups", got, err, s.asked)
		}
	}
	expect(t, c, s, "second", nil, 0)
	s.err = nil
	s.asked = 0
	if got, err := c.Renew(ctx, "key", 0, s.look); got != "second" || err != nil || s.asked != 1 {
		t.Errorf("got %q, %v after %d lookups", got, err, s.asked)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	c, s := newCache(t)
	get := func(key string) {
		t.Helper()
		if _, err := c.Get(ctx, key, s.look); err != nil {
			t.Error(err)
		}
	}
	s.found.Cost = 1000
	for i := range 10 {
		get(fmt.Sprint("key", i))
	}
	s.asked = 0
	for i := range 10 {
		get(fmt.Sprint("key", i))
	}
	if s.asked != 0 {
		t.Errorf("%d of 10 values were evicted", s.asked)
	}
	// Eleven values don't fit, and neither do ten large ones.
	get("another")
	get("key1")
	if s.asked != 1 {
		t.Errorf("%d lookups; want 1", s.asked)
	}
	get("key0")
	if s.asked != 2 {
		t.Error("there is room for more values than allowed")
	}
	s.found.Cost = 1500
	for i := range 10 {
		get(fmt.Sprint("large", i))
	}
	s.asked = 0
	get("large0")
	if s.asked != 1 {
		t.Error("there is room for more bytes than allowed")
	}
	s.asked, s.found.Cost = 0, 4000
	get("huge")
	get("huge")
	if s.asked != 2 {
		t.Error("a value that is too large was cached")
	}
	s.asked = 0
	get("large9")
	if s.asked != 0 {
		t.Error("a value that is too large evicted another")
	}
}

func TestErrorsDontEvictValues(t *testing.T) {
	c, s := newCache(t)
	expect(t, c, s, "first", nil, 1)
	for i := range 100 {
		if _, err := c.Get(ctx, fmt.Sprint("bad", i), func(context.Context) (cached.Found[string], error) { return cached.Found[string]{}, errGone }); !errors.Is(err, errGone) {
			t.Error(err)
		}
	}
	expect(t, c, s, "first", nil, 0)
}

func TestConcurrentLookupsAreMerged(t *testing.T) {
	c, s := newCache(t)
	started, answer := make(chan bool), make(chan bool)
	look := func(ctx context.Context) (cached.Found[string], error) {
		close(started) // a second lookup would panic
		<-answer
		return s.look(ctx)
	}
	var all sync.WaitGroup
	get := func() {
		if got, err := c.Get(ctx, "key", look); got != "first" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	all.Go(get)
	<-started
	for range 20 {
		all.Go(get)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Get(gone, "key", look); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that is gone: %v", err)
	}
	close(answer)
	all.Wait()
}

func TestALookupThatPanics(t *testing.T) {
	c, s := newCache(t)
	func() {
		defer func() {
			if p := recover(); p == nil || !strings.Contains(p.(string), "out of order") {
				t.Errorf("recovered %v", p)
			}
		}()
		_, _ = c.Get(ctx, "key", func(context.Context) (cached.Found[string], error) { panic("out of order") })
	}()
	expect(t, c, s, "first", nil, 1)
}
