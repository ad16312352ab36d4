package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/storage"
)

// apps returns an application once for each process of a fleet: each reaches the server by way of
// another process.
func (f *fleet) apps(a *oauthApp) []*oauthApp {
	var all []*oauthApp
	for _, p := range f.all {
		all = append(all, a.at(p.url))
	}
	return all
}

// TestOAuthInSeveralProcesses has an application and a browser talk to another process at each
// step. Processes with one store are one server: they take each other's nonces, requests, cookies,
// forms, codes and tokens, and refuse what was used at another one.
func TestOAuthInSeveralProcesses(t *testing.T) {
	t.Parallel()
	f := startFleet(t, "-public-url", publicURL)
	_, made := f.do(0, nobody, "createAccount", object{"handle": "alice.test", "email": "alice@example.com", "password": "password"})
	if made["did"] == nil {
		t.Fatalf("createAccount: %v", made)
	}
	for name, a := range map[string]*oauthApp{
		"public":       publicApp(t, publicURL, nil, time.Now, "atproto identity:handle"),
		"confidential": confidentialApp(t, publicURL, nil, time.Now, "atproto identity:handle"),
	} {
		t.Run(name, func(t *testing.T) {
			a.t = t
			all := f.apps(a)
			// One process hands out a nonce, and the others take it.
			all[0].once(all[0].form("/oauth/par", url.Values{})).refused(400, "use_dpop_nonce")
			nonce := all[0].nonceOf(publicURL)
			for _, a := range all {
				a.learn(publicURL, nonce)
			}
			p := all[1].push()
			b := all[2].browser()
			page := b.open(a.page(p))
			page = b.via(all[0].client).submit(page, "sign-in", url.Values{"identifier": {"alice.test"}, "password": {"password"}})
			code := b.via(all[1].client).agree(page).Get("code")
			b.via(all[2].client).open(a.page(p)).notFound(t)
			k := all[0].exchange(code, p).tokens()
			for _, a := range all {
				a.session(k.access).ok()
			}
			usedOnce(t, all, k)
			racedAcross(t, f, all, k)
		})
	}
	// What they sign, each of them verifies, and so can everybody: the keys are shared.
	var keys string
	for i, p := range f.all {
		req, err := http.NewRequest(http.MethodGet, p.url+"/oauth/jwks", nil)
		if err != nil {
			t.Fatal(err)
		}
		out := fetched(t, http.DefaultClient, req)
		if set, _ := out.object["keys"].([]any); out.status != http.StatusOK || len(set) != 1 {
			t.Fatalf("the keys of process %d: %d %s", i, out.status, out.body)
		}
		if keys == "" {
			keys = string(out.body)
		}
		if string(out.body) != keys {
			t.Errorf("the keys of process %d: %s, want %s", i, out.body, keys)
		}
	}
}

// usedOnce sends proofs and assertions to one process that were used at another.
func usedOnce(t *testing.T, all []*oauthApp, k tokens) {
	t.Helper()
	// At a method that changes something.
	post := call{
		verb: http.MethodPost, url: publicURL + "/xrpc/com.atproto.identity.updateHandle", token: k.access,
		header: http.Header{"Content-Type": {"application/json"}}, body: jsonOf(t, object{"handle": "alice.test"}),
	}
	post.proof = all[0].prove(post)
	all[0].once(post).ok()
	all[1].once(post).refused(401, "invalid_dpop_proof", "The DPoP proof was used before")
	// At the authorization server.
	junk := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"junk"}, "token": {"junk"}}
	for _, e := range []struct {
		path   string
		params func() url.Values
		status int
	}{
		{"/oauth/par", all[0].request, 201},
		{"/oauth/revoke", func() url.Values { return junk }, 200},
	} {
		first := all[0].form(e.path, e.params())
		first.proof = all[0].prove(first)
		if out := all[0].once(first); out.status != e.status {
			t.Fatalf("%s: %d %s", e.path, out.status, out.body)
		}
		replay := all[1].form(e.path, e.params()) // with another assertion
		replay.proof = first.proof
		all[1].once(replay).refused(400, "invalid_dpop_proof")
		if first.proof = ""; all[0].auth != nil { // another proof, with the assertion of before
			all[2].once(first).refused(401, "invalid_client")
		}
	}
}

// racedAcross uses one code and one refresh token in all processes at once, and a refresh token in
// one that was used in another long ago.
func racedAcross(t *testing.T, f *fleet, all []*oauthApp, k tokens) {
	t.Helper()
	const n = 30
	successors := map[string]bool{}
	counts, answers := f.race(n, func(i int) (int, object) {
		out := all[i%len(all)].refresh(k.refresh)
		return out.status, out.object
	})
	var next string
	for _, out := range answers {
		next, _ = out["refresh_token"].(string)
		successors[next] = true
	}
	if counts[""] != n || len(successors) != 1 {
		t.Errorf("one refresh token: %v with %d successors, want %d successes with one successor", counts, len(successors), n)
	}
	letGracePass(t, f.base)
	all[1].refresh(k.refresh).refused(400, "invalid_grant")
	all[2].refresh(next).refused(400, "invalid_grant")

	p := all[0].push()
	b := all[1].browser()
	shown := b.open(all[1].page(p))
	if shown.forms["sign-in"] != nil {
		shown = b.submit(shown, "sign-in", url.Values{"identifier": {"alice.test"}, "password": {"password"}})
	}
	code := b.agree(shown).Get("code")
	counts, _ = f.race(n, func(i int) (int, object) {
		out := all[i%len(all)].exchange(code, p)
		return out.status, out.object
	})
	if counts[""] != 1 || counts["invalid_grant"] != n-1 {
		t.Errorf("one code: %v, want one success", counts)
	}
}

// letGracePass ends the grace period of all refresh tokens in a store.
func letGracePass(t *testing.T, url string) {
	t.Helper()
	store := openPostgres(t, url)
	defer store.Close()
	err := store.Update(t.Context(), func(tx storage.Tx) error {
		var changed []storage.Document
		for r, err := range tx.Scan("sessions", storage.Range{Entries: true}) {
			if err != nil {
				return err
			}
			var session object
			if err := json.Unmarshal(r.Value, &session); err != nil {
				return err
			}
			old, _ := session["replaced"].([]any)
			if len(old) > 0 {
				session["replaced"] = []int64{time.Now().Add(-time.Second).UnixMilli()} // as one that was used long ago has it
				changed = append(changed, storage.Document{Key: r.Key, Value: jsonOf(t, session), Entries: r.Entries})
			}
		}
		for _, d := range changed {
			if err := tx.Put("sessions", d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
