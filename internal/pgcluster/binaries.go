package pgcluster

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"syscall"
	"testing"
)

// binaries returns the directory of PostgreSQL's server binaries: the newest version that Debian's
// packages installed, or else the one on the PATH. It returns "" if there are none.
func binaries() string {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	sort.Slice(dirs, func(i, j int) bool { return version(dirs[i]) > version(dirs[j]) })
	if p, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(p))
	}
	for _, d := range dirs {
		if _, err := os.Stat(filepath.Join(d, "initdb")); err == nil {
			return d
		}
	}
	return ""
}

func version(dir string) int {
	v, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return v
}

// need returns the directory of the server binaries. It skips the test if there are none, and in
// short mode.
func need(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: no PostgreSQL in short mode")
	}
	dir := binaries()
	if dir == "" {
		t.Skip("skipped: no PostgreSQL server on this machine (apt-get install postgresql), and GATEHOUSE_TEST_POSTGRES is not set")
	}
	return dir
}

// account returns the user that servers run as, since PostgreSQL refuses to run as root.
func account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}
