package accounts_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// interrupted is a store where something happens, once, just before the next update.
type interrupted struct {
	storage.Store
	do atomic.Pointer[func()]
}

func (i *interrupted) Update(ctx context.Context, f func(storage.Tx) error) error {
	if do := i.do.Swap(nil); do != nil {
		(*do)()
	}
	return i.Store.Update(ctx, f)
}

// A password that is changed while a deletion with the old one is looked at saves the account.
func TestADeletionNeedsThePasswordOfNow(t *testing.T) {
	store := &interrupted{Store: memory.New()}
	box := mail.NewMemory()
	srv, err := gatehouse.New(store, gatehouse.Config{
		Hostname: "pds.test", HandleDomains: []string{".test"}, PasswordMemory: 8, PasswordTime: 1,
		Mail: box, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		srv.Close()
		store.Close()
	})
	alice, err := srv.Accounts.Create(ctx, params("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Accounts.RequestDelete(ctx, alice.DID); err != nil {
		t.Fatal(err)
	}
	m, err := box.Take(ctx, alice.Email)
	if err != nil {
		t.Fatal(err)
	}
	change := func() {
		if err := srv.Accounts.SetPassword(ctx, alice.DID, "another password"); err != nil {
			t.Error(err)
		}
	}
	store.do.Store(&change)
	if err := srv.Accounts.Delete(ctx, alice.DID, "password", m.Code); !errors.Is(err, accounts.ErrBadCredentials) {
		t.Errorf("with the old password: %v", err)
	}
	if _, err := srv.Accounts.Get(ctx, alice.DID); err != nil {
		t.Fatal(err)
	}
	// A refusal leaves the code good.
	if err := srv.Accounts.Delete(ctx, alice.DID, "another password", m.Code); err != nil {
		t.Errorf("with the new one: %v", err)
	}
}
