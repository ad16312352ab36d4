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

// control is the directory through which the keeper of a shared server and the test binaries that
// use it coordinate. It has three lock files, whose locks the kernel releases when the holder exits
// for any reason:
//
//   - guard is held exclusively by a process while it joins, starts or stops the server;
//   - users is shared by all test binaries that use the server;
//   - keeper is held exclusively by the process that runs the server.
//
// The server is in use while users is held. It is trusted while keeper is held and PostgreSQL
// reports that its data is in this directory.
type control struct {
	dir    string
	linger time.Duration // how long the server keeps running without users
}

const (
	guardLock  = "guard"
	usersLock  = "users"
	keeperLock = "keeper"
)

// lingers is the linger time of a checkout's server. In that time the tests of the next package can
// be compiled.
const lingers = 20 * time.Second

// checkoutControl returns the control of the checkout that contains the working directory.
func checkoutControl() (*control, error) {
	dir, err := checkoutDir()
	if err != nil {
		return nil, err
	}
	return newControl(dir, lingers)
}

// checkoutDir returns the directory of the control of a checkout, which is different for each user
// of the machine.
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

// newControl returns the control in a directory, which it creates if it doesn't exist.
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
	// The user that PostgreSQL runs as needs access to its data, whatever the umask is.
	return &control{dir, linger}, os.Chmod(dir, 0o711)
}

// cluster returns the directory of the server's files. urlFile returns the file that contains the
// server's URL once it accepts connections.
func (c *control) cluster() string { return filepath.Join(c.dir, "cluster") }
func (c *control) urlFile() string { return filepath.Join(c.dir, "url") }
func (c *control) logFile() string { return filepath.Join(c.dir, "log") }

// lock acquires a lock, which is held until the file is closed. With syscall.LOCK_NB it returns
// syscall.EWOULDBLOCK if another process holds the lock.
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

// errNotReady is returned by tryJoin when the server is starting or has just stopped.
var errNotReady = errors.New("pgcluster: the shared server is not ready")

// join returns the URL of the shared server, which it starts if none is running, and a lease. The
// server keeps running until the lease is closed.
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

// url returns the URL of the server after checking that the server's data is in this directory.
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

// clear removes the files of a keeper that was killed. PostgreSQL stops by itself when its keeper
// dies; if it is still running, clear kills it.
func (c *control) clear() error {
	b, err := os.ReadFile(filepath.Join((&Server{dir: c.cluster()}).data(), "postmaster.pid"))
	if err == nil {
		first, _, _ := strings.Cut(string(b), "\n")
		pid, err := strconv.Atoi(first)
		if err != nil {
			return fmt.Errorf("pgcluster: postmaster.pid: %w", err)
		}
		// Another process may have the same PID by now.
		command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.Contains(string(command), c.cluster()) {
			if err := KillTree(pid); err != nil {
				return err
			}
		}
	}
	return c.remove()
}

// remove removes the server's files. It keeps the lock files, since processes that have one open
// must lock the same file as processes that open it later.
func (c *control) remove() error {
	return errors.Join(os.RemoveAll(c.urlFile()), os.RemoveAll(c.cluster()))
}

// The environment variables that make a keeper of this program: the directory of the control, and
// the linger time.
const (
	keeperVariable = "GATEHOUSE_PGCLUSTER_KEEPER"
	lingerVariable = "GATEHOUSE_PGCLUSTER_LINGER"
)

// startKeeper starts the keeper in a new session, without this process's open files, and returns
// when the server accepts connections.
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
