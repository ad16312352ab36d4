package bolt_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

// entry is one write of a writer.
type entry struct {
	ID     string `json:"id"`
	Writer int    `json:"writer"`
	N      int    `json:"n"`
	Text   string `json:"text"`
}

// tally is the number of entries of a writer. It is written in the same transaction as an entry.
type tally struct {
	Writer int `json:"writer"`
	N      int `json:"n"`
}

var (
	journal = storage.NewCollection("journal", func(e *entry) string { return e.ID },
		storage.Unique("place", func(e *entry) string { return fmt.Sprintf("%d/%d", e.Writer, e.N) }),
		storage.Ordered("writer", func(e *entry) string { return fmt.Sprint("w", e.Writer) }),
	)
	tallies = storage.NewCollection("tallies", func(t *tally) string { return fmt.Sprint(t.Writer) })
)

const writers = 6

// record writes the next entry of a writer, and returns their number.
func record(s *bolt.Store, writer int) (n int, err error) {
	err = s.Update(ctx, func(tx storage.Tx) error {
		t, err := tallies.Get(tx, fmt.Sprint(writer))
		if err != nil {
			t = &tally{Writer: writer}
		}
		t.N++
		n = t.N
		e := &entry{fmt.Sprintf("%x-%d-%d", n*7919%256, writer, n), writer, n, fmt.Sprintf("%*d", n%3000, n)}
		if err := journal.Insert(tx, e); err != nil {
			return err
		}
		return tallies.Put(tx, t)
	})
	return n, err
}

func init() {
	children["journal"] = func(path string) {
		s, err := bolt.Open(path)
		if err == nil {
			err = storage.Define(ctx, s, journal, tallies)
		}
		failed := make(chan error, writers+1)
		if err != nil {
			failed <- err
		}
		for writer := range writers {
			go func() {
				for len(failed) == 0 {
					n, err := record(s, writer)
					if err == nil {
						_, err = fmt.Println(writer, n) // one write, so that lines don't mix
					}
					if err != nil {
						failed <- err
					}
				}
			}()
		}
		fmt.Fprintln(os.Stderr, "the child failed:", <-failed)
		os.Exit(1)
	}
}

// TestKilledUnderLoad repeatedly kills a process in which several writers write: every acknowledged
// write must be in the file, and the file must be consistent.
func TestKilledUnderLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	acknowledged := [writers]int{}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range 6 {
		cmd, lines := startChild(t, "journal", path)
		kill := 1 + random.IntN(300) // after so many acknowledgements
		read := 0
		for lines.Scan() {
			var writer, n int
			if _, err := fmt.Sscan(lines.Text(), &writer, &n); err != nil {
				break // incomplete
			}
			acknowledged[writer] = n
			if read++; read == kill {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
		if read < kill {
			t.Fatalf("seed %d, round %d: the child ended by itself", seed, round)
		}
		audit(t, path, acknowledged)
		if t.Failed() {
			t.Fatalf("seed %d, round %d, killed after %d", seed, round, kill)
		}
	}
}

// audit checks the file of a process that was killed.
func audit(t *testing.T, path string, acknowledged [writers]int) {
	t.Helper()
	s := open(t, path)
	err := s.View(ctx, func(tx storage.Tx) error {
		for writer, least := range acknowledged {
			written, err := journal.All(tx, storage.Exactly("writer", fmt.Sprint("w", writer)))
			if err != nil {
				return err
			}
			counted := 0
			if c, err := tallies.Get(tx, fmt.Sprint(writer)); err == nil {
				counted = c.N
			}
			if counted < least || len(written) != counted {
				t.Errorf("writer %d: %d entries were acknowledged, %d exist, and the tally is %d", writer, least, len(written), counted)
			}
			for n := 1; n <= least; n++ {
				if _, err := journal.GetBy(tx, "place", fmt.Sprintf("%d/%d", writer, n)); err != nil {
					t.Errorf("entry %d of writer %d: %v", n, writer, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	problems, err := storage.Check(ctx, s, journal, tallies)
	if err != nil || len(problems) > 0 {
		t.Errorf("Check = %v, %v", problems, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_ = db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("the file's pages: %v", err)
		}
		return nil
	})
}
