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

// TestAGuardRedeemsItsProofOnce, and only in a sign-up that gets past its first transaction: with
// an existing DID, which takes one transaction, and with a new one, which takes several.
func TestAGuardRedeemsItsProofOnce(t *testing.T) {
	for name, brought := range map[string]syntax.DID{"an existing DID": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "a new DID": ""} {
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
			// Somebody else takes the handle between the first checks and the transaction: the
			// guard still runs first, and what it wrote is rolled back.
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
				t.Fatalf("a proof that hasn't been redeemed: %v", err)
			}
			if _, err := s.Accounts.Create(ctx, params("dave")); !errors.Is(err, sessions.ErrServiceAuth) {
				t.Errorf("a proof that %s has redeemed: %v", a.DID, err)
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
