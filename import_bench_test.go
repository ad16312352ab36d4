package gatehouse_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/storage/postgres"
)

// BenchmarkImport measures how fast accounts are imported, each of which gets a new signing key. Use
// -benchtime 100000x: how much of a page is rewritten depends on the size of the store.
func BenchmarkImport(b *testing.B) {
	for _, backend := range []struct {
		name string
		open func(b *testing.B) (storage.Store, error)
	}{
		{"memory", func(*testing.B) (storage.Store, error) { return memory.New(), nil }},
		{"bolt", func(b *testing.B) (storage.Store, error) {
			return bolt.Open(filepath.Join(b.TempDir(), "store.db"))
		}},
		{"postgres", func(b *testing.B) (storage.Store, error) { return postgres.Open(b.Context(), pgcluster.URL(b)) }},
	} {
		b.Run(backend.name, func(b *testing.B) {
			store, err := backend.open(b)
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			srv, err := gatehouse.New(b.Context(), store, gatehouse.Config{
				Hostname: "localhost", HandleDomains: []string{".test"}, NoMaintenance: true, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				b.Fatal(err)
			}
			defer srv.Close()
			random := rand.New(rand.NewPCG(1, uint64(b.N)))
			list := make([]accounts.Import, b.N)
			for i := range list {
				label := fmt.Sprintf("%016x", random.Uint64())
				list[i] = accounts.Import{
					DID: syntax.DID("did:plc:" + label), Handle: label + ".test", Email: label + "@example.com",
					PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
					CreatedAt:    time.Unix(1_600_000_000+int64(i), 0),
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			results, err := srv.Accounts.Import(context.Background(), list)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "accounts/s")
			for _, r := range results {
				if r.Refused != nil {
					b.Fatal(r.Refused)
				}
			}
		})
	}
}
