package xrpc_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

func TestTheLocalDirectoryIsNoPlaceToFill(t *testing.T) {
	srv := gatehousetest.NewServer(t, gatehousetest.WithConfig(func(c *gatehouse.Config) { c.RateLimits = gatehouse.On }))
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
	resp, err := srv.Client().Get(srv.URL + "/plc/" + alice.DID)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("a document, then: %d", resp.StatusCode)
	}
}
