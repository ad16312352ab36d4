package lookup_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/lookup"
)

func TestCallersShareALookup(t *testing.T) {
	var g lookup.Group
	looking, answer := make(chan struct{}), make(chan int)
	var once sync.Once
	look := func(context.Context) (int, error) {
		once.Do(func() { close(looking) })
		return <-answer, nil
	}
	do := func(ctx context.Context) (int, error) { return lookup.Do(ctx, &g, "key", time.Minute, nil, look) }

	// The first caller goes away, and the lookup goes on for the others.
	first, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := do(first)
		left <- err
	}()
	<-looking
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that went away got %v", err)
	}
	results := make(chan int)
	for range 3 {
		go func() {
			n, err := do(t.Context())
			if err != nil {
				t.Error(err)
			}
			results <- n
		}()
	}
	answers := 0
	for got := 0; got < 3; {
		select {
		case answer <- 7: // callers that came too late make a lookup of their own
			answers++
		case n := <-results:
			if got++; n != 7 {
				t.Errorf("a caller got %d", n)
			}
		}
	}
	if answers > 3 {
		t.Errorf("%d lookups for 3 callers", answers)
	}
}

func TestALookupThatPanics(t *testing.T) {
	var g lookup.Group
	defer func() {
		if p, _ := recover().(string); !strings.Contains(p, "the reason") {
			t.Errorf("the caller panicked with %q", p)
		}
	}()
	_, _ = lookup.Do(t.Context(), &g, "key", time.Minute, nil, func(context.Context) (int, error) { panic("the reason") })
	t.Error("the caller didn't panic")
}

func TestTheEndOfAContext(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var g lookup.Group
	want := errors.New("gave up")
	look := func(context.Context) (int, error) { return 1, nil }
	if _, err := lookup.Do(ended, &g, "key", time.Minute, func(error) error { return want }, look); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	// The lookup has a deadline of its own, whatever that of its caller is.
	_, err := lookup.Do(t.Context(), &g, "key", time.Minute, nil, func(ctx context.Context) (int, error) {
		if _, has := ctx.Deadline(); !has {
			t.Error("there is no deadline")
		}
		return 0, want
	})
	if !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}
