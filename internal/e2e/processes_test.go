package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
)

// fleet is a number of server processes on one database.
type fleet struct {
	t    *testing.T
	all  []*process
	base string
}

// newFleet returns a fleet without processes.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	return &fleet{t: t, base: pgcluster.URL(t)}
}

// startFleet returns a fleet of three processes.
func startFleet(t *testing.T, flags ...string) *fleet {
	t.Helper()
	f := newFleet(t)
	f.start(3, flags...)
	return f
}

// start starts n more processes.
func (f *fleet) start(n int, flags ...string) {
	f.t.Helper()
	for range n {
		f.all = append(f.all, start(f.t, append([]string{"-store", f.base, "-admin-password", "admin-password"}, flags...)...))
	}
}

// do calls a method in the i-th process.
func (f *fleet) do(i int, who, method string, input object) (int, object) {
	f.t.Helper()
	var body *bytes.Reader
	if input == nil {
		body = bytes.NewReader(nil)
	} else {
		b, err := json.Marshal(input)
		if err != nil {
			f.t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	verb := http.MethodPost
	if strings.HasPrefix(method, "get") {
		verb = http.MethodGet
	}
	req, err := http.NewRequest(verb, f.all[i%len(f.all)].url+"/xrpc/com.atproto.server."+method, body)
	if err != nil {
		f.t.Fatal(err)
	}
	if input != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if who != nobody {
		req.Header.Set("Authorization", who)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Error(err)
		return 0, nil
	}
	defer resp.Body.Close()
	var out object
	_ = json.NewDecoder(resp.Body).Decode(&out)
	return resp.StatusCode, out
}

// race makes n calls at once and counts the answers by error name, which is "" for a success.
func (f *fleet) race(n int, call func(i int) (int, object)) (counts map[string]int, answers []object) {
	counts = map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			status, out := call(i)
			name, _ := out["error"].(string)
			if status == http.StatusOK {
				name = ""
			}
			mu.Lock()
			defer mu.Unlock()
			counts[name]++
			answers = append(answers, out)
		}()
	}
	wg.Wait()
	return counts, answers
}

// TestSeveralProcessesOnOneDatabase races several processes for what only one caller can have, and
// checks that what happens in one process holds in the others.
func TestSeveralProcessesOnOneDatabase(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	sign := func(name string) object {
		return object{"handle": name + ".test", "email": name + "@example.com", "password": "password"}
	}
	// A race for one handle.
	counts, _ := f.race(30, func(i int) (int, object) {
		in := sign("wanted")
		in["email"] = fmt.Sprintf("racer%d@example.com", i)
		return f.do(i, nobody, "createAccount", in)
	})
	if counts[""] != 1 || counts["HandleNotAvailable"] != 29 {
		t.Errorf("one handle: %v", counts)
	}
	// A race for one invite code.
	_, made := f.do(0, admin, "createInviteCode", object{"useCount": 1})
	counts, _ = f.race(30, func(i int) (int, object) {
		in := sign(fmt.Sprintf("invited%d", i))
		in["inviteCode"] = made["code"]
		return f.do(i, nobody, "createAccount", in)
	})
	if counts[""] != 1 || counts["InvalidInviteCode"] != 29 {
		t.Errorf("one invite code: %v", counts)
	}
	// A race with one refresh token.
	_, alice := f.do(0, nobody, "createAccount", sign("alice"))
	counts, answers := f.race(30, func(i int) (int, object) {
		return f.do(i, bearer(alice["refreshJwt"].(string)), "refreshSession", nil)
	})
	successors := map[string]bool{}
	for _, out := range answers {
		if token, ok := out["refreshJwt"].(string); ok {
			successors[jti(t, token)] = true
		}
	}
	if counts[""] != 30 || len(successors) != 1 {
		t.Errorf("one refresh token: %v with %d successors, want 30 successes with one successor", counts, len(successors))
	}
	// A session that ends in one process has ended in the others.
	access := bearer(alice["accessJwt"].(string))
	for i := range f.all {
		if status, out := f.do(i, access, "getSession", nil); status != 200 {
			t.Errorf("process %d: %d %v", i, status, out)
		}
	}
	f.do(1, bearer(alice["refreshJwt"].(string)), "deleteSession", nil)
	for i := range f.all {
		if status, out := f.do(i, access, "getSession", nil); out["error"] != "ExpiredToken" {
			t.Errorf("process %d after the logout: %d %v", i, status, out)
		}
	}
	// What a process wrote before it was killed isn't lost.
	_, bob := f.do(2, nobody, "createAccount", sign("bob"))
	f.all[2].kill()
	f.all = f.all[:2]
	for i := range f.all {
		if status, out := f.do(i, bearer(bob["accessJwt"].(string)), "getSession", nil); status != 200 {
			t.Errorf("process %d after another was killed: %d %v", i, status, out)
		}
	}
}

