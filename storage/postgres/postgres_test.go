package postgres_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/postgres"
	"github.com/gatehouse-at/gatehouse/storage/storagetest"
)

func open(t testing.TB, url string, opts ...postgres.Option) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(context.Background(), url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// backend returns the backend for the suite, whose Open creates a schema each time.
func backend(url func(t *testing.T) string) storagetest.Backend {
	urls := map[storage.Store]string{}
	return storagetest.Backend{
		Open: func(t *testing.T) storage.Store {
			u := url(t)
			s := open(t, u)
			urls[s] = u
			return s
		},
		Reopen: func(t *testing.T, s storage.Store) storage.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, urls[s])
		},
		Another:    func(t *testing.T, s storage.Store) storage.Store { return open(t, urls[s]) },
		Concurrent: true,
	}
}

func TestContract(t *testing.T) {
	storagetest.Run(t, backend(func(t *testing.T) string { return pgcluster.URL(t) }))
}

// plain returns the URL without the parameter that only this package supports.
func plain(t testing.TB, u string) string {
	t.Helper()
	parsed, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	q := parsed.Query()
	q.Del("gatehouse_schema")
	parsed.RawQuery = q.Encode()
	return parsed.String()
}

func schemaOf(t testing.TB, u string) string {
	t.Helper()
	parsed, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Query().Get("gatehouse_schema")
}
