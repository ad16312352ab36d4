package sessions_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
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
		_, verify := srv.Gatehouse.Sessions.Verify(ctx, sessions.Bearer(token))
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

// FuzzServiceToken gives anything for a service token: what isn't one is refused as such, and what
// is has only the one spelling.
func FuzzServiceToken(f *testing.F) {
	s := newStrangers(f)
	for _, token := range []string{
		s.token(s.alice), s.token(s.bob, object{"iss": bobDID}), s.token(s.label, object{"iss": labeler}),
		s.token(s.alice, object{"iss": nil}), s.token(s.alice, object{"exp": 1e300}), s.token(s.alice, object{"aud": []string{pds}}),
	} {
		f.Add(token)
		for _, other := range domaintest.Spellings(f, token) {
			f.Add(other)
		}
	}
	f.Add("")
	f.Add("..")
	f.Add("bnVsbA.bnVsbA.")
	f.Fuzz(func(t *testing.T, token string) {
		for _, trusted := range [][]string{nil, {aliceDID, labeler}} {
			a, err := s.Verify(context.Background(), token, createAccount, trusted...)
			if err != nil {
				if a != nil || !errors.Is(err, sessions.ErrServiceAuth) {
					t.Errorf("Verify(%q): %+v, %v", token, a, err)
				}
				continue
			}
			parts := strings.Split(token, ".")
			if len(parts) != 3 {
				t.Fatalf("%q was taken", token)
			}
			for i := range parts {
				b, err := base64.RawURLEncoding.DecodeString(parts[i])
				if err != nil {
					t.Fatalf("%q was taken: %v", token, err)
				}
				parts[i] = encode(b)
			}
			if again := strings.Join(parts, "."); again != token {
				t.Errorf("%q was taken, which is %q", token, again)
			}
			for name, other := range domaintest.Spellings(t, token) {
				if _, err := s.Verify(context.Background(), other, createAccount, trusted...); err == nil {
					t.Errorf("%q was taken with %s", token, name)
				}
			}
			if a.ID == "" || a.Key == "" || !s.now.Before(a.Expires) || a.Service != "" && trusted == nil {
				t.Errorf("%q is %+v", token, a)
			}
		}
	})
}

// FuzzOAuthToken gives anything for the token of an OAuth client, with a proof that is made for it,
// and for a refresh token. What others make up is refused, and ends no session.
func FuzzOAuthToken(f *testing.F) {
	o := newOAuth(f)
	tokens := o.SignUp("alice")
	k := o.open(tokens.Account.DID)
	f.Add(k.AccessToken)
	f.Add(k.RefreshToken)
	f.Add(tokens.AccessJWT)
	f.Add("")
	f.Add("a.b.c")
	f.Add("ref-" + k.Session.ID + ".x.y")
	f.Add("eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJodHRwOi8vcGRzLnRlc3QifQ.AA")
	f.Fuzz(func(t *testing.T, token string) {
		_, err := o.Sessions.Verify(ctx, o.client.Request(o.Sessions, "GET", resource, token, o.Now()))
		if (err == nil) != (token == k.AccessToken) || err != nil && !errors.Is(err, sessions.ErrInvalidToken) && !errors.Is(err, sessions.ErrBoundToken) {
			t.Errorf("Verify(%q): %v", token, err)
		}
		_, err = o.find(token)
		if (err == nil) != (token == k.AccessToken || token == k.RefreshToken) || err != nil && !errors.Is(err, sessions.ErrNotFound) {
			t.Errorf("FindOAuthTx(%q): %v", token, err)
		}
		if token == k.RefreshToken {
			return
		}
		if _, err := o.refresh(token); !errors.Is(err, sessions.ErrInvalidToken) {
			t.Errorf("RefreshOAuthTx(%q): %v", token, err)
		}
		if _, err := o.find(k.RefreshToken); err != nil {
			t.Errorf("%q ends a session: %v", token, err)
		}
	})
}
