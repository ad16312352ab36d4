package gatehousetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/atclient"

	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// A client's test: log in, let the access token expire, and go on.
func Example() {
	_ = func(t *testing.T) {
		srv := gatehousetest.NewServer(t)
		alice := srv.CreateAccount("alice.test")
		client, err := atclient.LoginWithPasswordHost(context.Background(), srv.URL, alice.Handle, alice.Password, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		srv.Clock.Advance(3 * time.Hour)
		if _, err := atproto.ServerGetSession(context.Background(), client); err != nil {
			t.Error(err)
		}
	}
}
