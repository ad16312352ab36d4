package bolt_test

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

// visit is a document that is found by a time, which may move on.
type visit struct {
	ID, At, Text string
}

var visits = storage.NewCollection("visits", func(v *visit) string { return v.ID }, storage.Ordered("at", func(v *visit) string { return v.At }))

// openVisits returns a store with n visits, fifty in each Update, whose ids and times are functions of
// their number.
func openVisits(t *testing.T, n int, id, at func(i int) string) *bolt.Store {
	t.Helper()
	s := open(t, filepath.Join(t.TempDir(), "store.db"))
	t.Cleanup(func() { s.Close() })
	if err := storage.Define(ctx, s, visits); err != nil {
		t.Fatal(err)
	}
	putVisits(t, s, n, id, at)
	return s
}

func putVisits(t *testing.T, s *bolt.Store, n int, id, at func(i int) string) {
	t.Helper()
	for i := 0; i < n; i += 50 {
		err := s.Update(ctx, func(tx storage.Tx) error {
			for j := i; j < i+50; j++ {
				if err := visits.Put(tx, &visit{id(j), at(j), strings.Repeat("x", 300)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func inOrder(i int) string   { return fmt.Sprintf("%08d", i) }
func scattered(i int) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(inOrder(i)))) }

// TestPagesAreFilled: a bucket that grows at its end has fuller pages than one that grows in random
// places, which are not fuller than with bbolt's default, but not emptier either.
func TestPagesAreFilled(t *testing.T) {
	const n = 2000
	ordered, random := openVisits(t, n, inOrder, inOrder), openVisits(t, n, scattered, scattered)
	for _, c := range []struct {
		name   string
		store  *bolt.Store
		bucket string
		least  float64
	}{
		{"documents in order", ordered, "visits", 0.75},
		{"entries in order", ordered, "visits.at", 0.85},
		{"random documents", random, "visits", 0.6},
		{"random entries", random, "visits.at", 0.6},
	} {
		if fill := c.store.Fill(c.bucket); fill < c.least {
			t.Errorf("%s: pages are %.2f full, want %.2f", c.name, fill, c.least)
		}
	}
	// All times move to the end of the index.
	putVisits(t, ordered, n, inOrder, func(i int) string { return inOrder(n + i) })
	if fill := ordered.Fill("visits.at"); fill < 0.85 {
		t.Errorf("after the times have moved on, pages are %.2f full", fill)
	}
}

// TestSpaceIsUsedAgain: the file doesn't grow when as much is stored as was deleted before.
func TestSpaceIsUsedAgain(t *testing.T) {
	const n = 1000
	s := openVisits(t, n, scattered, inOrder)
	var settled int64
	for round := 1; round <= 6; round++ {
		// The last tenth of the round before stays.
		if err := visits.Purge(ctx, s, storage.Range{Index: "at", To: inOrder(round*n - n/10)}); err != nil {
			t.Fatal(err)
		}
		next := func(f func(int) string) func(int) string {
			return func(i int) string { return f(round*n + i) }
		}
		putVisits(t, s, n, next(scattered), next(inOrder))
		if round == 2 {
			settled = s.Taken()
		}
	}
	if now := s.Taken(); now > settled*11/10 {
		t.Errorf("the file has grown from %d to %d bytes", settled, now)
	}
}
