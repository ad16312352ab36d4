package once_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/once"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

var (
	ctx   = context.Background()
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

func newStore(t *testing.T) storage.Store {
	t.Helper()
	s := memory.New()
	t.Cleanup(func() { s.Close() })
	if err := storage.Define(ctx, s, once.Tables()...); err != nil {
		t.Fatal(err)
	}
	return s
}

func use(t *testing.T, s storage.Store, kind, value string, now, expires time.Time) bool {
	t.Helper()
	var first bool
	err := s.Update(ctx, func(tx storage.Tx) (err error) {
		first, err = once.UseTx(tx, kind, value, now, expires)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return first
}

func records(t *testing.T, s storage.Store) []string {
	t.Helper()
	var all []string
	err := s.View(ctx, func(tx storage.Tx) error {
		all = nil
		for rec, err := range tx.Scan("used_once", storage.Range{}) {
			if err != nil {
				return err
			}
			all = append(all, rec.Key+string(rec.Value))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAValueIsUsedOnce(t *testing.T) {
	s := newStore(t)
	until := start.Add(time.Minute)
	for _, c := range []struct {
		name, kind, value string
		now               time.Time
		first             bool
	}{
		{"the first use", "dpop", "one", start, true},
		{"a replay", "dpop", "one", start, false},
		{"the same value of another kind", "assertion", "one", start, true},
		{"a kind and a value that are joined alike", "dpopo", "ne", start, true},
		{"a value in another case", "dpop", "ONE", start, true},
		{"a value with NULs and bytes that aren't UTF-8", "dpop", "\x00one\xff", start, true},
		{"its replay", "dpop", "\x00one\xff", start, false},
		{"a very long value", "dpop", strings.Repeat("x", 1<<20), start, true},
		{"its replay", "dpop", strings.Repeat("x", 1<<20), start, false},
		{"an empty value", "dpop", "", start, true},
		{"its replay", "dpop", "", start, false},
		{"a replay just before it expires", "dpop", "one", until.Add(-time.Millisecond), false},
	} {
		if got := use(t, s, c.kind, c.value, c.now, until); got != c.first {
			t.Errorf("%s: first is %t", c.name, got)
		}
	}
	if !use(t, s, "dpop", "one", until, until.Add(time.Minute)) {
		t.Error("a record that has expired and wasn't purged yet counts")
	}
	for _, r := range records(t, s) {
		if strings.Contains(r, "one") || len(r) > 200 {
			t.Errorf("a record shows what was used: %.200s", r)
		}
	}
}

func TestAUseThatIsUndoneDoesNotCount(t *testing.T) {
	s := newStore(t)
	undone := errors.New("refused after that")
	err := s.Update(ctx, func(tx storage.Tx) error {
		for _, want := range []bool{true, false} {
			if first, err := once.UseTx(tx, "dpop", "one", start, start.Add(time.Minute)); first != want || err != nil {
				t.Errorf("%t, %v", first, err)
			}
		}
		return undone
	})
	if err != undone || !use(t, s, "dpop", "one", start, start.Add(time.Minute)) {
		t.Errorf("%v", err)
	}
}

func TestOneOfManyIsFirst(t *testing.T) {
	s := newStore(t)
	var firsts atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if use(t, s, "dpop", "one", start, start.Add(time.Minute)) {
				firsts.Add(1)
			}
		})
	}
	wg.Wait()
	if firsts.Load() != 1 {
		t.Errorf("%d were the first", firsts.Load())
	}
}

func TestPurge(t *testing.T) {
	s := newStore(t)
	for i, expires := range []time.Duration{time.Minute, time.Minute, time.Hour} {
		use(t, s, "dpop", string(rune('a'+i)), start, start.Add(expires))
	}
	for _, c := range []struct {
		after time.Duration
		left  int
	}{{2 * time.Minute, 3}, {2*time.Minute + time.Millisecond, 1}, {2 * time.Hour, 0}} {
		if err := once.Purge(ctx, s, start.Add(c.after)); err != nil {
			t.Fatal(err)
		}
		if got := len(records(t, s)); got != c.left {
			t.Errorf("after %v %d are left, want %d", c.after, got, c.left)
		}
	}
}
