package accounts_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/storage"
)

// TestHooksOnlySeeChangesOfStatus, and no calls that leave the status as it was.
func TestHooksOnlySeeChangesOfStatus(t *testing.T) {
	s := domaintest.New(t)
	alice := s.SignUp("alice").Account.DID
	var seen []string
	s.AddHook(func(_ context.Context, _ storage.Tx, c accounts.Change) error {
		seen = append(seen, string(c.Kind)+" "+string(c.Account.Status()))
		return nil
	})
	yes, no := true, false
	day := s.Now().Add(100 * time.Hour)
	for _, step := range []struct {
		what string
		do   func() error
		want []string
	}{
		{"activating an active account", func() error { return s.Accounts.Activate(ctx, alice) }, nil},
		{"the same as an update", func() error {
			return s.Accounts.UpdateStatus(ctx, alice, accounts.StatusUpdate{Deactivated: &no})
		}, nil},
		{"restoring it", func() error { return s.Accounts.Restore(ctx, alice) }, nil},
		{"a takedown", func() error { return s.Accounts.TakeDown(ctx, alice, "case 1") }, []string{"status takendown"}},
		{"the same takedown", func() error { return s.Accounts.TakeDown(ctx, alice, "case 1") }, nil},
		{"the same as an update", func() error {
			return s.Accounts.UpdateStatus(ctx, alice, accounts.StatusUpdate{Takedown: &yes, Ref: "case 1"})
		}, nil},
		{"another reference", func() error { return s.Accounts.TakeDown(ctx, alice, "case 2") }, []string{"status takendown"}},
		{"its end", func() error { return s.Accounts.Restore(ctx, alice) }, []string{"status "}},
		{"a deactivation", func() error { return s.Accounts.Deactivate(ctx, alice, nil) }, []string{"status deactivated"}},
		{"another one", func() error { s.Advance(time.Hour); return s.Accounts.Deactivate(ctx, alice, nil) }, nil},
		{"a deletion date", func() error { return s.Accounts.Deactivate(ctx, alice, &day) }, []string{"status deactivated"}},
		{"the same date", func() error { return s.Accounts.Deactivate(ctx, alice, &day) }, nil},
		{"an update of nothing", func() error { return s.Accounts.UpdateStatus(ctx, alice, accounts.StatusUpdate{Takedown: &no}) }, nil},
		{"an activation", func() error { return s.Accounts.Activate(ctx, alice) }, []string{"status "}},
	} {
		seen = nil
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if !slices.Equal(seen, step.want) {
			t.Errorf("%s: hooks saw %q, want %q", step.what, seen, step.want)
		}
	}
}
