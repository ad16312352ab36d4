//go:build linux || darwin

package bolt_test

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

// fullWriters is the number of goroutines that write until the disk is full.
const fullWriters = 4

func init() {
	children["full"] = func(path string) {
		fail := func(v ...any) {
			fmt.Fprintln(os.Stderr, v...)
			os.Exit(1)
		}
		s, err := bolt.Open(path)
		if err != nil {
			fail(err)
		}
		if err := storage.Define(ctx, s, notes); err != nil {
			fail(err)
		}
		// A limit on the size of files acts like a full disk.
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 20 << 20, Max: 20 << 20}); err != nil {
			fail(err)
		}
		var wg sync.WaitGroup
		for writer := range fullWriters {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for n := 0; ; n++ {
					id := fmt.Sprintf("%d-%d", writer, n)
					err := s.Update(ctx, func(tx storage.Tx) error {
						return notes.Put(tx, &note{ID: id, Text: strings.Repeat("x", 200_000)})
					})
					if err != nil {
						if !errors.Is(err, storage.ErrUnavailable) {
							fail("a full disk is", err)
						}
						fmt.Println("refused", id)
						return
					}
					fmt.Println("written", id)
				}
			}()
		}
		wg.Wait()
		// The store can still be read and closed.
		err = s.View(ctx, func(tx storage.Tx) error { _, err := notes.Get(tx, "0-0"); return err })
		if err := errors.Join(err, s.Close()); err != nil {
			fail(err)
		}
		fmt.Println("closed", "")
	}
}

// TestDiskFull fills the disk under several writers: exactly the acknowledged writes must be there,
// and the store must work again once there is room.
func TestDiskFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	cmd, lines := startChild(t, "full", path)
	said := map[string][]string{}
	for lines.Scan() {
		what, id, _ := strings.Cut(lines.Text(), " ")
		said[what] = append(said[what], id)
	}
	if err := cmd.Wait(); err != nil || len(said["closed"]) != 1 {
		t.Fatalf("the child: %v", err)
	}
	if len(said["written"]) == 0 || len(said["refused"]) != fullWriters {
		t.Fatalf("%d were written, %d refused", len(said["written"]), len(said["refused"]))
	}
	s := open(t, path)
	defer s.Close()
	err := s.View(ctx, func(tx storage.Tx) error {
		for _, id := range said["written"] {
			if _, err := notes.Get(tx, id); err != nil {
				t.Errorf("%s was acknowledged, but: %v", id, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if problems, err := storage.Check(ctx, s, notes); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if err := s.Update(ctx, put(said["refused"][0])); err != nil {
		t.Errorf("Update with room again: %v", err)
	}
}
