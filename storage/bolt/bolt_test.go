package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
	"github.com/gatehouse-at/gatehouse/storage/storagetest"
)

func open(t *testing.T, path string) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	paths := map[storage.Store]string{}
	storagetest.Run(t, storagetest.Backend{
		Open: func(t *testing.T) storage.Store {
			path := filepath.Join(t.TempDir(), "store.db")
			s := open(t, path)
			paths[s] = path
			return s
		},
		Reopen: func(t *testing.T, s storage.Store) storage.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, paths[s])
		},
	})
}

type note struct {
	ID, Text string
}

var notes = storage.NewCollection("notes", func(n *note) string { return n.ID })

var ctx = context.Background()

func init() {
	children["second"] = func(path string) {
		if _, err := bolt.Open(path); errors.Is(err, bolt.ErrLocked) {
			fmt.Println("locked")
		}
	}
}

func TestFileIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "directories", "store.db")
	s := open(t, path)
	if _, err := bolt.Open(path); !errors.Is(err, bolt.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	cmd, lines := startChild(t, "second", path)
	if !lines.Scan() || lines.Text() != "locked" {
		t.Errorf("opened by a second process: %q", lines.Text())
	}
	_ = cmd.Wait()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, path).Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenRefusesOtherFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("nonsense "), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := bolt.Open(path); err == nil {
		s.Close()
		t.Error("nonsense was opened")
	}
}

func TestSnapshot(t *testing.T) {
	s := openNotes(t)
	if err := s.Update(ctx, put("before")); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	f, err := os.Create(copied)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Snapshot(ctx, f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := s.Update(ctx, put("after")); err != nil {
		t.Fatal(err)
	}
	nested := s.View(ctx, func(storage.Tx) error { return s.Snapshot(ctx, io.Discard) })
	if !errors.Is(nested, storage.ErrNested) {
		t.Errorf("Snapshot inside a View: %v, want ErrNested", nested)
	}
	c := open(t, copied)
	defer c.Close()
	err = c.View(ctx, func(tx storage.Tx) error {
		all, err := notes.All(tx, storage.Range{})
		if len(all) != 1 || all[0].ID != "before" {
			t.Errorf("the snapshot has %v", all)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSnapshotHonorsItsContext(t *testing.T) {
	s := openNotes(t)
	done, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	ended := make(chan error)
	go func() { ended <- s.Snapshot(done, w) }()
	if _, err := r.Read(make([]byte, 1)); err != nil { // it has begun
		t.Fatal(err)
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Snapshot: %v", err)
	}
}

func ExampleOpen() {
	dir, _ := os.MkdirTemp("", "example-")
	defer os.RemoveAll(dir)
	store, err := bolt.Open(filepath.Join(dir, "store.db"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	fmt.Println(storage.Define(ctx, store, notes))
	fmt.Println(store.Update(ctx, func(tx storage.Tx) error { return notes.Put(tx, &note{ID: "1", Text: "lasts"}) }))
	// Output:
	// <nil>
	// <nil>
}
