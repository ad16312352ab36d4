package testing

import (
	"context"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/atclient"

	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

func TestKeeperStaysLoggedIn(t *testing.T) {
	ctx := context.Background()
	srv := gatehousetest.NewServer(t)
	alice := srv.CreateAccount("alice.test")
	k, err := Login(ctx, srv.URL, alice.Handle, alice.Password)
	if err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{0, time.Hour, 3 * time.Hour, 60 * 24 * time.Hour} {
		srv.Clock.Advance(wait) // in place of sleeping
		if who, err := k.WhoAmI(ctx); err != nil || who != "alice.test" {
			t.Errorf("after %v: %q, %v", wait, who, err)
		}
	}
	if k.Refreshes() != 2 {
		t.Errorf("%d refreshes, want 2", k.Refreshes())
	}
	srv.Clock.Advance(91 * 24 * time.Hour)
	if who, err := k.WhoAmI(ctx); err == nil {
		t.Errorf("still logged in as %s after three months without a request", who)
	}
}

func TestKeeperWithAnAppPassword(t *testing.T) {
	ctx := context.Background()
	srv := gatehousetest.NewServer(t)
	alice := srv.CreateAccount("alice.test")
	k, err := Login(ctx, srv.URL, alice.Email, alice.Password)
	if err != nil {
		t.Fatal(err)
	}
	password, err := k.AppPassword(ctx, "phone")
	if err != nil {
		t.Fatal(err)
	}
	phone, err := Login(ctx, srv.URL, alice.Handle, password)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := phone.AppPassword(ctx, "another"); err == nil {
		t.Error("a session of an app password created another app password")
	}
	if err := phone.Logout(ctx); err != nil {
		t.Fatal(err)
	}
	if who, err := phone.WhoAmI(ctx); err == nil {
		t.Errorf("still logged in as %s after Logout", who)
	}
}

func TestPasswordReset(t *testing.T) {
	ctx := context.Background()
	srv := gatehousetest.NewServer(t)
	alice := srv.CreateAccount("alice.test")
	public := atclient.NewAPIClient(srv.URL)
	if err := atproto.ServerRequestPasswordReset(ctx, public, &atproto.ServerRequestPasswordReset_Input{Email: alice.Email}); err != nil {
		t.Fatal(err)
	}
	err := atproto.ServerResetPassword(ctx, public, &atproto.ServerResetPassword_Input{
		Token: srv.Mail.Code(alice.Email), Password: "a new one",
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Login(ctx, srv.URL, alice.Handle, alice.Password); err == nil {
		t.Error("the old password still works")
	}
	if _, err := Login(ctx, srv.URL, alice.Handle, "a new one"); err != nil {
		t.Error(err)
	}
}
