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

// memberVariable makes this program a member, which is a user of a shared server. It is the directory
// of the control.
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

// use joins a shared server, says its URL, and uses it until there is no more input.
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

// startMember starts a member, which ends with the test.
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
		m.t.Fatalf("a member has not joined: %q, %v", line, err)
	}
	return m
}

// kill ends the member as kill -9 does.
func (m *member) kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

// leave has the member end by itself.
func (m *member) leave() {
	m.t.Helper()
	m.stdin.Close()
	if err := m.cmd.Wait(); err != nil {
		m.t.Errorf("a member ended with %v", err)
	}
}

// newTestControl returns a control of the test's own, and checks at the end of the test that nothing
// is left of its server.
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
				t.Errorf("%s is left", path)
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

// works reports whether a server takes connections.
func works(url string) bool {
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		return false
	}
	conn.Close(context.Background())
	return true
}

// postmaster returns the process of a control's server.
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

// keeperOf returns the keeper of a control, which is the parent of its server.
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

// TestMembersShareAServer has members come at once and one after the other: they have the same
// server, which ends when the last has left, or was killed.
func TestMembersShareAServer(t *testing.T) {
	t.Parallel()
	c := newTestControl(t)
	first, second := startMember(t, c), startMember(t, c) // at once
	first.joined()
	second.joined()
	first.leave()
	third := startMember(t, c).joined()
	if first.url != second.url || second.url != third.url {
		t.Errorf("the members have the servers %s, %s and %s", first.url, second.url, third.url)
	}
	second.kill()
	<-time.After(2 * lingersInTests) // in which a server without members would have ended
	if !works(third.url) {
		t.Error("the server ends while there is a member")
	}
	third.kill()
	eventually(t, "the server ends", func() bool { return !works(third.url) })
	if next := startMember(t, c).joined(); !works(next.url) {
		t.Error("the next server doesn't work")
	}
}

// TestWhatWasKilledIsReplaced kills the keeper, or PostgreSQL, under a member: the next member gets
// another server, and nothing is left of the one before.
func TestWhatWasKilledIsReplaced(t *testing.T) {
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
				t.Errorf("the members have the servers %s, and then %s", before.url, after.url)
			}
		})
	}
}

// TestOnlyTheServerOfTheCheckoutIsTrusted leaves the URL of another checkout's server in the place of
// its own, as if that had got its port.
func TestOnlyTheServerOfTheCheckoutIsTrusted(t *testing.T) {
	t.Parallel()
	c, other := newTestControl(t), newTestControl(t)
	stranger := startMember(t, other).joined()
	if err := os.WriteFile(c.urlFile(), []byte(stranger.url), 0o600); err != nil {
		t.Fatal(err)
	}
	if url, err := c.url(); err == nil {
		t.Errorf("a stranger's server is trusted: %s", url)
	}
	if m := startMember(t, c).joined(); m.url == stranger.url || !works(stranger.url) {
		t.Errorf("a member has %s; the stranger's is %s", m.url, stranger.url)
	}
}

func TestPackagesOfACheckoutMeet(t *testing.T) { // not in parallel: it changes the directory
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
		t.Errorf("the controls are %s, %s, %s, and outside of the checkout %s", here, sibling, root, outside)
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
					t.Errorf("the port %d is given twice", first+n)
				}
				given[first+n] = true
			}
		})
	}
	wg.Wait()
}
