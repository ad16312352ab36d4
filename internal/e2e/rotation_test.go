package e2e

import (
	"context"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// TestInterruptedKeyRotation has the directory accept a new key and then fail. The server has
// stored the private key before, and repeating the rotation completes it with the same key.
func TestInterruptedKeyRotation(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			ctx, directory := context.Background(), newFaulty(t)
			s := newAPI(t, withStore(b.open(t)), config(func(c *gatehouse.Config) { c.DIDs.Directory = directory }))
			alice := syntax.DID(s.signUp("alice.test").DID)
			published := func() string {
				t.Helper()
				op, err := (&did.Registrar{Directory: directory}).Data(ctx, alice)
				if err != nil {
					t.Fatal(err)
				}
				return op.VerificationMethods[did.AtprotoKey]
			}
			old := published()
			directory.mode.Store(dying)
			if _, err := s.Gatehouse.Accounts.Identity().RotateSigningKey(ctx, alice); err == nil {
				t.Fatal("a rotation with an unreachable directory succeeded")
			}
			directory.mode.Store(works)
			lost := published()
			key, err := s.Gatehouse.Accounts.Identity().RotateSigningKey(ctx, alice)
			if err != nil || key != lost || key == old || published() != key {
				t.Errorf("the repeated rotation: %s, %v; want %s, which the directory accepted after %s", key, err, lost, old)
			}
			signer, err := s.Gatehouse.Accounts.Identity().Signer(ctx, alice)
			if err != nil {
				t.Fatal(err)
			}
			if public, err := signer.PublicKey(); err != nil || public.DIDKey() != key {
				t.Errorf("the account signs with %v, %v; want %s", public, err, key)
			}
			if next, err := s.Gatehouse.Accounts.Identity().RotateSigningKey(ctx, alice); err != nil || next == key {
				t.Errorf("the next rotation: %s, %v", next, err)
			}
		})
	}
}
