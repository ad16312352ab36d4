package gatehousetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/atclient"

	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// testClient is the test of the example. TestTheExample runs it.
var testClient func(t *testing.T)

func TestTheExample(t *testing.T) {
	Example()
	testClient(t)
}

// A test of a client: it logs in, lets the access token expire, and goes on.
func Example() {
	testClient = func(t *testing.T) {
		srv := gatehousetest.NewServer(t)
		alice := srv.CreateAccount("alice.test")
		client, err := atclient.LoginWithPasswordHost(context.Background(), srv.URL, alice.Handle, alice.Password, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		srv.Clock.Advance(3 * time.Hour)
		session, err := atproto.ServerGetSession(context.Background(), client)
		if err != nil {
			t.Fatal(err)
		}
		if session.Handle != alice.Handle {
			t.Errorf("logged in as %s, want %s", session.Handle, alice.Handle)
		}
	}
}
