package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

// binDir holds the server that the tests build, and goes when they end.
var binDir string

func TestMain(m *testing.M) {
	var err error
	if binDir, err = os.MkdirTemp("", "gatehouse-e2e-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(binDir)
	pgcluster.Main(m)
	if whole() {
		if missing := provoked.missing(); len(missing) > 0 {
			fmt.Println("FAIL: declared errors that no test provokes:", missing)
			os.RemoveAll(binDir)
			os.Exit(1)
		}
	}
}

// standalone builds the operator's server once.
var standalone = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binDir, "standalone")
	out, err := exec.Command("go", "build", "-o", path, "../../examples/standalone").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the server: %w: %s", err, out)
	}
	return path, nil
})

// process is a running standalone server.
type process struct {
	cmd *exec.Cmd
	url string
	log bytes.Buffer
}

// start runs the server on a free port and waits until it says where it listens.
func start(t *testing.T, flags ...string) *process {
	t.Helper()
	path, err := standalone()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(path, append([]string{"-addr", "127.0.0.1:0", "-rate-limits", "off"}, flags...)...)}
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

// kill ends the server as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// post calls a procedure; it returns status 0 if there was no answer.
func (p *process) post(method string, input object) (int, object) {
	body, _ := json.Marshal(input)
	resp, err := http.Post(p.url+"/xrpc/com.atproto.server."+method, "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	var out object
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return 0, nil
	}
	return resp.StatusCode, out
}

// TestKillUnderLoad kills a server with kill -9 while many sign up, several times over on
// one database: whatever was acknowledged is there, and the file is consistent.
func TestKillUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	data := t.TempDir()
	type account struct{ handle, did, refresh string }
	var mu sync.Mutex
	var acknowledged []account
	const rounds, clients = 4, 8
	for round := range rounds {
		p := start(t, "-data", data)
		var wg sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		for c := range clients {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for n := 0; ; n++ {
					handle := fmt.Sprintf("r%dc%dn%d.test", round, c, n)
					status, out := p.post("createAccount", object{
						"handle": handle, "email": strings.ReplaceAll(handle, ".test", "@example.com"), "password": "password",
					})
					if status == 0 {
						return // killed
					}
					if status != http.StatusOK {
						t.Errorf("createAccount: %d %v", status, out)
						return
					}
					mu.Lock()
					acknowledged = append(acknowledged, account{handle, out["did"].(string), out["refreshJwt"].(string)})
					if len(acknowledged) >= (round+1)*20 {
						once.Do(func() { close(enough) })
					}
					mu.Unlock()
				}
			}()
		}
		select {
		case <-enough:
		case <-time.After(time.Minute):
			t.Errorf("too slow: %s", &p.log)
		}
		p.kill() // in the midst of requests
		wg.Wait()
	}
	t.Logf("%d sign-ups acknowledged", len(acknowledged))

	p := start(t, "-data", data)
	for _, a := range acknowledged {
		req, _ := http.NewRequest("POST", p.url+"/xrpc/com.atproto.server.refreshSession", nil)
		req.Header.Set("Authorization", "Bearer "+a.refresh)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var out object
		err = json.NewDecoder(resp.Body).Decode(&out)
		resp.Body.Close()
		if err != nil || out["did"] != a.did || out["handle"] != a.handle {
			t.Errorf("%s was acknowledged and is %v (%v)", a.handle, out, err)
		}
	}
	p.kill()
	store, err := bolt.Open(filepath.Join(data, "gatehouse.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	problems, err := storage.Check(context.Background(), store, gatehouse.Collections()...)
	if err != nil || len(problems) > 0 {
		t.Errorf("after the crashes: %v, %v", problems, err)
	}
}

func TestStandaloneRefusesASecondProcess(t *testing.T) {
	data := t.TempDir()
	start(t, "-data", data)
	path, err := standalone()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "-addr", "127.0.0.1:0", "-data", data).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use by another process") {
		t.Errorf("a second process on one file: %v, %s", err, out)
	}
}

func TestStandaloneStopsCleanly(t *testing.T) {
	data := t.TempDir()
	p := start(t, "-data", data)
	if status, out := p.post("createAccount", object{"handle": "alice.test", "email": "alice@example.com", "password": "a secret password"}); status != 200 {
		t.Fatalf("createAccount: %d %v", status, out)
	}
	_, out := p.post("createSession", object{"identifier": "alice.test", "password": "a secret password"})
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
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
	path, err := standalone()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ flags, want string }{
		{"-store nonsense", "neither bolt nor memory"},
		{"-hostname under_score", "Hostname"},
		{"-handle-domains .local", "HandleDomains"},
		{"-plc ftp://x", "PLC"},
		{"-mail nonsense", "-mail"},
		{"-trusted-proxies nonsense", "TrustedProxies"},
		{"-rate-limits perhaps", "rate-limits"},
		{"-nonsense", "nonsense"},
	} {
		cmd := exec.Command(path, append([]string{"-addr", "127.0.0.1:0", "-data", t.TempDir()}, strings.Fields(c.flags)...)...)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v, %s; want %q", c.flags, err, out, c.want)
		}
	}
}
