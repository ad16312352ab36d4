package pgcluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// control is the directory in which the users of a shared server and its keeper find each other. It
// has three locks, which the kernel releases when their holder ends, however it does:
//
//   - guard is held by whoever joins, starts or stops the server, for as long as that takes;
//   - users is held by each test binary that uses the server, together with the others;
//   - keeper is held by the process that runs the server.
//
// A server is in use while users is held, and it is trusted while keeper is held and it says that
// its data is in this directory.
type control struct {
	dir    string
	linger time.Duration // how long a server without users stays
}

const (
	guardLock  = "guard"
	usersLock  = "users"
	keeperLock = "keeper"
)

// lingers is long enough for the next package's tests to be compiled.
const lingers = 20 * time.Second

// checkoutControl returns the control of the checkout in whose directory this process runs.
func checkoutControl() (*control, error) {
	dir, err := checkoutDir()
	if err != nil {
		return nil, err
	}
	return newControl(dir, lingers)
}

// checkoutDir returns the directory of a checkout's control. Other users of this machine have
// another.
func checkoutDir() (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := root; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			root = dir
			break
		}
	}
	key := sha256.Sum256([]byte(root))
	return filepath.Join(os.TempDir(), fmt.Sprintf("gatehouse-postgres-%d-%x", os.Getuid(), key[:8])), nil
}

// newControl makes the directory, unless it is there.
func newControl(dir string, linger time.Duration) (*control, error) {
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(stat.Uid) != os.Getuid() {
		return nil, fmt.Errorf("pgcluster: %s is not a directory of this user", dir)
	}
	// The user that PostgreSQL runs as has to reach its data, whatever the umask is.
	return &control{dir, linger}, os.Chmod(dir, 0o711)
}

// cluster is the directory of the server's files, and urlFile has its URL once it takes connections.
func (c *control) cluster() string { return filepath.Join(c.dir, "cluster") }
func (c *control) urlFile() string { return filepath.Join(c.dir, "url") }
func (c *control) logFile() string { return filepath.Join(c.dir, "log") }

// lock takes a lock until the file is closed. With syscall.LOCK_NB the error is
// syscall.EWOULDBLOCK while another process has it.
func (c *control) lock(name string, how int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(c.dir, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// held reports whether another process holds a lock.
func (c *control) held(name string) (bool, error) {
	f, err := c.lock(name, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, f.Close()
}

// errNotReady is returned by tryJoin for a server that is starting or has just ended.
var errNotReady = errors.New("pgcluster: the shared server is not ready")

// join returns the URL of the shared server, which it starts if there is none, and the lease that
// keeps the server running.
func (c *control) join() (url string, lease *os.File, err error) {
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		url, lease, err = c.tryJoin()
		if !errors.Is(err, errNotReady) || time.Now().After(deadline) {
			return url, lease, err
		}
	}
}

func (c *control) tryJoin() (url string, lease *os.File, err error) {
	guard, err := c.lock(guardLock, syscall.LOCK_EX)
	if err != nil {
		return "", nil, err
	}
	defer guard.Close()
	if lease, err = c.lock(usersLock, syscall.LOCK_SH); err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			lease.Close()
			lease = nil
		}
	}()
	kept, err := c.held(keeperLock)
	if err != nil {
		return "", lease, err
	}
	if !kept {
		if err := c.clear(); err != nil { // it may still be writing
			return "", lease, fmt.Errorf("%w: %w", errNotReady, err)
		}
		if err := c.startKeeper(); err != nil {
			return "", lease, err
		}
	}
	if url, err = c.url(); err != nil {
		return "", lease, fmt.Errorf("%w: %w", errNotReady, err)
	}
	return url, lease, nil
}

// url returns the URL of the server, after making sure that it is the one in this directory.
func (c *control) url() (string, error) {
	b, err := os.ReadFile(c.urlFile())
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, string(b))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	var data string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&data); err != nil {
		return "", err
	}
	if want := (&Server{dir: c.cluster()}).data(); data != want {
		return "", fmt.Errorf("the server has its data in %s, not in %s", data, want)
	}
	return string(b), nil
}

// clear removes what a keeper that was killed has left. PostgreSQL stops by itself when its keeper
// dies; if it hasn't done so yet, it is killed.
func (c *control) clear() error {
	b, err := os.ReadFile(filepath.Join((&Server{dir: c.cluster()}).data(), "postmaster.pid"))
	if err == nil {
		first, _, _ := strings.Cut(string(b), "\n")
		pid, err := strconv.Atoi(first)
		if err != nil {
			return fmt.Errorf("pgcluster: postmaster.pid: %w", err)
		}
		// Another process may have the number by now.
		command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.Contains(string(command), c.cluster()) {
			if err := KillTree(pid); err != nil {
				return err
			}
		}
	}
	return c.remove()
}

// remove removes the server's files. The locks stay: whoever has a file of that name open counts on
// it being the one that others open.
func (c *control) remove() error {
	return errors.Join(os.RemoveAll(c.urlFile()), os.RemoveAll(c.cluster()))
}

// The keeper is this program again, in which keeperVariable is the directory of the control, and
// lingerVariable how long the server stays when nobody uses it.
const (
	keeperVariable = "GATEHOUSE_PGCLUSTER_KEEPER"
	lingerVariable = "GATEHOUSE_PGCLUSTER_LINGER"
)

// startKeeper starts the keeper, in a session of its own and without this process's files, and
// returns when the server takes connections.
func (c *control) startKeeper() error {
	log, err := os.OpenFile(c.logFile(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	answer, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer answer.Close()
	program, err := os.Executable()
	if err != nil {
		return errors.Join(err, tell.Close())
	}
	cmd := exec.Command(program)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), keeperVariable+"="+c.dir, lingerVariable+"="+c.linger.String())
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{tell}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = errors.Join(cmd.Start(), tell.Close())
	if err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	_ = answer.SetReadDeadline(time.Now().Add(time.Minute))
	said, err := io.ReadAll(answer)
	switch {
	case err != nil:
		return err
	case string(said) == keeperReady:
		return nil
	case string(said) == keeperBusy:
		return errNotReady
	}
	return fmt.Errorf("pgcluster: starting the shared server: %s (more in %s)", said, c.logFile())
}
