package pgcluster

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// shared is the server of this test binary.
var shared struct {
	once   sync.Once
	main   bool
	server *Server
	err    error
}

// Main runs the tests of a package that uses [URL], and stops the shared server afterwards. Call it
// from TestMain.
func Main(m *testing.M) {
	shared.main = true
	defer func() {
		if s := shared.server; s != nil {
			_ = s.remove()
		}
	}()
	m.Run()
}

// URL returns the URL of a database for [postgres.Open], with a schema that is new and that
// is dropped when the test ends. It skips the test if there is no PostgreSQL.
func URL(t testing.TB) string {
	t.Helper()
	base := os.Getenv("GATEHOUSE_TEST_POSTGRES")
	if base == "" {
		bin := need(t)
		if !shared.main {
			t.Fatal("pgcluster.URL without pgcluster.Main in TestMain")
		}
		shared.once.Do(func() {
			// What these tests write may be lost in a power cut.
			shared.server, shared.err = start(bin, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
		})
		if shared.err != nil {
			t.Fatal(shared.err)
		}
		base = shared.server.URL()
	}
	return WithSchema(t, base)
}

// WithSchema returns the URL of a database with a schema that is new and that is dropped when the
// test ends.
func WithSchema(t testing.TB, base string) string {
	t.Helper()
	schema := "test_" + strings.ToLower(rand.Text()[:16])
	t.Cleanup(func() {
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, base)
		if err != nil {
			t.Errorf("dropping the schema: %v", err)
			return
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+schema+" CASCADE"); err != nil {
			t.Errorf("dropping the schema: %v", err)
		}
	})
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("gatehouse_schema", schema)
	u.RawQuery = q.Encode()
	return u.String()
}
