package bolt_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

const left = 100 // visits in a file of sparse

// sparse makes a file of a store in which most was deleted.
func sparse(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	defer s.Close()
	if err := storage.Define(ctx, s, visits); err != nil {
		t.Fatal(err)
	}
	const n = 2000
	putVisits(t, s, n, scattered, inOrder)
	if err := visits.Purge(ctx, s, storage.Range{Index: "at", To: inOrder(n - left)}); err != nil {
		t.Fatal(err)
	}
	return path
}

// intact checks that the file has everything that sparse has left in it.
func intact(t *testing.T, path string) {
	t.Helper()
	s := open(t, path)
	defer s.Close()
	problems, err := storage.Check(ctx, s, visits)
	if err != nil || len(problems) > 0 {
		t.Errorf("the store: %v, %v", problems, err)
	}
	err = s.View(ctx, func(tx storage.Tx) error {
		all, err := visits.All(tx, storage.Range{})
		if len(all) != left {
			t.Errorf("%d documents, want %d", len(all), left)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// alone checks that there is nothing else in the directory of a file.
func alone(t *testing.T, path string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 || files[0].Name() != filepath.Base(path) {
		t.Errorf("the directory has %v, %v", files, err)
	}
}

func TestCompact(t *testing.T) {
	path := sparse(t)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	before, after, err := bolt.Compact(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != after || info.Mode().Perm() != 0o640 {
		t.Errorf("a file with %v, %v; want %d bytes and the mode 0640", info, err, after)
	}
	if after*4 > before {
		t.Errorf("%d bytes have become %d", before, after)
	}
	alone(t, path)
	intact(t, path)
	if _, again, err := bolt.Compact(path); err != nil || again > after {
		t.Errorf("the second time: %d bytes, %v", again, err)
	}
	s := open(t, path)
	defer s.Close()
	putVisits(t, s, 50, inOrder, inOrder) // it can be written to
}

func TestCompactRefusesAFileInUse(t *testing.T) {
	path := sparse(t)
	s := open(t, path)
	if _, _, err := bolt.Compact(path); !errors.Is(err, bolt.ErrLocked) {
		t.Errorf("by a server: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	alone(t, path)

	// Nobody can open the file, or compact it too, before the copy is in its place.
	tried := false
	defer bolt.Interfere(func() {}, func() {
		if tried {
			return
		}
		tried = true
		if s, err := bolt.Open(path); !errors.Is(err, bolt.ErrLocked) {
			t.Errorf("the file was opened: %v, %v", s, err)
		}
		if _, _, err := bolt.Compact(path); !errors.Is(err, bolt.ErrLocked) {
			t.Errorf("the file was compacted twice: %v", err)
		}
	})()
	if _, _, err := bolt.Compact(path); err != nil || !tried {
		t.Error(err)
	}
	intact(t, path)
}

// TestOpenWhileTheFileIsReplaced: a server that has opened the file just before it was replaced would
// write to one that nobody finds again.
func TestOpenWhileTheFileIsReplaced(t *testing.T) {
	path := sparse(t)
	other := sparse(t)
	end := bolt.Interfere(func() {
		if err := os.Rename(other, path); err != nil {
			t.Error(err)
		}
	}, func() {})
	s, err := bolt.Open(path)
	end()
	if !errors.Is(err, bolt.ErrLocked) {
		t.Errorf("%v, %v", s, err)
	}
	intact(t, path)
}

func TestCompactRefusesWhatIsNoStore(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "text": "important", "long": string(bytes.Repeat([]byte("important "), 10_000))} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := bolt.Compact(path); err == nil {
			t.Errorf("%s: no error", name)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != content {
			t.Errorf("%s: the file has changed, %v", name, err)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "missing"), filepath.Join(dir, "missing", "store.db"), ""} {
		if _, _, err := bolt.Compact(path); err == nil {
			t.Errorf("%q: no error", path)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Errorf("the directory has %v, %v", files, err)
	}
}

// TestCompactAndLinks: a link to the file stays one, and a link that somebody has put where the copy
// is written leads nowhere.
func TestCompactAndLinks(t *testing.T) {
	path, dir := sparse(t), t.TempDir()
	link, victim := filepath.Join(dir, "link.db"), filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("important"), 0o600); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{link: path, path + ".compacting": victim} {
		if err := os.Symlink(to, from); err != nil {
			t.Skip(err)
		}
	}
	if _, _, err := bolt.Compact(link); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != path {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if content, err := os.ReadFile(victim); err != nil || string(content) != "important" {
		t.Errorf("the victim is %q, %v", content, err)
	}
	alone(t, path)
	intact(t, path)
}

func init() {
	children["compact"] = func(path string) {
		bolt.Interfere(func() {}, func() {
			fmt.Println("replacing")
			select {}
		})
		_, _, err := bolt.Compact(path)
		fmt.Println(err)
	}
}

// TestKilledWhileCompacting: the file is as it was, and the next call removes what is left of the
// copy, complete or not.
func TestKilledWhileCompacting(t *testing.T) {
	path := sparse(t)
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	child, lines := startChild(t, "compact", path)
	if lines.Scan(); lines.Text() != "replacing" {
		t.Errorf("the child says %q", lines.Text())
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, was) {
		t.Errorf("the file has changed, %v", err)
	}
	for _, size := range []int64{1 << 20, 5000, 0} {
		if err := os.Truncate(path+".compacting", size); err != nil {
			t.Fatal(err)
		}
		intact(t, path)
		if _, _, err := bolt.Compact(path); err != nil {
			t.Errorf("beside a copy of %d bytes: %v", size, err)
		}
		alone(t, path)
		intact(t, path)
		if err := os.WriteFile(path+".compacting", nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCompactWithoutRoomForTheCopy leaves the file as it is.
func TestCompactWithoutRoomForTheCopy(t *testing.T) {
	path := sparse(t)
	if err := os.MkdirAll(filepath.Join(path+".compacting", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := bolt.Compact(path); err == nil {
		t.Error("no error")
	}
	intact(t, path)
}
