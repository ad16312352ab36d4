package gatehouse_test

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// TestBackgroundWork lets time pass without any requests: what is due is done within minutes, and
// Close ends all background work (otherwise the bubble wouldn't end).
func TestBackgroundWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store, mails := memory.New(), mail.NewMemory()
		srv, err := gatehouse.New(ctx, store, gatehouse.Config{
			Hostname: "localhost", HandleDomains: []string{".test"}, Passwords: gatehouse.Passwords{Memory: 8, Time: 1},
			Mail: gatehouse.Mail{Mailer: mails}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		alice, err := srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"})
		if err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(4 * 24 * time.Hour)
		if err := srv.Accounts.Deactivate(ctx, alice.DID, &later); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4*24*time.Hour - time.Minute)
		if _, err := srv.Accounts.Get(ctx, alice.DID); err != nil {
			t.Errorf("before the deletion is due: %v", err)
		}
		time.Sleep(3 * time.Minute)
		if _, err := srv.Accounts.Get(ctx, alice.DID); !errors.Is(err, accounts.ErrNotFound) {
			t.Errorf("after the deletion is due: %v", err)
		}
		if err := srv.Accounts.RequestPasswordReset(ctx, "alice@example.com"); err != nil {
			t.Fatal(err)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := srv.Close(); err != nil {
			t.Errorf("Close, called again: %v", err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestNoMaintenance lets time pass for a server that leaves background work to the program: nothing
// is done until the program calls Maintain, and the server takes no lease, which would keep other
// processes from doing the work.
func TestNoMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := memory.New()
		srv, err := gatehouse.New(ctx, store, gatehouse.Config{
			Hostname: "localhost", HandleDomains: []string{".test"}, Passwords: gatehouse.Passwords{Memory: 8, Time: 1},
			Mail: gatehouse.Mail{Mailer: mail.NewMemory()}, Logger: slog.New(slog.DiscardHandler), NoMaintenance: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		alice, err := srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"})
		if err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(4 * 24 * time.Hour)
		if err := srv.Accounts.Deactivate(ctx, alice.DID, &later); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * 24 * time.Hour)
		if _, err := srv.Accounts.Get(ctx, alice.DID); err != nil {
			t.Errorf("before Maintain: %v", err)
		}
		leases, err := storage.NewLeases(ctx, store, nil)
		if err != nil {
			t.Fatal(err)
		}
		if held, err := leases.Acquire(ctx, "maintenance", "another process", time.Minute); err != nil || !held {
			t.Errorf("another process acquires the lease: %v, %v", held, err)
		}
		if err := srv.Maintain(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := srv.Accounts.Get(ctx, alice.DID); !errors.Is(err, accounts.ErrNotFound) {
			t.Errorf("after Maintain: %v", err)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if held, err := leases.Acquire(ctx, "maintenance", "a third process", time.Second); err != nil || held {
			t.Errorf("Close released the lease of another process: %v, %v", held, err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}
