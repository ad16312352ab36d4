package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
)

// cluster is a cluster of three PostgreSQL nodes under Patroni, started by examples/cluster.
type cluster struct {
	dir   string
	url   string
	first int
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: no clusters in short mode")
	}
	for _, needed := range []string{"patroni", "etcd"} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Skipf("%s is not on this machine (Debian: apt-get install patroni etcd-server)", needed)
		}
	}
	dir, err := os.MkdirTemp("", "gatehouse-cluster-")
	if err != nil {
		t.Fatal(err)
	}
	first, err := pgcluster.FreePorts(0, 1, 11, 12, 13, 21, 22, 23) // the offsets that databases.sh uses
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{dir: dir, first: first}
	cmd := exec.Command("../../examples/cluster/databases.sh", dir, strconv.Itoa(c.first))
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.WaitDelay = 5 * time.Second // processes that outlive the script must not block Wait
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			_ = pgcluster.KillTree(cmd.Process.Pid)
			<-ended
		}
		_ = os.RemoveAll(dir)
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		t.Fatalf("the cluster did not come up: %q, %v, %s", line, err, &log)
	}
	c.url = url
	return c
}

// killPrimary kills Patroni and PostgreSQL on the primary node, and returns the node's number.
func (c *cluster) killPrimary(t *testing.T) int {
	t.Helper()
	for n := 1; n <= 3; n++ {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/primary", c.first+20+n))
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			continue
		}
		for _, file := range []string{fmt.Sprintf("node%d.pid", n), fmt.Sprintf("node%d/postmaster.pid", n)} {
			b, err := os.ReadFile(filepath.Join(c.dir, file))
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.Fields(string(b))[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := pgcluster.KillTree(pid); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	t.Fatal("no node is the primary")
	return 0
}

// TestFailOver kills the primary node of a high-availability cluster under load. A replica has to
// take over automatically, nothing that was acknowledged may be lost, requests have to fail with
// 502 or 503 in the meantime, and the server has to recover without a restart.
func TestFailOver(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	store := openPostgres(t, c.url)
	t.Cleanup(func() { store.Close() })
	s := newAPI(t, withStore(store))
	apps := s.refreshing(4)

	type account struct{ handle, did, refresh string }
	var mu sync.Mutex
	var acknowledged []account
	statuses := map[int]int{}
	var killed atomic.Int64 // time of the kill in Unix nanoseconds, 0 before it
	recovered := make(chan time.Duration, 1)
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 6 {
		writers.Add(1)
		go func() {
			defer writers.Done()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				handle := fmt.Sprintf("w%dn%d.test", w, n)
				began := time.Now().UnixNano()
				a := s.do(nobody, "server.createAccount", object{
					"handle": handle, "email": strings.ReplaceAll(handle, ".test", "@example.com"), "password": "password",
				})
				mu.Lock()
				statuses[a.status]++
				if a.status == http.StatusOK {
					acknowledged = append(acknowledged, account{handle, a.object["did"].(string), a.object["refreshJwt"].(string)})
					// A sign-up that began after the kill was stored by the new primary.
					if k := killed.Load(); k != 0 && began > k {
						select {
						case recovered <- time.Duration(time.Now().UnixNano() - k):
						default:
						}
					}
				} else if a.status != http.StatusServiceUnavailable && a.status != http.StatusBadGateway {
					t.Errorf("createAccount: %d %s", a.status, a.body)
				}
				mu.Unlock()
				if a.status != http.StatusOK {
					time.Sleep(100 * time.Millisecond) // back off as a client would
				}
			}
		}()
	}
	for _, g := range apps {
		writers.Add(1)
		go func() {
			defer writers.Done()
			g.refreshUntil(stop)
		}()
	}
	enough := func() bool { mu.Lock(); defer mu.Unlock(); return len(acknowledged) >= 100 }
	for began := time.Now(); !enough(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 5*patience {
			t.Fatal("too few sign-ups were acknowledged in time")
		}
	}
	node := c.killPrimary(t)
	killed.Store(time.Now().UnixNano())
	select {
	case took := <-recovered:
		t.Logf("node %d killed; the server works again after %v", node, took.Round(100*time.Millisecond))
	case <-time.After(5 * patience):
		t.Error("no sign-up succeeded after the primary was killed")
	}
	close(stop)
	writers.Wait()
	t.Logf("answers by status: %v", statuses)
	if statuses[http.StatusServiceUnavailable] == 0 {
		t.Error("no request was answered 503 during the failover")
	}
	for _, a := range acknowledged {
		got := s.do(bearer(a.refresh), "server.refreshSession", nil)
		if got.object["did"] != a.did || got.object["handle"] != a.handle {
			t.Errorf("%s: the sign-up was acknowledged, but refreshSession is answered %s", a.handle, got.body)
		}
	}
	t.Logf("checked %d acknowledged sign-ups", len(acknowledged))
	for _, g := range apps {
		g.stillGood()
	}
}

// refreshing returns applications that have been granted access.
func (s *api) refreshing(n int) []*grantee {
	s.t.Helper()
	var all []*grantee
	for range n {
		owner, a := s.someone(), s.public("atproto")
		p := a.push()
		g := &grantee{app: a, p: p, code: a.browser().authorize(a.page(p), owner.Handle, owner.Password).Get("code")}
		g.last = a.exchange(g.code, p).tokens().refresh
		all = append(all, g)
	}
	return all
}

// refreshUntil refreshes again and again, as the store fails over.
func (g *grantee) refreshUntil(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
		g.asked = true
		out := g.app.refresh(g.last)
		switch {
		case out.status == http.StatusOK:
			g.asked, g.last = false, out.tokens().refresh
		case out.status != http.StatusServiceUnavailable && out.status != http.StatusBadGateway:
			g.app.t.Errorf("refresh: %d %s", out.status, out.body)
		}
	}
}

// stillGood checks that the latest refresh token that the application was given is good, and that
// its code is not.
func (g *grantee) stillGood() {
	g.app.t.Helper()
	next := g.app.refresh(g.last).tokens()
	if again := g.app.refresh(g.last).tokens(); again.refresh != next.refresh {
		g.app.t.Error("one refresh token has two successors")
	}
	g.app.session(next.access).ok()
	g.app.exchange(g.code, g.p).refused(400, "invalid_grant")
	g.app.session(next.access).refused(401, "invalid_token")
}
