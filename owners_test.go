package gatehouse_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

func TestGatehouseOwnsItsTables(t *testing.T) {
	names := map[string]bool{}
	for _, c := range gatehouse.Collections() {
		table := c.Table()
		if names[table.Name] {
			t.Errorf("table %s is listed twice", table.Name)
		}
		names[table.Name] = true
		if table.Owner != storage.OwnerGatehouse {
			t.Errorf("table %s belongs to %q", table.Name, table.Owner)
		}
	}
}

// TestCollectionsAreAllThereAre compares [gatehouse.Collections] with the tables that a server has
// defined, so that checks of the store leave none out.
func TestCollectionsAreAllThereAre(t *testing.T) {
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(t.Context(), store, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	if _, err := ratelimit.NewShared(t.Context(), store, ratelimit.Config{}); err != nil {
		t.Fatal(err)
	}
	defined, err := store.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, table := range defined {
		want = append(want, table.Name)
	}
	for _, c := range gatehouse.Collections() {
		got = append(got, c.Table().Name)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("Collections are %q, and the store has %q", got, want)
	}
}

// TestNobodySharesATableWithGatehouse defines an embedder's own collection of sessions before and
// after Gatehouse's, and after a restart.
func TestNobodySharesATableWithGatehouse(t *testing.T) {
	type session struct{ ID string }
	own := storage.NewCollection("sessions", func(s *session) string { return s.ID })
	cfg := gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}}
	refused := func(t *testing.T, err error) {
		t.Helper()
		if !errors.Is(err, storage.ErrInvalid) {
			t.Fatalf("error is %v, want ErrInvalid", err)
		}
		for _, word := range []string{"sessions", storage.OwnerApp, storage.OwnerGatehouse} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("error %q doesn't name %s", err, word)
			}
		}
	}
	t.Run("before", func(t *testing.T) {
		store := memory.New()
		defer store.Close()
		if err := storage.Define(t.Context(), store, own); err != nil {
			t.Fatal(err)
		}
		_, err := gatehouse.New(t.Context(), store, cfg)
		refused(t, err)
	})
	t.Run("after", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store.db")
		store, err := bolt.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		srv, err := gatehouse.New(t.Context(), store, cfg)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, storage.Define(t.Context(), store, own))
		if err := errors.Join(srv.Close(), store.Close()); err != nil {
			t.Fatal(err)
		}
		if store, err = bolt.Open(path); err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		refused(t, storage.Define(t.Context(), store, own))
	})
}
