package bolt

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// TestScansPassByEmptyPages deletes all keys of some pages, and scans in the same transaction, as an
// Update does that shares it with those that have deleted them.
func TestScansPassByEmptyPages(t *testing.T) {
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "test.db"), 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const n = 2000 // on some dozens of pages
	key := func(i int) string { return fmt.Sprintf("%06d and what makes it as long as most keys are", i) }
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("bucket"))
		for i := range n {
			if err == nil {
				err = b.Put([]byte(key(i)), []byte("value"))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	check := func(t interface {
		Fatalf(string, ...any)
	}, b *bbolt.Bucket, kept []int) {
		up, down := []string{}, []string{}
		r := reader{b.Tx()}
		for k := range r.Ascend("bucket", "") {
			up = append(up, k)
		}
		for k := range r.Descend("bucket", "") {
			down = append(down, k)
		}
		slices.Reverse(down)
		want := []string{}
		for _, i := range kept {
			want = append(want, key(i))
		}
		if !slices.Equal(up, want) || !slices.Equal(down, want) {
			t.Fatalf("%d keys are left, %d upwards and %d downwards", len(want), len(up), len(down))
		}
		for _, before := range []int{0, 1, n / 3, n / 2, n - 1, n} {
			last := ""
			for k := range r.Descend("bucket", key(before)) {
				last = k
				break
			}
			wanted := ""
			for _, i := range kept {
				if i < before {
					wanted = key(i)
				}
			}
			if last != wanted {
				t.Fatalf("before %d: %q, want %q", before, last, wanted)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		tx, err := db.Begin(true)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback() //nolint:errcheck // the next check begins with all keys again
		b := tx.Bucket([]byte("bucket"))
		gone := map[int]bool{}
		for range rapid.IntRange(1, 4).Draw(t, "runs") {
			from := rapid.IntRange(0, n).Draw(t, "from")
			to := rapid.IntRange(from, n).Draw(t, "to")
			if rapid.IntRange(0, 4).Draw(t, "all") == 0 {
				from, to = 0, n
			}
			for i := from; i < to; i++ {
				gone[i] = true
				if err := b.Delete([]byte(key(i))); err != nil {
					t.Fatal(err)
				}
			}
		}
		kept := []int{}
		for i := range n {
			if !gone[i] {
				kept = append(kept, i)
			}
		}
		check(t, b, kept)
	})
}
