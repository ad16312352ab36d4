package accounts_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
)

// TestARevertEndsWhenTheOwnerRemovesTheKey: a hook refuses a change that has been published, the
// directory fails before the server can revert it, and then the owner removes the server's rotation
// key from the DID, or tombstones it. Reverting can't succeed any more, so the server doesn't keep
// trying.
func TestARevertEndsWhenTheOwnerRemovesTheKey(t *testing.T) {
	for name, end := range map[string]func(owner *did.Registrar, id syntax.DID) error{
		"the key is removed": func(owner *did.Registrar, id syntax.DID) error {
			return owner.Change(ctx, id, func(op *did.Operation) { op.RotationKeys = op.RotationKeys[:1] })
		},
		"the DID is tombstoned": func(owner *did.Registrar, id syntax.DID) error { return owner.Tombstone(ctx, id) },
	} {
		dir := watch(t)
		s := domaintest.New(t, dir.in)
		key, err := atcrypto.GeneratePrivateKeyK256()
		if err != nil {
			t.Fatal(err)
		}
		owner := &did.Registrar{Directory: dir.Directory, Signer: key}
		p := params("alice")
		p.RecoveryKey = owner.RotationKey()
		alice, err := s.Accounts.Create(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		hookOnce(s, accounts.HandleChanged, errVeto)
		gone := fmt.Errorf("%w: in this test", did.ErrUnavailable)
		dir.submitted = func(context.Context) error {
			dir.asked = func() error { return gone }
			return nil
		}
		if err := s.Accounts.Identity().UpdateHandle(ctx, alice.DID, "alicia.test", false); !errors.Is(err, errVeto) {
			t.Fatal(err)
		}
		dir.submitted, dir.asked = nil, nil
		if n := records(t, s, "did_changes"); n != 1 {
			t.Fatalf("%d changes have to be reverted, want 1", n)
		}
		if err := end(owner, alice.DID); err != nil {
			t.Fatal(err)
		}
		if err := s.Accounts.Maintain(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := records(t, s, "did_changes"); n != 0 {
			t.Errorf("%s: %d changes are left", name, n)
		}
		if a, err := s.Accounts.Get(ctx, alice.DID); err != nil || a.Handle != "alice.test" {
			t.Errorf("%s: the account is %+v, %v", name, a, err)
		}
	}
}

// TestAChangeThatOnlyTheOwnerCanMakeLeavesNothing in the store when it is refused.
func TestAChangeThatOnlyTheOwnerCanMakeLeavesNothing(t *testing.T) {
	dir := watch(t)
	s := domaintest.New(t, dir.in)
	alice := s.SignUp("alice").Account.DID
	elsewhere := domaintest.New(t, dir.in) // with a rotation key of its own
	p := params("alice")
	p.DID, p.ProvenDID = alice, alice
	if _, err := elsewhere.Accounts.Create(ctx, p); err != nil {
		t.Fatal(err)
	}
	early := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, did.ErrNotController) || !errors.Is(err, accounts.ErrInvalidRequest) || errors.Is(err, accounts.ErrDirectory) {
			t.Errorf("%s: %v", what, err)
		}
		if n := records(t, elsewhere, "did_changes"); n != 0 {
			t.Errorf("%s: %d changes are left", what, n)
		}
	}
	early("a handle", elsewhere.Accounts.Identity().UpdateHandle(ctx, alice, "alicia.test", false))
	key, err := elsewhere.Accounts.Identity().RotateSigningKey(ctx, alice)
	early("a rotation", err)
	early("a key", elsewhere.Accounts.Identity().SetSigningKey(ctx, alice, key))
	if log, err := dir.Directory.Log(ctx, alice); err != nil || len(log) != 1 {
		t.Errorf("%d operations, %v", len(log), err)
	}
}

// TestAMissingDIDIsNotAFailureOfTheDirectory when a handle changes.
func TestAMissingDIDIsNotAFailureOfTheDirectory(t *testing.T) {
	s := domaintest.New(t)
	const id = syntax.DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	p := params("alice")
	p.DID, p.ProvenDID = id, id
	if _, err := s.Accounts.Create(ctx, p); err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts.Identity().UpdateHandle(ctx, id, "alicia.test", false); !errors.Is(err, accounts.ErrInvalidRequest) || errors.Is(err, accounts.ErrDirectory) {
		t.Errorf("a handle: %v", err)
	}
	if n := records(t, s, "did_changes"); n != 0 {
		t.Errorf("%d changes are left", n)
	}
}

// TestAForeignWebDIDMustNameTheKey: an account with a did:web that isn't hosted here only gets a
// new signing key if its document names it.
func TestAForeignWebDIDMustNameTheKey(t *testing.T) {
	const id = syntax.DID("did:web:alice.example.org")
	var named string
	s := domaintest.New(t, func(c *domaintest.Config) {
		c.ForeignDIDs = func(context.Context, syntax.DID) (json.RawMessage, error) {
			return did.AtprotoData(id, "alice.test", named, "https://localhost").Document(), nil
		}
	})
	p := params("alice")
	p.DID, p.ProvenDID = id, id
	a, err := s.Accounts.Create(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	named = a.SigningKey
	has := func(want string) {
		t.Helper()
		if now, err := s.Accounts.Get(ctx, id); err != nil || now.SigningKey != want {
			t.Errorf("the account: %+v, %v; want the key %s", now, err, want)
		}
	}
	early := func(err error, key string) {
		t.Helper()
		if !errors.Is(err, accounts.ErrInvalidRequest) || !strings.Contains(err.Error(), "set its verification method atproto to "+key) {
			t.Errorf("before the document names %s: %v", key, err)
		}
		has(a.SigningKey)
	}
	key, err := s.Accounts.Identity().RotateSigningKey(ctx, id)
	early(err, key)
	early(s.Accounts.Identity().SetSigningKey(ctx, id, key), key)
	named = key
	if again, err := s.Accounts.Identity().RotateSigningKey(ctx, id); again != key || err != nil {
		t.Errorf("once it does: %s, %v", again, err)
	}
	has(key)
	if named, err = s.Accounts.Identity().ReserveSigningKey(ctx, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts.Identity().SetSigningKey(ctx, id, named); err != nil {
		t.Error(err)
	}
	has(named)
}
