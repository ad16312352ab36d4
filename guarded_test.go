package gatehouse_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
)

// TestRoutesOfEmbeddersWriteWhileTheSessionLives: once its session has ended, a request that was
// let in writes nothing, neither through Gatehouse's services nor through the embedder's own store.
func TestRoutesOfEmbeddersWriteWhileTheSessionLives(t *testing.T) {
	type note struct{ Text string }
	notes := storage.NewCollection("notes", func(n *note) string { return n.Text })
	background := context.Background()
	for name, c := range map[string]struct {
		active bool
		end    func(*gatehouse.Server, syntax.DID) error // nil: the session goes on
		want   error
	}{
		"goes on":                 {want: nil},
		"log-out":                 {end: func(s *gatehouse.Server, id syntax.DID) error { return s.Sessions.EndAll(background, id) }, want: sessions.ErrExpiredToken},
		"takedown":                {end: func(s *gatehouse.Server, id syntax.DID) error { return s.Accounts.TakeDown(background, id, "") }, want: sessions.ErrAccountTakedown},
		"deletion":                {end: func(s *gatehouse.Server, id syntax.DID) error { return s.Accounts.DeleteNow(background, id) }, want: sessions.ErrAccountNotFound},
		"deactivation":            {end: func(s *gatehouse.Server, id syntax.DID) error { return s.Accounts.Deactivate(background, id, nil) }, want: nil},
		"deactivation, if active": {active: true, end: func(s *gatehouse.Server, id syntax.DID) error { return s.Accounts.Deactivate(background, id, nil) }, want: sessions.ErrAccountDeactivated},
	} {
		t.Run(name, func(t *testing.T) {
			s := gatehousetest.NewServer(t)
			if err := storage.Define(background, s.Store, notes); err != nil {
				t.Fatal(err)
			}
			store := storage.Conditional(s.Store)
			alice := s.CreateAccount("alice.test")
			write := func(r *http.Request) map[string]error {
				_, _, app := s.Gatehouse.AppPasswords.Create(r.Context(), syntax.DID(alice.DID), "app", false)
				return map[string]error{
					"the embedder's store": store.Update(r.Context(), func(tx storage.Tx) error { return notes.Put(tx, &note{"hello"}) }),
					"a service":            app,
					"AliveTx": s.Store.View(r.Context(), func(tx storage.Tx) error {
						return s.Gatehouse.Sessions.AliveTx(tx, gatehouse.Auth(r.Context()))
					}),
				}
			}
			route := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if c.end != nil {
					if err := c.end(s.Gatehouse, syntax.DID(alice.DID)); err != nil {
						t.Error(err)
					}
				}
				for what, err := range write(r) {
					if !errors.Is(err, c.want) {
						t.Errorf("%s: %v, want %v", what, err, c.want)
					}
				}
			})
			guarded := s.Gatehouse.RequireAuth()(route)
			if c.active {
				guarded = s.Gatehouse.RequireActive()(route)
			}
			r := httptest.NewRequest("POST", "/note", nil)
			r.Header.Set("Authorization", "Bearer "+alice.AccessJWT)
			w := httptest.NewRecorder()
			guarded.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				t.Errorf("the route was not reached: %d %s", w.Code, w.Body)
			}
		})
	}
}

// TestWhatAResetDoesToAppPasswords: a Go caller can choose whether a password reset revokes app
// passwords. By default, it does if the address was never confirmed.
func TestWhatAResetDoesToAppPasswords(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		policy    accounts.AppPasswordPolicy
		confirmed bool
		left      int
	}{
		{accounts.EndIfUnconfirmed, false, 0}, {accounts.EndIfUnconfirmed, true, 1},
		{accounts.KeepAppPasswords, false, 1}, {accounts.EndAppPasswords, true, 0},
	} {
		s := gatehousetest.NewServer(t)
		alice := s.CreateAccount("alice.test")
		id := syntax.DID(alice.DID)
		_, app, err := s.Gatehouse.AppPasswords.Create(ctx, id, "app", false)
		if err != nil {
			t.Fatal(err)
		}
		if c.confirmed {
			if err := s.Gatehouse.Accounts.Emails().RequestConfirmation(ctx, id); err != nil {
				t.Fatal(err)
			}
			if err := s.Gatehouse.Accounts.Emails().Confirm(ctx, id, alice.Email, s.Mail.Code(alice.Email)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Gatehouse.Accounts.RequestPasswordReset(ctx, alice.Email); err != nil {
			t.Fatal(err)
		}
		reset := accounts.ResetParams{Code: s.Mail.Code(alice.Email), Password: "another password", AppPasswords: c.policy}
		if err := s.Gatehouse.Accounts.ResetPassword(ctx, reset); err != nil {
			t.Fatal(err)
		}
		all, err := s.Gatehouse.AppPasswords.List(ctx, id)
		if err != nil || len(all) != c.left {
			t.Errorf("%+v: %d app passwords are left, %v", c, len(all), err)
		}
		_, err = s.Gatehouse.SignIn.SignIn(ctx, signin.Attempt{Identifier: alice.DID, Password: app})
		if (err == nil) != (c.left == 1) {
			t.Errorf("%+v: a login with the app password: %v", c, err)
		}
	}
}
