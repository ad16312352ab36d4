package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

// process is a running standalone server.
type process struct {
	cmd *exec.Cmd
	url string
	log bytes.Buffer
}

// start starts the server on a free port and waits until it prints its address.
func start(t *testing.T, flags ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(standalone(t), append([]string{"-addr", "127.0.0.1:0", "-rate-limits", "off"}, flags...)...)}
	p.cmd.Dir = t.TempDir()
	p.cmd.Stderr = &p.log
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	first, err := bufio.NewReader(stdout).ReadString('\n')
	_, url, ok := strings.Cut(strings.TrimSpace(first), "listening on ")
	if err != nil || !ok {
		p.kill()
		t.Fatalf("the server did not start: %q %v %s", first, err, &p.log)
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	p.url = url
	return p
}

// kill ends the server with SIGKILL, as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// post calls a procedure of com.atproto.server without a token. The status is 0 if there was no
// answer.
func (p *process) post(method string, input object) (int, object) {
	return p.call(method, "", input)
}

// call calls a procedure of com.atproto.server with a token. The status is 0 if there was no
// answer.
func (p *process) call(method, token string, input object) (int, object) {
	var body io.Reader
	if input != nil {
		b, _ := json.Marshal(input)
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequest("POST", p.url+"/xrpc/com.atproto.server."+method, body)
	if err != nil {
		return 0, nil
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", bearer(token))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	var out object
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil && !errors.Is(err, io.EOF) {
		return 0, nil
	}
	return resp.StatusCode, out
}

// TestKillUnderLoad repeatedly kills a server with SIGKILL while clients sign up, create app
// passwords and log out, always on the same database. Everything that was acknowledged has to be
// there afterwards, ended sessions have to stay ended, and the database has to be consistent.
func TestKillUnderLoad(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	// What was acknowledged to a client. An empty app password or a false ended means that it is
	// unknown whether the server did it.
	type account struct {
		handle, did, refresh, app string
		ended                     bool
	}
	var mu sync.Mutex
	var acknowledged []*account
	const rounds, clients = 4, 8
	// live creates an account and uses it step by step. It returns what was acknowledged, and as
	// alive whether every step was answered.
	live := func(p *process, handle string, logout bool) (a *account, alive bool) {
		ok := func(method, token string, input object) (object, bool) {
			status, out := p.call(method, token, input)
			if status != 0 && status != http.StatusOK {
				t.Errorf("%s: %d %v", method, status, out)
			}
			return out, status == http.StatusOK
		}
		out, alive := ok("createAccount", "", object{
			"handle": handle, "email": strings.ReplaceAll(handle, ".test", "@example.com"), "password": "password",
		})
		if !alive {
			return nil, false
		}
		a = &account{handle: handle, did: out["did"].(string), refresh: out["refreshJwt"].(string)}
		made, alive := ok("createAppPassword", out["accessJwt"].(string), object{"name": "app"})
		if !alive {
			return a, false
		}
		a.app = made["password"].(string)
		if !logout {
			return a, true
		}
		token := a.refresh
		a.refresh = "" // until the answer arrives it is unknown whether the session has ended
		if _, alive = ok("deleteSession", token, nil); alive {
			a.refresh, a.ended = token, true
		}
		return a, alive
	}
	for round := range rounds {
		p := start(t, "-data", data)
		var wg sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		for c := range clients {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for n, alive := 0, true; alive; n++ {
					var a *account
					if a, alive = live(p, fmt.Sprintf("r%dc%dn%d.test", round, c, n), n%2 == 0); a == nil {
						return
					}
					mu.Lock()
					acknowledged = append(acknowledged, a)
					if len(acknowledged) >= (round+1)*20 {
						once.Do(func() { close(enough) })
					}
					mu.Unlock()
				}
			}()
		}
		select {
		case <-enough:
		case <-time.After(5 * patience):
			t.Errorf("too few sign-ups were acknowledged in time: %s", &p.log)
		}
		p.kill() // while requests are in progress
		wg.Wait()
	}

	p := start(t, "-data", data)
	apps, ended := 0, 0
	for _, a := range acknowledged {
		login := object{"identifier": a.did, "password": "password"}
		if a.app != "" {
			login["password"] = a.app
			apps++
		}
		if status, out := p.post("createSession", login); status != http.StatusOK || out["did"] != a.did || out["handle"] != a.handle {
			t.Errorf("%s: the sign-up was acknowledged, but createSession is answered %d %v", a.handle, status, out)
		}
		if a.refresh == "" {
			continue
		}
		status, out := p.call("refreshSession", a.refresh, nil)
		switch {
		case a.ended:
			ended++
			if status != http.StatusBadRequest || out["error"] != "ExpiredToken" {
				t.Errorf("%s: the logout was acknowledged, but refreshSession is answered %d %v", a.handle, status, out)
			}
		case status != http.StatusOK || out["did"] != a.did || out["handle"] != a.handle:
			t.Errorf("%s: the session was acknowledged, but refreshSession is answered %d %v", a.handle, status, out)
		}
	}
	t.Logf("acknowledged: %d sign-ups, %d app passwords, %d logouts", len(acknowledged), apps, ended)
	if apps == 0 || ended == 0 {
		t.Error("no app password or no logout was acknowledged, so the test proves nothing about them")
	}
	p.kill()
	store, err := bolt.Open(filepath.Join(data, "gatehouse.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	problems, err := storage.Check(context.Background(), store, gatehouse.Collections()...)
	if err != nil || len(problems) > 0 {
		t.Errorf("the store after the crashes: problems %v, error %v", problems, err)
	}
}

func TestStandaloneRefusesASecondProcess(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	start(t, "-data", data)
	out, err := exec.Command(standalone(t), "-addr", "127.0.0.1:0", "-data", data).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use by another process") {
		t.Errorf("a second process on the same file: %v, %s; want an error", err, out)
	}
}

func TestStandaloneStopsCleanly(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) { stopsCleanly(t, signal) })
	}
}

func stopsCleanly(t *testing.T, signal os.Signal) {
	data := t.TempDir()
	p := start(t, "-data", data)
	if status, out := p.post("createAccount", object{"handle": "alice.test", "email": "alice@example.com", "password": "a secret password"}); status != 200 {
		t.Fatalf("createAccount: %d %v", status, out)
	}
	_, out := p.post("createSession", object{"identifier": "alice.test", "password": "a secret password"})
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	log := p.log.String()
	if !strings.Contains(log, "createAccount") {
		t.Errorf("the log has no line for the request: %s", log)
	}
	for _, secret := range []string{"a secret password", out["accessJwt"].(string), out["refreshJwt"].(string), "alice@example.com"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
}

func TestStandaloneRefusesBadFlags(t *testing.T) {
	t.Parallel()
	path := standalone(t)
	for _, c := range []struct{ flags, want string }{
		{"-store nonsense", "neither bolt nor memory"},
		{"-hostname under_score", "Hostname"},
		{"-handle-domains .local", "HandleDomains"},
		{"-plc ftp://x", "-plc"},
		{"-mail nonsense", "-mail"},
		{"-trusted-proxies nonsense", "-trusted-proxies"},
		{"-rate-limits perhaps", "rate-limits"},
		{"-nonsense", "nonsense"},
	} {
		cmd := exec.Command(path, append([]string{"-addr", "127.0.0.1:0", "-data", t.TempDir()}, strings.Fields(c.flags)...)...)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v, %s; want an error with %q", c.flags, err, out, c.want)
		}
	}
}
