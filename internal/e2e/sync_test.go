package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/atclient"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// repos reads all pages of listRepos and returns the repositories and the number of pages.
func (s *api) repos(limit int) (all []object, pages int) {
	s.t.Helper()
	cursor := ""
	for {
		input := object{"limit": limit}
		if cursor != "" {
			input["cursor"] = cursor
		}
		out := s.do(nobody, "sync.listRepos", input).ok()
		pages++
		for _, r := range out["repos"].([]any) {
			all = append(all, r.(object))
		}
		next, more := out["cursor"].(string)
		if !more {
			return all, pages
		}
		if len(out["repos"].([]any)) != limit {
			s.t.Fatalf("a page that isn't the last has fewer than %d entries: %v", limit, out)
		}
		cursor = next
	}
}

// stateOf summarizes the active and status fields of a repository.
func stateOf(r object) string {
	if r["active"] == true && r["status"] == nil {
		return "active"
	}
	return fmt.Sprint(r["active"], " ", r["status"])
}

// statusOf returns the answer of getRepoStatus.
func (s *api) statusOf(id string) object {
	s.t.Helper()
	return s.do(nobody, "sync.getRepoStatus", object{"did": id}).ok()
}

// TestListReposShowsAccountStates checks that repositories are listed in order of creation with the
// states of their accounts, whatever the size of the pages.
func TestListReposShowsAccountStates(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		if all, _ := s.repos(10); len(all) != 0 {
			t.Errorf("before any sign-up, listRepos has %v", all)
		}
		want := map[string]string{}
		var order []string
		names := map[string]*gatehousetest.Account{}
		for _, name := range []string{"one", "two", "resting", "down", "both", "last"} {
			a := s.signUp(name + "23.test")
			names[name], want[a.DID] = a, "active"
			order = append(order, a.DID)
			s.Clock.Advance(time.Minute)
		}
		s.do(bearer(names["resting"].AccessJWT), "server.deactivateAccount", object{}).ok()
		s.do(bearer(names["both"].AccessJWT), "server.deactivateAccount", object{}).ok()
		s.takeDown(names["down"].DID, "case 1")
		s.takeDown(names["both"].DID, "case 2")
		want[names["resting"].DID] = "false deactivated"
		want[names["down"].DID], want[names["both"].DID] = "false takendown", "false takendown"
		check := func(when string) {
			t.Helper()
			for _, limit := range []int{1, 2, 3, 6, 1000} {
				all, pages := s.repos(limit)
				var got []string
				for _, r := range all {
					id := r["did"].(string)
					got = append(got, id)
					if stateOf(r) != want[id] || r["head"] != noCommit || r["rev"] != "2222222222222" {
						t.Errorf("%s: listed as %v, want %s", when, r, want[id])
					}
				}
				if wantPages := max(1, (len(order)+limit-1)/limit); !slices.Equal(got, order) || pages != wantPages {
					t.Errorf("%s, with the limit %d: %v on %d pages, want %v on %d", when, limit, got, pages, order, wantPages)
				}
			}
			for id, state := range want {
				if got := s.statusOf(id); got["did"] != id || stateOf(got) != state || got["rev"] != nil {
					t.Errorf("%s: %v, want %s", when, got, state)
				}
			}
		}
		check("after the sign-ups")

		// Changes and deletions take effect immediately, even between two pages.
		s.do(bearer(names["resting"].AccessJWT), "server.activateAccount", nil).ok()
		want[names["resting"].DID] = "active"
		s.lift(names["both"].DID)
		want[names["both"].DID] = "false deactivated"
		first := s.do(nobody, "sync.listRepos", object{"limit": 2}).ok()
		gone := names["two"].DID // the last of the first page, to which the cursor refers
		s.do(admin, "admin.deleteAccount", object{"did": gone}).ok()
		delete(want, gone)
		order = slices.DeleteFunc(order, func(id string) bool { return id == gone })
		second := s.do(nobody, "sync.listRepos", object{"limit": 2, "cursor": first["cursor"]}).ok()
		if got := second["repos"].([]any)[0].(object)["did"]; got != names["resting"].DID {
			t.Errorf("the next page begins with %v, want %s", got, names["resting"].DID)
		}
		check("after the changes")
		s.do(nobody, "sync.getRepoStatus", object{"did": gone}).refused(400, "RepoNotFound", "Could not find repo for DID: "+gone)
	})
}