func TestProcessesCountRateLimitsTogether(t *testing.T) {
	t.Parallel()
	f := startFleet(t, "-rate-limits", "shared")
	counts, _ := f.race(45, func(i int) (int, object) {
		return f.do(i, nobody, "createSession", object{"identifier": "nobody.test", "password": "wrong"})
	})
	if counts["AuthenticationRequired"] != 30 || counts["RateLimitExceeded"] != 15 {
		t.Errorf("45 logins: %v; want 30 tried and 15 over the limit", counts)
	}
}

// TestBackgroundWorkFailsOver kills the process that does the background work and checks that
// another one takes over once the lease has expired, and does the work that is due.
func TestBackgroundWorkFailsOver(t *testing.T) {
	t.Parallel()
	const option, value = "-min-deletion-delay", "1ms"
	f := newFleet(t)
	f.start(1, option, value)
	store := openPostgres(t, f.base)
	closing(t, store)
	type lease struct {
		Name      string    `json:"name"`
		Holder    string    `json:"holder"`
		ExpiresAt time.Time `json:"expiresAt"`
	}
	read := func(tx storage.Tx) (l lease, err error) {
		doc, err := tx.Get("leases", "maintenance")
		if err == nil {
			err = json.Unmarshal(doc, &l)
		}
		return l, err
	}
	holder := func() (who string) {
		t.Helper()
		err := store.View(t.Context(), func(tx storage.Tx) error {
			l, err := read(tx)
			if errors.Is(err, storage.ErrNotFound) {
				err = nil
			}
			who = l.Holder
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return who
	}
	for holder() == "" { // the first process acquires the lease after it has started
		time.Sleep(10 * time.Millisecond)
	}
	f.start(2, option, value)
	_, alice := f.do(1, nobody, "createAccount", object{"handle": "alice.test", "email": "alice@example.com", "password": "password"})
	first := holder()
	f.all[0].kill()
	f.all = f.all[1:]
	due := object{"deleteAfter": time.Now().UTC().Format(time.RFC3339)}
	if status, out := f.do(0, bearer(alice["accessJwt"].(string)), "deactivateAccount", due); status != http.StatusOK {
		t.Fatalf("deactivateAccount: %d %v", status, out)
	}
	if now := holder(); now != first {
		t.Fatalf("%s took over from %s, whose lease had not expired", now, first)
	}
	// Let the lease expire.
	err := store.Update(t.Context(), func(tx storage.Tx) error {
		l, err := read(tx)
		if err != nil {
			return err
		}
		l.ExpiresAt = time.Now().Add(-time.Second)
		doc, err := json.Marshal(l)
		if err != nil {
			return err
		}
		return tx.Put("leases", storage.Document{Key: l.Name, Value: doc})
	})
	if err != nil {
		t.Fatal(err)
	}
	for tries := 0; ; tries++ { // processes try to acquire the lease every ten seconds
		if status, _ := f.do(0, bearer(alice["accessJwt"].(string)), "getSession", nil); status == http.StatusForbidden {
			break
		}
		if tries == 3000 {
			t.Fatal("no process took over the background work of the killed one")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if now := holder(); now == first {
		t.Errorf("%s was killed but still holds the lease", now)
	}
}

// TestRoundTrips limits the round trips to the database of the most frequent calls.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	store := openPostgres(t, pgcluster.URL(t))
	s := newAPI(t, withStore(closing(t, store)))
	alice := s.signUp("alice.test")
	app := s.do(bearer(alice.AccessJWT), "server.createAppPassword", object{"name": "app"}).text("password")
	refresh := alice.RefreshJWT
	for _, c := range []struct {
		name string
		most uint64
		run  func()
	}{
		{"getSession", 1, func() { s.do(bearer(alice.AccessJWT), "server.getSession", nil).ok() }},
		{"refreshSession", 3, func() { refresh = s.do(bearer(refresh), "server.refreshSession", nil).text("refreshJwt") }},
		{"app-password login", 6, func() { s.login(alice.Handle, app).ok() }},
	} {
		// Take the minimum: some calls also prepare statements or check idle connections.
		least := ^uint64(0)
		for tries := 0; tries < 5 || least > c.most && tries < 500; tries++ {
			before := store.Stats().RoundTrips
			c.run()
			least = min(least, store.Stats().RoundTrips-before)
		}
		t.Logf("%s: %d round trips", c.name, least)
		if least > c.most {
			t.Errorf("%s takes %d round trips, want at most %d", c.name, least, c.most)
		}
	}
}

// TestDatabaseRestart kills PostgreSQL while the server runs: requests are answered 503 meanwhile,
// and work again once PostgreSQL is back, without a restart of the server.
func TestDatabaseRestart(t *testing.T) {
	t.Parallel()
	database := pgcluster.Start(t)
	store := openPostgres(t, pgcluster.WithSchema(t, database.URL()))
	t.Cleanup(func() { store.Close() })
	s := newAPI(t, withStore(store))
	alice := s.signUp("alice.test")
	get := func() *answer { return s.do(bearer(alice.AccessJWT), "server.getSession", nil) }
	get().ok()
	if err := database.Kill(); err != nil {
		t.Fatal(err)
	}
	a := get()
	a.refused(503, "ServiceUnavailable")
	if a.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	if err := database.Start(); err != nil {
		t.Fatal(err)
	}
	for tries := 0; get().status != 200; tries++ {
		if tries == 100 {
			t.Fatal("the server did not recover after 100 requests")
		}
	}
	s.login(alice.Handle, alice.Password).ok()
}

// TestCopyBetweenBackends copies a server's data from bbolt to PostgreSQL and back.
func TestCopyBetweenBackends(t *testing.T) {
	t.Parallel()
	path := standalone(t)
	url, dir := pgcluster.URL(t), t.TempDir()
	first, second := "bolt:"+filepath.Join(dir, "first.db"), "bolt:"+filepath.Join(dir, "second.db")
	p := start(t, "-store", first)
	status, alice := p.post("createAccount", object{"handle": "alice.test", "email": "alice@example.com", "password": "password"})
	if status != 200 {
		t.Fatalf("createAccount: %d %v", status, alice)
	}
	p.kill()
	for _, c := range [][2]string{{first, url}, {url, second}} {
		out, err := exec.Command(path, "copy", c[0], c[1]).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "copied and verified") {
			t.Fatalf("copy %s %s: %v %s", c[0], c[1], err, out)
		}
		p := start(t, "-store", c[1])
		status, out2 := p.post("createSession", object{"identifier": "alice.test", "password": "password"})
		if status != 200 || out2["did"] != alice["did"] {
			t.Errorf("after the copy to %s: %d %v", c[1], status, out2)
		}
		p.kill()
	}
	out, err := exec.Command(path, "copy", first, url).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not empty") {
		t.Errorf("a copy to a store that is not empty: %v %s", err, out)
	}
	// A store that doesn't exist is an error, and isn't created.
	missing := filepath.Join(dir, "missing.db")
	for _, args := range [][]string{
		{"copy", "bolt:" + missing, "bolt:" + filepath.Join(dir, "third.db")},
		{"copy", pgcluster.URL(t), "bolt:" + filepath.Join(dir, "third.db")},
		{"check", "-store", "bolt:" + missing},
		{"check", "-data", missing},
	} {
		if out, err := exec.Command(path, args...).CombinedOutput(); err == nil {
			t.Errorf("%v succeeded, want an error: %s", args, out)
		}
		if _, err := os.Stat(missing); err == nil {
			t.Errorf("%v created %s", args, missing)
		}
	}
	if out, err := exec.Command(path, "check", "-store", url).CombinedOutput(); err != nil || !strings.Contains(string(out), "consistent") {
		t.Errorf("check: %v %s", err, out)
	}
	problems, err := storage.Check(context.Background(), closing(t, openPostgres(t, url)), gatehouse.Collections()...)
	if err != nil || len(problems) > 0 {
		t.Errorf("the copied store is inconsistent: %v, %v", problems, err)
	}
}
