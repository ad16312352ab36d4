package web_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// TestPLCOperationsAreLimited: anybody may submit operations, which are kept.
func TestPLCOperationsAreLimited(t *testing.T) {
	srv := gatehousetest.NewServer(t, gatehousetest.WithConfig(func(c *gatehouse.Config) { c.Limits.Limiter = nil }))
	alice := srv.CreateAccount("alice.test")
	for i := range 101 {
		resp, err := srv.Client().Post(srv.URL+"/plc/"+alice.DID, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		want := http.StatusBadRequest
		if i == 100 {
			want = http.StatusTooManyRequests
		}
		if resp.StatusCode != want {
			t.Fatalf("operation %d: %d, want %d", i, resp.StatusCode, want)
		}
	}
	// Documents can still be read, also where @atproto/identity looks for them.
	for _, path := range []string{"/plc/" + alice.DID, "/" + url.QueryEscape(alice.DID)} {
		resp, err := srv.Client().Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ ID string }
		if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil || resp.StatusCode != http.StatusOK || doc.ID != alice.DID {
			t.Errorf("%s: %d %v %v", path, resp.StatusCode, doc, err)
		}
		resp.Body.Close()
	}
}