// TestListReposFillsPages checks that a page has as many accounts as requested, up to the lexicon's
// maximum of 1000.
func TestListReposFillsPages(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	const many = 503
	for i := range many {
		s.CreateAccount(fmt.Sprintf("user%d.test", i))
	}
	for limit, pages := range map[int]int{1000: 1, many: 1, many - 1: 2} {
		if all, n := s.repos(limit); len(all) != many || n != pages {
			t.Errorf("with the limit %d: %d accounts on %d pages, want %d on %d", limit, len(all), n, many, pages)
		}
	}
	if got := len(s.do(nobody, "sync.listRepos", nil).ok()["repos"].([]any)); got != 500 {
		t.Errorf("without a limit a page has %d accounts, want 500", got)
	}
}

// noCommit is the CID that listRepos shows for repositories without a known commit.
const noCommit = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"

// TestSyncRefusesInvalidInput checks the errors for invalid parameters of listRepos and
// getRepoStatus.
func TestSyncRefusesInvalidInput(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		s.signUp("alice.test")
		for _, input := range []object{{"limit": 0}, {"limit": 1001}, {"limit": -1}, {"limit": "x"}, {"cursor": "nonsense"}, {"cursor": "%00"}} {
			s.do(nobody, "sync.listRepos", input).refused(400, "InvalidRequest")
		}
		s.do(nobody, "sync.listRepos", object{"cursor": "nonsense"}).refused(400, "InvalidRequest", "Malformed cursor")
		s.do(nobody, "sync.getRepoStatus", nil).refused(400, "InvalidRequest")
		for _, did := range []string{"alice.test", "nonsense"} {
			s.do(nobody, "sync.getRepoStatus", object{"did": did}).refused(400, "InvalidRequest")
		}
		s.do(nobody, "sync.getRepoStatus", object{"did": noSuchDID}).refused(400, "RepoNotFound", "Could not find repo for DID: "+noSuchDID)
		if got := len(s.do(nobody, "sync.listRepos", nil).ok()["repos"].([]any)); got != 1 {
			t.Errorf("listRepos without parameters has %d repositories, want 1", got)
		}
	})
}

// TestPendingSignUpsAreNotListed checks that listRepos leaves out accounts whose sign-up isn't
// complete.
func TestPendingSignUpsAreNotListed(t *testing.T) {
	t.Parallel()
	directory := newFaulty(t)
	directory.mode.Store(unreachable)
	onEach(t, func(t *testing.T, s *api) {
		a := s.do(nobody, "server.createAccount", object{"handle": "alice.test", "email": "alice@example.com", "password": "password"})
		if a.status < 500 {
			t.Fatalf("the sign-up isn't pending: %d %s", a.status, a.body)
		}
		s.do(nobody, "server.createAccount", object{"handle": "alice.test", "email": "bob@example.com", "password": "password"}).
			refused(400, "HandleNotAvailable") // the pending sign-up holds the handle
		if all, pages := s.repos(1); len(all) != 0 || pages != 1 {
			t.Errorf("listRepos has %v on %d pages, want nothing on one", all, pages)
		}
	}, config(func(c *gatehouse.Config) { c.DIDs.Directory = directory }))
}

