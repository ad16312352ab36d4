package gatehousetest_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/atclient"

	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

// testClient and testApplication are the tests of the examples. TestTheExamples runs them.
var testClient, testApplication func(t *testing.T)

func TestTheExamples(t *testing.T) {
	Example()
	t.Run("client", testClient)
	ExampleServer_OAuth()
	t.Run("application", testApplication)
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

// A test of something that OAuth applications call.
func ExampleServer_OAuth() {
	testApplication = func(t *testing.T) {
		srv := gatehousetest.NewServer(t)
		app := srv.OAuth(t, "alice.test", "atproto transition:email")
		resp, err := app.Client().Get(srv.URL + "/xrpc/com.atproto.server.getSession")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("getSession: %s", resp.Status)
		}
		app.Revoke() // as alice could on the page of applications
		if resp, err = app.Client().Get(srv.URL + "/xrpc/com.atproto.server.getSession"); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("getSession after the end of the access: %s", resp.Status)
		}
	}
}
