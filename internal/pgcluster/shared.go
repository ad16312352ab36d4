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

// shared joins the server of this checkout once, until this process exits. The lease is never
// closed: the kernel releases it when the process exits for any reason.
var shared = sync.OnceValue(func() (m struct {
	url   string
	lease *os.File
	err   error
}) {
	c, err := checkoutControl()
	if err != nil {
		m.err = err
		return m
	}
	m.url, m.lease, m.err = c.join()
	return m
})

// URL returns the URL of a database for [postgres.Open], with a new schema that is dropped when the
// test ends. It skips the test if there is no PostgreSQL, and in short mode.
//
// The first test binary that calls it starts a keeper, which is a detached process that runs the
// server. The keeper stops the server when no test binary of this checkout has used it for some
// seconds, whether they exited or were killed.
func URL(t testing.TB) string {
	t.Helper()
	base := os.Getenv("GATEHOUSE_TEST_POSTGRES")
	if base == "" || testing.Short() {
		need(t)
		server := shared()
		if server.err != nil {
			t.Fatal(server.err)
		}
		base = server.url
	}
	return WithSchema(t, base)
}

// WithSchema adds a new schema to the URL of a database. The schema is dropped when the test ends.
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
