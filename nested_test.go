package gatehouse_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// TestHooksThatCallServicesAreRefused: a hook runs inside a transaction, so a service that it calls
// would wait for that transaction to end. Whatever context the hook uses, the call returns an error
// at once, and the server goes on.
func TestHooksThatCallServicesAreRefused(t *testing.T) {
	file, err := bolt.Open(filepath.Join(t.TempDir(), "gatehouse.db"))
	if err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]storage.Store{"memory": memory.New(), "bolt": file} {
		t.Run(name, func(t *testing.T) {
			defer store.Close()
			var srv *gatehouse.Server
			errs := map[string]error{}
			srv, err := gatehouse.New(t.Context(), store, gatehouse.Config{
				Hostname: "localhost", HandleDomains: []string{".test"}, Passwords: gatehouse.Passwords{Memory: 8, Time: 1}, NoMaintenance: true,
				Hooks: []accounts.Hook{func(ctx context.Context, _ storage.Tx, c accounts.Change) error {
					if c.Kind != accounts.Created {
						return nil
					}
					_, errs["a read with the hook's context"] = srv.Accounts.Find(ctx, "alice.test")
					_, errs["a read with a context of its own"] = srv.Accounts.Find(context.Background(), "alice.test")
					errs["a write with the hook's context"] = srv.Sessions.EndAll(ctx, c.Account.DID)
					errs["a write with a context of its own"] = srv.Sessions.EndAll(context.Background(), c.Account.DID)
					return nil // the hook ignores the errors
				}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer srv.Close()
			if _, err := srv.Accounts.Create(t.Context(), accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"}); err != nil {
				t.Fatal(err)
			}
			if len(errs) != 4 {
				t.Errorf("the hook made %d calls", len(errs))
			}
			for what, err := range errs {
				if !errors.Is(err, storage.ErrNested) {
					t.Errorf("%s: %v, want ErrNested", what, err)
				}
			}
			if _, err := srv.Accounts.Find(t.Context(), "alice.test"); err != nil {
				t.Errorf("after the sign-up: %v", err)
			}
		})
	}
}