// TestRepoStatusComesFromTheEmbedder checks that head and rev come from Config.RepoStatus.
func TestRepoStatusComesFromTheEmbedder(t *testing.T) {
	t.Parallel()
	const commit, rev = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua", "3kabcdefghijk"
	var vanished, failing string
	status := func(_ context.Context, id syntax.DID) (xrpc.RepoStatus, error) {
		switch id.String() {
		case vanished:
			return xrpc.RepoStatus{}, fmt.Errorf("no repository: %w", accounts.ErrNotFound)
		case failing:
			return xrpc.RepoStatus{}, fmt.Errorf("the disk is on fire")
		}
		return xrpc.RepoStatus{Commit: commit, Rev: rev}, nil
	}
	s := newAPI(t, config(func(c *gatehouse.Config) { c.RepoStatus = status }))
	alice, bob := s.signUp("alice.test"), s.signUp("bob.test")
	s.Clock.Advance(time.Minute) // accounts are listed in order of creation
	carol := s.signUp("carol.test")
	s.do(bearer(carol.AccessJWT), "server.deactivateAccount", object{}).ok()
	vanished = bob.DID
	all, _ := s.repos(10)
	if len(all) != 2 || all[0]["did"] != alice.DID || all[0]["head"] != commit || all[0]["rev"] != rev || all[1]["did"] != carol.DID {
		t.Errorf("listRepos: %v", all)
	}
	if got := s.statusOf(alice.DID); got["rev"] != rev {
		t.Errorf("getRepoStatus of an active account: %v", got)
	}
	if got := s.statusOf(carol.DID); got["rev"] != nil || got["status"] != "deactivated" {
		t.Errorf("getRepoStatus of a deactivated account: %v", got)
	}
	s.do(nobody, "sync.getRepoStatus", object{"did": bob.DID}).refused(400, "RepoNotFound")
	failing = alice.DID
	s.do(nobody, "sync.listRepos", nil).refused(500, "InternalServerError", "Internal Server Error")
	s.do(nobody, "sync.getRepoStatus", object{"did": alice.DID}).refused(500, "InternalServerError", "Internal Server Error")
}

// TestFallbackServesSyncMethods checks that the embedder's Fallback can serve sync methods in place
// of Gatehouse.
func TestFallbackServesSyncMethods(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) {
		c.LeaveToFallback = []string{"com.atproto.sync.listRepos"}
		c.Fallback = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"repos":[],"cursor":%q}`, strings.TrimPrefix(r.URL.Path, "/xrpc/com.atproto."))
		})
	}))
	alice := s.signUp("alice.test")
	if got := s.do(nobody, "sync.listRepos", nil).ok()["cursor"]; got != "sync.listRepos" {
		t.Errorf("listRepos was answered by %v", got)
	}
	if got := s.statusOf(alice.DID); got["active"] != true {
		t.Errorf("getRepoStatus, which isn't left to the Fallback: %v", got)
	}
}

// TestListReposIsRateLimited checks that listRepos, whose pages can be long, has a lower limit than
// getRepoStatus.
func TestListReposIsRateLimited(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) { c.Limits.Limiter = nil }))
	for range 300 {
		s.do(nobody, "sync.listRepos", nil).ok()
	}
	s.do(nobody, "sync.listRepos", nil).refused(429, "RateLimitExceeded")
	s.do(nobody, "sync.getRepoStatus", object{"did": noSuchDID}).refused(400, "RepoNotFound")
}

// TestGoatsClientCanListAccounts makes the calls of `goat pds account list`, `goat pds admin
// account list` and `goat account status` with goat's client, also with an admin's password.
func TestGoatsClientCanListAccounts(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *api) {
		alice, carol := s.signUp("alice.test"), s.signUp("carol.test")
		s.takeDown(carol.DID, "case 1")
		for name, client := range map[string]*atclient.APIClient{
			"nobody": atclient.NewAPIClient(s.URL), "an admin": atclient.NewAdminClient(s.URL, gatehousetest.AdminPassword),
		} {
			listed := map[string]string{}
			for cursor := ""; ; {
				page, err := atproto.SyncListRepos(t.Context(), client, cursor, 500)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				for _, r := range page.Repos {
					listed[r.Did] = "active"
					if r.Active == nil || !*r.Active {
						listed[r.Did] = *r.Status
					}
				}
				if page.Cursor == nil || *page.Cursor == "" {
					break
				}
				cursor = *page.Cursor
			}
			if len(listed) != 2 || listed[alice.DID] != "active" || listed[carol.DID] != "takendown" {
				t.Errorf("%s: %v", name, listed)
			}
			status, err := atproto.SyncGetRepoStatus(t.Context(), client, carol.DID)
			if err != nil || status.Active || status.Status == nil || *status.Status != "takendown" {
				t.Errorf("%s: %+v, %v", name, status, err)
			}
		}
	})
}
