package gatehouse_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// TestServersWithTheSameRoutes starts servers in one process, which share the mux of their handlers
// if their paths are the same. Each has to answer for itself.
func TestServersWithTheSameRoutes(t *testing.T) {
	elsewhere := gatehousetest.WithConfig(func(c *gatehouse.Config) { c.Pages.AccountPath = "/me" })
	servers := []*gatehousetest.Server{gatehousetest.NewServer(t), gatehousetest.NewServer(t), gatehousetest.NewServer(t, elsewhere)}
	get := func(srv *gatehousetest.Server, path string, answer any) int {
		t.Helper()
		resp, err := srv.Client().Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if answer != nil {
			if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
		return resp.StatusCode
	}
	keys := map[string]bool{}
	for i, srv := range servers {
		var metadata struct{ Issuer string }
		if get(srv, "/.well-known/oauth-authorization-server", &metadata); metadata.Issuer != srv.URL {
			t.Errorf("server %d answers for %s", i, metadata.Issuer)
		}
		var set struct{ Keys []struct{ Kid string } }
		if get(srv, "/oauth/jwks", &set); len(set.Keys) != 1 || keys[set.Keys[0].Kid] {
			t.Errorf("server %d has the keys %v of another", i, set.Keys)
		} else {
			keys[set.Keys[0].Kid] = true
		}
		alice := srv.CreateAccount("alice.test")
		for j, other := range servers {
			want := http.StatusNotFound
			if i == j {
				want = http.StatusOK
			}
			if j > i { // which has no account yet
				continue
			}
			for _, path := range []string{"/" + alice.DID, "/plc/" + alice.DID} {
				if status := get(other, path, nil); status != want {
					t.Errorf("server %d answers %d for %s of server %d", j, status, path, i)
				}
			}
		}
		want := map[string]int{"/me/applications": http.StatusNotFound, "/account/applications": http.StatusOK}
		if i == 2 {
			want = map[string]int{"/me/applications": http.StatusOK, "/account/applications": http.StatusNotFound}
		}
		for path, status := range want {
			if got := get(srv, path, nil); got != status {
				t.Errorf("server %d answers %d at %s, want %d", i, got, path, status)
			}
		}
	}
}
