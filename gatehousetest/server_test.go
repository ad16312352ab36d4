package gatehousetest_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/atclient"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
)

func TestNewServer(t *testing.T) {
	ctx := context.Background()
	srv := gatehousetest.NewServer(t)
	alice := srv.CreateAccount("alice.test")
	client, err := atclient.LoginWithPasswordHost(ctx, srv.URL, alice.Handle, alice.Password, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	session, err := atproto.ServerGetSession(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	if session.Did != alice.DID || *client.AccountDID != syntax.DID(alice.DID) {
		t.Errorf("session of %s, want %s", session.Did, alice.DID)
	}
	before := srv.Clock.Now()
	srv.Clock.Advance(time.Hour)
	if srv.Clock.Now().Sub(before) != time.Hour {
		t.Error("the clock didn't advance by an hour")
	}
	if err := atproto.ServerRequestPasswordReset(ctx, client, &atproto.ServerRequestPasswordReset_Input{Email: alice.Email}); err != nil {
		t.Fatal(err)
	}
	if code := srv.Mail.Code(alice.Email); len(code) != 11 {
		t.Errorf("the code is %q", code)
	}
}

func BenchmarkNewServer(b *testing.B) {
	for b.Loop() {
		srv := gatehousetest.NewServer(b)
		srv.Close()
	}
}

// BenchmarkNewServerInUse makes an account, calls a method with its session and fetches what is
// made when it is asked for the first time, so as to show what a test pays for a server all in all.
func BenchmarkNewServerInUse(b *testing.B) {
	b.Run("CreateAccount", func(b *testing.B) {
		for b.Loop() {
			srv := gatehousetest.NewServer(b)
			srv.CreateAccount("alice.test")
			srv.Close()
		}
	})
	for name, path := range map[string]string{
		"getSession": "/xrpc/com.atproto.server.getSession", "home": "/", "DID document": "/.well-known/did.json", "JWKS": "/oauth/jwks",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				srv := gatehousetest.NewServer(b)
				r, err := http.NewRequest(http.MethodGet, srv.URL+path, nil)
				if err != nil {
					b.Fatal(err)
				}
				switch name {
				case "DID document":
					r.Host = "localhost"
				case "getSession":
					r.Header.Set("Authorization", "Bearer "+srv.CreateAccount("alice.test").AccessJWT)
				}
				resp, err := srv.Client().Do(r)
				if err != nil {
					b.Fatal(err)
				}
				if resp.Body.Close(); resp.StatusCode != http.StatusOK {
					b.Fatalf("%s: %s", path, resp.Status)
				}
				srv.Close()
			}
		})
	}
}

func TestNoticesDontHideCodes(t *testing.T) {
	srv := gatehousetest.NewServer(t)
	const to = "alice@example.com"
	for _, m := range []mail.Message{
		{Kind: mail.SignIn, To: to, Code: "ABCDE-FGHIJ"}, {Kind: mail.KeysChanged, To: to, Subject: "first"}, {Kind: mail.KeysChanged, To: to},
	} {
		if err := srv.Mail.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if code := srv.Mail.Code(to); code != "ABCDE-FGHIJ" {
		t.Errorf("the code is %q", code)
	}
	if m := srv.Mail.Notice(mail.KeysChanged, to); m.Subject != "first" || len(srv.Mail.Messages()) != 1 {
		t.Errorf("the notice is %+v; left: %v", m, srv.Mail.Messages())
	}
}
