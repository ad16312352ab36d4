package ratelimit_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// counting is a store that counts its transactions.
type counting struct {
	storage.Store
	asked int
}

func (c *counting) View(ctx context.Context, fn func(storage.Tx) error) error {
	c.asked++
	return c.Store.View(ctx, fn)
}

func (c *counting) Update(ctx context.Context, fn func(storage.Tx) error) error {
	c.asked++
	return c.Store.Update(ctx, fn)
}

func TestPeekTakesNothing(t *testing.T) {
	c := &clock{time.Unix(1_000_000, 0)}
	store := &counting{Store: memory.New()}
	defer store.Close()
	shared, err := ratelimit.NewShared(ctx, store, ratelimit.Config{Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	two := ratelimit.Window{Points: 2, Per: time.Minute}
	for name, l := range map[string]ratelimit.Limiter{"memory": ratelimit.NewMemory(ratelimit.Config{Now: c.Now}), "shared": shared} {
		left := func(peek bool) (int, bool) {
			t.Helper()
			ask := l.Take
			if peek {
				ask = l.Peek
			}
			s, err := ask(ctx, "key", two)
			if err != nil {
				t.Fatal(err)
			}
			return s.Remaining, s.Allowed
		}
		for i, want := range []struct {
			peek, allowed bool
			left          int
		}{
			{true, true, 2}, {true, true, 2}, {false, true, 1}, {true, true, 1}, {false, true, 0},
			{true, false, 0}, {false, false, 0}, {true, false, 0},
		} {
			if n, allowed := left(want.peek); n != want.left || allowed != want.allowed {
				t.Errorf("%s, step %d: %d left, %t; want %+v", name, i, n, allowed, want)
			}
		}
	}
	// Further refusals of the shared limiter come from memory.
	before := store.asked
	for range 100 {
		if s, _ := shared.Take(ctx, "key", two); s.Allowed || !s.Reset.Equal(c.now.Add(time.Minute)) {
			t.Fatalf("beyond the limit: %+v", s)
		}
	}
	if store.asked != before {
		t.Errorf("100 refused requests asked the store %d times", store.asked-before)
	}
	c.now = c.now.Add(time.Minute)
	if s, _ := shared.Take(ctx, "key", two); !s.Allowed || s.Remaining != 1 {
		t.Errorf("in the next period: %+v", s)
	}
}

func TestMeter(t *testing.T) {
	one := ratelimit.Window{Points: 1, Per: time.Minute}
	var seen []ratelimit.State
	ctx := ratelimit.NewContext(t.Context(), ratelimit.Client{
		Address: "192.0.2.1", Observe: func(s ratelimit.State) { seen = append(seen, s) },
	})
	if got := ratelimit.FromContext(ctx).Address; got != "192.0.2.1" {
		t.Errorf("the address is %q", got)
	}
	m := ratelimit.Meter{Limiter: ratelimit.NewMemory(ratelimit.Config{})}
	long := strings.Repeat("x", 100_000)
	for i, want := range []error{nil, nil, ratelimit.ErrLimited, ratelimit.ErrLimited} {
		ask := m.Charge
		if i%2 == 0 {
			ask = m.Check
		}
		err := ask(ctx, long, one)
		if !errors.Is(err, want) {
			t.Errorf("step %d: %v, want %v", i, err, want)
		}
		var limited *ratelimit.LimitedError
		if want != nil && (!errors.As(err, &limited) || limited.State.Reset.IsZero()) {
			t.Errorf("step %d: %#v doesn't say until when", i, err)
		}
	}
	if len(seen) != 3 { // of a check only a refusal
		t.Errorf("the client was told %d states", len(seen))
	}
	for _, off := range []ratelimit.Meter{{}, {Limiter: ratelimit.Off{}}} {
		for range 3 {
			if err := off.Charge(ctx, "key", one); err != nil {
				t.Errorf("without limits: %v", err)
			}
		}
	}
}
