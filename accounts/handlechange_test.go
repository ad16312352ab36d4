package accounts_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/storage"
)

// TestAHookCanVetoAHandleChange, before and after the DID names the new handle: both times
// everything is as before.
func TestAHookCanVetoAHandleChange(t *testing.T) {
	errVeto := errors.New("veto")
	var veto accounts.Kind
	var seen []accounts.Kind
	s := domaintest.New(t, func(c *domaintest.Config) {
		c.Accounts.Hooks = []accounts.Hook{func(_ context.Context, _ storage.Tx, c accounts.Change) error {
			seen = append(seen, c.Kind)
			switch {
			case c.Kind == veto:
				return errVeto
			case c.Kind == accounts.HandleChanging, c.Kind == accounts.HandleChanged:
				if c.Before.Handle != "alice.test" || c.Account.Handle != "other.test" {
					t.Errorf("%s from %s to %s", c.Kind, c.Before.Handle, c.Account.Handle)
				}
			}
			return nil
		}}
	})
	alice, bob := s.SignUp("alice").Account.DID, s.SignUp("bob").Account.DID
	agree := func(when string, want syntax.Handle) {
		t.Helper()
		a, err := s.Accounts.Get(ctx, alice)
		if err != nil {
			t.Fatal(err)
		}
		op, err := (&did.Registrar{Directory: s.Directory}).Data(ctx, alice)
		if err != nil {
			t.Fatal(err)
		}
		if a.Handle != want || op.AlsoKnownAs[0] != "at://"+want.String() {
			t.Errorf("%s the account is %s, its DID says %s; want %s", when, a.Handle, op.AlsoKnownAs[0], want)
		}
	}
	for _, veto = range []accounts.Kind{accounts.HandleChanging, accounts.HandleChanged} {
		if err := s.Accounts.Identity().UpdateHandle(ctx, alice, "other.test", false); !errors.Is(err, errVeto) {
			t.Errorf("with a veto of %s: %v", veto, err)
		}
		agree("after a veto of "+string(veto), "alice.test")
		// The handle is available to others, and there is nothing to recover.
		if err := s.Accounts.Maintain(ctx); err != nil {
			t.Error(err)
		}
		other, err := s.Accounts.Handles().Available(ctx, "other.test")
		if err != nil || !other.Available {
			t.Errorf("after a veto of %s the handle is available: %t, %v", veto, other.Available, err)
		}
	}
	veto, seen = "", nil
	if err := s.Accounts.Identity().UpdateHandle(ctx, alice, "other.test", false); err != nil {
		t.Fatal(err)
	}
	agree("without a veto", "other.test")
	if want := []accounts.Kind{accounts.HandleChanging, accounts.HandleChanged}; !slices.Equal(seen, want) {
		t.Errorf("the hooks saw %v, want %v", seen, want)
	}
	if err := s.Accounts.Identity().UpdateHandle(ctx, bob, "other.test", false); !errors.Is(err, handle.ErrNotAvailable) {
		t.Errorf("a taken handle: %v", err)
	}
}
