package accounts_test

import (
	"errors"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/storage"
)

// TestGuardOfASignUp signs up with a guard that uses up a proof: with a DID that is brought, which
// takes one transaction, and with one that is made, which takes several.
func TestGuardOfASignUp(t *testing.T) {
	for name, brought := range map[string]syntax.DID{"a DID that is brought": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "a DID that is made": ""} {
		t.Run(name, func(t *testing.T) {
			s := domaintest.New(t)
			proof := &sessions.ServiceAuth{Issuer: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", ID: "one", Expires: s.Now().Add(time.Minute)}
			errGuard := errors.New("refused by the guard")
			var refuse error
			params := func(label string) accounts.CreateParams {
				return accounts.CreateParams{
					Handle: label + ".test", Email: label + "@example.com", Password: "password", DID: brought, ProvenDID: brought,
					Guard: func(tx storage.Tx) error {
						if err := s.Sessions.UseServiceTokenTx(tx, proof); err != nil {
							return err
						}
						return refuse
					},
				}
			}
			refuse = errGuard
			if _, err := s.Accounts.Create(ctx, params("alice")); !errors.Is(err, errGuard) {
				t.Errorf("the guard refuses: %v", err)
			}
			// Between the looks at the handle and the transaction somebody else takes it: the guard
			// still comes first, and what it wrote is undone with the rest.
			taken := domaintest.Before(ctx, func() { s.SignUp("alice") })
			if _, err := s.Accounts.Create(taken, params("alice")); !errors.Is(err, errGuard) {
				t.Errorf("the guard refuses a handle that was taken meanwhile: %v", err)
			}
			refuse = nil
			taken = domaintest.Before(ctx, func() { s.SignUp("bob") })
			if _, err := s.Accounts.Create(taken, params("bob")); !errors.Is(err, handle.ErrNotAvailable) {
				t.Errorf("a handle that was taken meanwhile: %v", err)
			}
			a, err := s.Accounts.Create(ctx, params("carol"))
			if err != nil {
				t.Fatalf("nothing has used the proof up: %v", err)
			}
			if _, err := s.Accounts.Create(ctx, params("dave")); !errors.Is(err, sessions.ErrServiceAuth) {
				t.Errorf("the proof was used by %s: %v", a.DID, err)
			}
			if err := s.Accounts.Maintain(ctx); err != nil {
				t.Error(err)
			}
			page, err := s.Accounts.List(ctx, "", 10)
			if err != nil || len(page.Accounts) != 3 {
				t.Errorf("there are %d accounts, %v", len(page.Accounts), err)
			}
		})
	}
}
