package e2e

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/storage/postgres"
)

// backends lists the storage backends that every suite runs on. The function open returns an empty
// store that is closed when the test ends, or skips the test if the backend isn't available.
var backends = []struct {
	name string
	open func(t testing.TB) storage.Store
}{
	{"memory", func(t testing.TB) storage.Store { return closing(t, memory.New()) }},
	{"bolt", func(t testing.TB) storage.Store {
		s, err := bolt.Open(filepath.Join(t.TempDir(), "gatehouse.db"))
		if err != nil {
			t.Fatal(err)
		}
		return closing(t, s)
	}},
	{"postgres", func(t testing.TB) storage.Store { return closing(t, openPostgres(t, pgcluster.URL(t))) }},
}

func openPostgres(t testing.TB, url string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// closing checks a store for consistency and closes it when the test ends.
func closing(t testing.TB, s storage.Store) storage.Store {
	t.Cleanup(func() {
		problems, err := storage.Check(context.Background(), s, gatehouse.Collections()...)
		if err == nil {
			err = s.Close()
		}
		if err != nil {
			t.Errorf("checking and closing the store: %v", err)
		}
		for _, p := range problems {
			t.Errorf("the store is inconsistent: %v", p)
		}
	})
	return s
}

// forEachStore runs a test on an empty store of each backend.
func forEachStore(t *testing.T, test func(t *testing.T, store storage.Store)) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) { test(t, b.open(t)) })
	}
}

// onEach runs a test with a server on each backend.
func onEach(t *testing.T, test func(t *testing.T, s *api), opts ...gatehousetest.Option) {
	forEachStore(t, func(t *testing.T, store storage.Store) {
		test(t, newAPI(t, append([]gatehousetest.Option{gatehousetest.WithStore(store)}, opts...)...))
	})
}

// config returns an option that changes the configuration of a test server.
func config(change func(*gatehouse.Config)) gatehousetest.Option {
	return gatehousetest.WithConfig(change)
}
