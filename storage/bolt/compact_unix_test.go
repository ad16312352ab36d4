//go:build unix

package bolt_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

func TestCompactKeepsTheOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := sparse(t)
	if err := os.Chown(path, 4321, 5432); err != nil {
		t.Skip(err)
	}
	if _, _, err := bolt.Compact(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); s.Uid != 4321 || s.Gid != 5432 {
		t.Errorf("the file belongs to %d:%d", s.Uid, s.Gid)
	}
}
