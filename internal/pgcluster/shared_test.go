package pgcluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// memberVariable is the environment variable that makes this program a member, which is a process
// that uses a shared server. Its value is the directory of the control.
const memberVariable = "GATEHOUSE_PGCLUSTER_TEST_MEMBER"

const lingersInTests = 200 * time.Millisecond

func TestMain(m *testing.M) {
	if dir := os.Getenv(memberVariable); dir != "" {
		if err := use(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

// use joins a shared server, prints its URL, and uses it until the input ends.
func use(dir string) error {
	c, err := newControl(dir, lingersInTests)
	if err != nil {
		return err
	}
	url, lease, err := c.join()
	if err != nil {
		return err
	}
	defer lease.Close()
	fmt.Println(url)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// member is a process that uses a shared server.
type member struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout io.Reader
	url    string
}

// startMember starts a member, which is killed when the test ends.
func startMember(t *testing.T, c *control) *member {
	t.Helper()
	m := &member{t: t, cmd: exec.Command(os.Args[0])}
	m.cmd.Env = append(os.Environ(), memberVariable+"="+c.dir)
	var err error
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if m.stdout, err = m.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	return m
}

// joined waits until the member has joined.
func (m *member) joined() *member {
	m.t.Helper()
	line, err := bufio.NewReader(m.stdout).ReadString('\n')
	if m.url = strings.TrimSpace(line); err != nil || !strings.HasPrefix(m.url, "postgres://") {
		m.t.Fatalf("a member did not join: %q, %v", line, err)
	}
	return m
}

// kill kills the member with SIGKILL.
func (m *member) kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

// leave has the member exit by itself.
func (m *member) leave() {
	m.t.Helper()
	m.stdin.Close()
	if err := m.cmd.Wait(); err != nil {
		m.t.Errorf("a member exited with %v", err)
	}
}

// newTestControl returns a control for one test, and checks when the test ends that its server is
// removed.
func newTestControl(t *testing.T) *control {
	t.Helper()
	need(t)
	dir, err := os.MkdirTemp("", "gatehouse-control-")
	if err != nil {
		t.Fatal(err)
	}
	c, err := newControl(dir, lingersInTests)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, "the keeper ends", func() bool {
			kept, err := c.held(keeperLock)
			return err == nil && !kept
		})
		for _, path := range []string{c.cluster(), c.urlFile()} {
			if _, err := os.Stat(path); err == nil {
				t.Errorf("%s still exists after the keeper has ended", path)
			}
		}
		_ = os.RemoveAll(dir)
	})
	return c
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after a minute: %s", what)
		}
	}
}

// works reports whether a server accepts connections.
func works(url string) bool {
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		return false
	}
	conn.Close(context.Background())
	return true
}

// postmaster returns the PID of a control's server.
func postmaster(t *testing.T, c *control) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.cluster(), "data/postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Fields(string(b))[0])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// keeperOf returns the PID of a control's keeper, which is the parent of its server.
func keeperOf(t *testing.T, c *control) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", postmaster(t, c)))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	pid, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// TestMembersShareAServer starts members concurrently and one after the other, and checks that they
// share a server, which ends when the last one has left or was killed.
func TestMembersShareAServer(t *testing.T) {
	t.Parallel()
	c := newTestControl(t)
	first, second := startMember(t, c), startMember(t, c) // at once
	first.joined()
	second.joined()
	first.leave()
	third := startMember(t, c).joined()
	if first.url != second.url || second.url != third.url {
		t.Errorf("the members use the servers %s, %s and %s, want the same", first.url, second.url, third.url)
	}
	second.kill()
	<-time.After(2 * lingersInTests) // long enough for a server without members to end
	if !works(third.url) {
		t.Error("the server ended while a member was using it")
	}
	third.kill()
	eventually(t, "the server ends", func() bool { return !works(third.url) })
	if next := startMember(t, c).joined(); !works(next.url) {
		t.Error("the next server doesn't work")
	}
}

// TestKilledServersAreReplaced kills the keeper or PostgreSQL while a member uses the server, and
// checks that the next member gets a new server and the old one is removed.
func TestKilledServersAreReplaced(t *testing.T) {
	t.Parallel()
	for name, victim := range map[string]func(t *testing.T, c *control) (pid int){
		"the keeper": keeperOf, "the postmaster": postmaster,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newTestControl(t)
			before := startMember(t, c).joined()
			pid := postmaster(t, c)
			if err := syscall.Kill(victim(t, c), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it ends", func() bool { return !works(before.url) })
			after := startMember(t, c).joined()
			if before.url == after.url || postmaster(t, c) == pid || !works(after.url) {
				t.Errorf("the members use the servers %s and then %s, want a new one", before.url, after.url)
			}
		})
	}
}

// TestOnlyTheServerOfTheCheckoutIsTrusted writes the URL of another checkout's server to the URL
// file, as if that server had got this one's port.
func TestOnlyTheServerOfTheCheckoutIsTrusted(t *testing.T) {
	t.Parallel()
	c, other := newTestControl(t), newTestControl(t)
	stranger := startMember(t, other).joined()
	if err := os.WriteFile(c.urlFile(), []byte(stranger.url), 0o600); err != nil {
		t.Fatal(err)
	}
	if url, err := c.url(); err == nil {
		t.Errorf("the server of another checkout is trusted: %s", url)
	}
	if m := startMember(t, c).joined(); m.url == stranger.url || !works(stranger.url) {
		t.Errorf("a member uses %s; the other checkout's server is %s", m.url, stranger.url)
	}
}

func TestPackagesOfACheckoutShareAServer(t *testing.T) { // not in parallel: it changes the working directory
	dir := func(in string) string {
		t.Helper()
		t.Chdir(in)
		dir, err := checkoutDir()
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	here, sibling, root, outside := dir("."), dir("../e2e"), dir("../.."), dir(os.TempDir())
	if here != sibling || here != root || here == outside {
		t.Errorf("the controls are %s, %s and %s, want the same; outside of the checkout it is %s", here, sibling, root, outside)
	}
}

func TestPortsAreReserved(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	given := map[int]bool{}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			first, err := FreePorts(0, 1, 5)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, n := range []int{0, 1, 5} {
				if given[first+n] {
					t.Errorf("FreePorts returned the port %d twice", first+n)
				}
				given[first+n] = true
			}
		})
	}
	wg.Wait()
}
