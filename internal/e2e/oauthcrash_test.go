package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
)

// publicURL is where clients find a server whose processes come and go at other addresses.
const publicURL = "http://localhost:4000"

// restarting is a standalone server that is killed and started again, always on the same database.
type restarting struct {
	*process
	t     *testing.T
	flags []string
	logs  strings.Builder // of the processes before
}

func startRestarting(t *testing.T, flags ...string) *restarting {
	t.Helper()
	r := &restarting{t: t, flags: append([]string{"-public-url", publicURL}, flags...)}
	r.process = start(t, r.flags...)
	return r
}

// again kills the server and starts it anew.
func (r *restarting) again() {
	r.t.Helper()
	r.kill()
	r.logs.WriteString(r.log.String())
	r.process = start(r.t, r.flags...)
}

// app returns a client of the server as it runs now.
func (r *restarting) app(scope string) *oauthApp {
	return publicApp(r.t, publicURL, reach(publicURL, r.url), time.Now, scope)
}

func (p *process) signUp(t *testing.T, handle string) {
	t.Helper()
	if status, out := p.post("createAccount", object{"handle": handle, "email": handle + "@example.com", "password": "password"}); status != http.StatusOK {
		t.Fatalf("createAccount: %d %v", status, out)
	}
}

// TestKillBetweenStepsOfOAuth kills the server with SIGKILL between any two steps of an
// application, of the browser and of the owner. Each goes on where it was.
func TestKillBetweenStepsOfOAuth(t *testing.T) {
	t.Parallel()
	s := startRestarting(t, "-data", t.TempDir())
	s.signUp(t, "alice.test")
	a, spy := s.app("atproto"), &secrets{}
	a.spy = spy
	b := a.browser()
	restart := func() {
		s.again()
		a = a.at(s.url)
		b = b.via(a.client)
	}
	nonce := func(when string, use func() *answer) *answer {
		t.Helper()
		known := a.nonceOf(publicURL)
		out := use()
		if out.object["error"] == "use_dpop_nonce" {
			t.Errorf("%s: the nonce %s of before the restart was refused", when, known)
		}
		return out
	}
	p := a.push()
	restart()
	page := b.open(a.page(p))
	restart()
	page = b.submit(page, "sign-in", url.Values{"identifier": {"alice.test"}, "password": {"password"}, "remember": {"1"}})
	restart()
	code := b.agree(page).Get("code")
	restart()
	k := nonce("exchange", func() *answer { return a.once(a.form("/oauth/token", a.exchangeParams(code, p))) }).tokens()
	a.session(k.access).ok()
	restart()
	a.session(k.access).ok()
	refresh := func() *answer {
		return a.once(a.form("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {k.refresh}}))
	}
	first := nonce("refresh", refresh).tokens()
	restart()
	// The client doesn't know the answer: it tries again.
	second := refresh().tokens()
	if second.refresh != first.refresh || jti(t, second.access) != jti(t, first.access) {
		t.Errorf("the retry of a refresh got other tokens than the first try")
	}
	a.session(k.access).refused(401, "invalid_token")
	a.session(second.access).ok()
	// The browser is remembered.
	restart()
	p = a.push()
	page = b.open(a.page(p))
	if page.forms["sign-in"] != nil {
		t.Errorf("a remembered browser has to sign in after a restart")
	}
	third := a.exchange(b.agree(page).Get("code"), p).tokens()
	// What was used stays used.
	restart()
	a.exchange(code, p).refused(400, "invalid_grant")
	a.session(second.access).refused(401, "invalid_token")
	a.session(third.access).ok()
	revocation := a.form("/oauth/revoke", url.Values{"token": {third.access}})
	revocation.proof = a.prove(revocation)
	a.send(revocation).ok()
	restart()
	a.session(third.access).refused(401, "invalid_token")
	a.send(revocation).refused(400, "invalid_dpop_proof")
	s.again()
	if log := s.logs.String(); !strings.Contains(log, "used twice") {
		t.Errorf("the log says nothing of the code that was used again: %s", log)
	} else {
		spy.in(t, "the log", log)
	}
}

// grantee is what one client knows about its session, whatever happens to the server.
type grantee struct {
	app  *oauthApp
	code string
	p    pushed
	// last is the refresh token that the client has, and asked whether it has tried to use it without
	// having been answered. An empty one means that the exchange of the code wasn't answered.
	last  string
	asked bool
}

// TestKillDuringExchangesAndRefreshes kills the server with SIGKILL while clients exchange codes
// and refresh tokens. No tokens that a client has been given are lost, nor those that it hasn't,
// and no code is good for two sessions.
func TestKillDuringExchangesAndRefreshes(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := startRestarting(t, "-data", data)
	const rounds, clients, refreshes = 3, 4, 3
	browsers := make([]*browser, clients)
	for c := range clients {
		s.signUp(t, fmt.Sprintf("owner%d.test", c))
	}
	var mu sync.Mutex
	var all []*grantee
	for round := range rounds {
		var wg sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		for c := range clients {
			wg.Add(1)
			go func() {
				defer wg.Done()
				a := s.app("atproto")
				if browsers[c] == nil {
					browsers[c] = a.browser()
				}
				b := browsers[c].via(a.client)
				for {
					g := begin(a, b, fmt.Sprintf("owner%d.test", c))
					if g == nil {
						return
					}
					mu.Lock()
					all = append(all, g)
					if len(all) >= (round+1)*10 {
						once.Do(func() { close(enough) })
					}
					mu.Unlock()
					if !g.live(refreshes) {
						return
					}
				}
			}()
		}
		select {
		case <-enough:
		case <-time.After(5 * patience):
			t.Errorf("too few codes were handed out in time: %s", &s.log)
		}
		s.kill() // while requests are in progress
		wg.Wait()
		s.process = start(t, s.flags...)
	}
	exchanged, unanswered := 0, 0
	for _, g := range all {
		a := g.app.at(s.url)
		if g.last == "" {
			out := a.exchange(g.code, g.p)
			if unanswered++; out.status == http.StatusOK {
				g.last = out.tokens().refresh
			} else { // it was exchanged, so that the second time has ended the session
				out.refused(400, "invalid_grant")
				continue
			}
		}
		exchanged++
		if g.asked {
			unanswered++
		}
		g.app = a
		g.stillGood()
	}
	t.Logf("%d codes, %d exchanged, %d requests without an answer", len(all), exchanged, unanswered)
	if exchanged == 0 {
		t.Error("no exchange was acknowledged, so the test proves nothing")
	}
	s.kill()
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

// begin gets a code for a client. It returns nil if the server is gone.
func begin(a *oauthApp, b *browser, owner string) *grantee {
	out, p := a.tryPush()
	if out.status != http.StatusCreated {
		return nil
	}
	shown := b.open(a.page(p))
	if shown.forms["sign-in"] != nil {
		shown = b.submit(shown, "sign-in", url.Values{"identifier": {owner}, "password": {"password"}, "remember": {"1"}})
	}
	if shown.forms["accept"] == nil {
		return nil
	}
	back := b.submit(shown, "accept", nil).back
	if back == nil {
		return nil
	}
	return &grantee{app: a, code: back.Get("code"), p: p}
}

// live exchanges the code, and refreshes some times. It reports whether every request was answered.
func (g *grantee) live(refreshes int) bool {
	out := g.app.exchange(g.code, g.p)
	if out.status == 0 {
		return false
	}
	g.last = out.tokens().refresh
	for range refreshes {
		g.asked = true
		if out = g.app.refresh(g.last); out.status == 0 {
			return false
		}
		g.asked, g.last = false, out.tokens().refresh
	}
	return true
}
