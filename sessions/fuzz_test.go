package sessions_test

import (
	"context"
	"errors"
	"testing"

	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// FuzzToken gives anything for a token: what isn't one is refused as one of two things.
func FuzzToken(f *testing.F) {
	srv := gatehousetest.NewServer(f)
	alice := srv.CreateAccount("alice.test")
	f.Add(alice.AccessJWT)
	f.Add(alice.RefreshJWT)
	f.Add("")
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("eyJhbGciOiJIUzI1NiIsImtpZCI6MX0.e30.AA")
	f.Add("eyJhbGciOiJFUzI1NksifQ.e30.AA")
	f.Fuzz(func(t *testing.T, token string) {
		ctx := context.Background()
		_, verify := srv.Gatehouse.Sessions.Verify(ctx, token)
		_, refresh := srv.Gatehouse.Sessions.Refresh(ctx, token)
		for what, err := range map[string]error{"Verify": verify, "Refresh": refresh} {
			ours := token == alice.AccessJWT && what == "Verify" || token == alice.RefreshJWT && what == "Refresh"
			if ours != (err == nil) && !errors.Is(err, sessions.ErrInvalidToken) && !errors.Is(err, sessions.ErrExpiredToken) {
				t.Errorf("%s(%q): %v", what, token, err)
			}
			if !ours && err == nil {
				t.Errorf("%s took %q", what, token)
			}
		}
	})
}
