package sessions_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// TestServiceTokenToSignUpHere asks for tokens with which the account could sign up where it is:
// whoever had one could take the DID once the account is gone.
func TestServiceTokenToSignUpHere(t *testing.T) {
	type ask struct{ aud, method string }
	refused := map[string][]ask{
		"pds.test": {
			{"did:web:pds.test", createAccount},
			{"did:web:PDS.Test", createAccount},
			{"did:web:pds.test.", createAccount},
			{"did:web:pds.test..", createAccount},
			{"did:web:pds.test#atproto_pds", createAccount},
			{"did:web:PDS.test.#x", createAccount},
			{"did:web:pds.test", "com.atproto.server.createaccount"},
			{"did:web:pds.test", "COM.ATPROTO.SERVER.CREATEACCOUNT"},
		},
		"localhost:2583": {
			{"did:web:localhost%3A2583", createAccount},
			{"did:web:localhost%3A2583#atproto_pds", createAccount},
		},
		"Localhost.:80": {
			{"did:web:localhost", createAccount},
			{"did:web:localhost%3A80", createAccount},
			{"did:web:localhost%3A443#atproto_pds", createAccount},
		},
	}
	taken := map[string][]ask{
		"pds.test": {
			{"did:web:elsewhere.test", createAccount},
			{"did:web:apds.test", createAccount},
			{"did:web:pds.test.example.com", createAccount},
			{"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", createAccount},
			{"did:web:pds.test", "com.atproto.admin.getAccountInfo"},
			{"did:web:pds.test", ""},
		},
		"localhost:2583": {
			{"did:web:localhost", createAccount},
			{"did:web:localhost%3A2584", createAccount},
			{"did:web:localhost%3A80", createAccount},
		},
		"Localhost.:80": {
			{"did:web:localhost%3A8080", createAccount},
		},
	}
	for hostname := range refused {
		srv := gatehousetest.NewServer(t, gatehousetest.WithConfig(func(c *gatehouse.Config) { c.Hostname = hostname }))
		alice := srv.Login(srv.CreateAccount("alice.test"))
		get := func(a ask, scope sessions.Scope) error {
			auth := &sessions.Auth{Account: alice.Account, Scope: scope}
			p := sessions.ServiceTokenParams{Audience: a.aud, Method: a.method, Expires: srv.Clock.Now().Add(time.Minute)}
			_, err := srv.Gatehouse.Sessions.ServiceToken(ctx, auth, p)
			return err
		}
		for _, a := range refused[hostname] {
			scopes := []sessions.Scope{sessions.ScopeAccess, sessions.ScopeAppPass, sessions.ScopeAppPassPrivileged}
			if a.method == createAccount { // in no other case may an account ask for it that is taken down
				scopes = append(scopes, sessions.ScopeTakendown)
			}
			for _, scope := range scopes {
				want := "cannot request a service auth token for the following protected method: " + a.method
				if err := get(a, scope); !errors.Is(err, sessions.ErrInvalidRequest) || err.Error() != want {
					t.Errorf("%s, %+v with %s: %v", hostname, a, scope, err)
				}
			}
		}
		for _, a := range taken[hostname] {
			if err := get(a, sessions.ScopeAccess); err != nil {
				t.Errorf("%s, %+v: %v", hostname, a, err)
			}
		}
	}
}

// TestServiceTokensOfOursAreTaken has the server's own tokens checked as those of others are.
func TestServiceTokensOfOursAreTaken(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account
	resolver := newStrangers(t)
	resolver.documents[alice.DID] = map[string]string{"atproto": alice.SigningKey}
	resolver.now = s.Now()
	p := sessions.ServiceTokenParams{Audience: "did:web:elsewhere.test", Method: createAccount, Expires: s.Now().Add(time.Hour)}
	token, err := s.Sessions.ServiceToken(ctx, &sessions.Auth{Account: alice, Scope: sessions.ScopeAccess}, p)
	if err != nil {
		t.Fatal(err)
	}
	resolver.Audience = p.Audience
	got, err := resolver.Verify(ctx, token, createAccount)
	if err != nil || got.Issuer != alice.DID || got.Service != "" || got.Key != alice.SigningKey || len(got.ID) != 26 || !got.Expires.Equal(p.Expires) {
		t.Errorf("%+v, %v", got, err)
	}
}
