package gatehouse_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// BenchmarkMethods calls methods in process, without a network: what the library itself costs.
func BenchmarkMethods(b *testing.B) {
	for _, kind := range []string{"memory", "bolt"} {
		b.Run(kind, func(b *testing.B) {
			srv := benchServer(b, kind)
			b.Run("describeServer", func(b *testing.B) { call(b, srv, "GET", "describeServer", "", "") })
			alice := srv.CreateAccount("alice.test")
			b.Run("getSession", func(b *testing.B) { call(b, srv, "GET", "getSession", alice.AccessJWT, "") })
			_, password, err := srv.Gatehouse.AppPasswords.Create(context.Background(), syntax.DID(alice.DID), "bench", false)
			if err != nil {
				b.Fatal(err)
			}
			b.Run("createSession-app", func(b *testing.B) {
				call(b, srv, "POST", "createSession", "", `{"identifier":"alice.test","password":"`+password+`"}`)
			})
			b.Run("refreshSession", func(b *testing.B) {
				tokens := alice.RefreshJWT
				b.ReportAllocs()
				for b.Loop() {
					t, err := srv.Gatehouse.Sessions.Refresh(context.Background(), tokens)
					if err != nil {
						b.Fatal(err)
					}
					tokens = t.RefreshJWT
				}
			})
		})
	}
}

// benchServer returns a server on a store of a kind, with its log on.
func benchServer(b *testing.B, kind string) *gatehousetest.Server {
	var store storage.Store = memory.New()
	if kind == "bolt" {
		s, err := bolt.Open(filepath.Join(b.TempDir(), "bench.db"))
		if err != nil {
			b.Fatal(err)
		}
		store = s
	}
	b.Cleanup(func() { store.Close() })
	return gatehousetest.NewServer(b, gatehousetest.WithStore(store), gatehousetest.WithConfig(func(c *gatehouse.Config) {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}))
}

// answer is a ResponseWriter that keeps only the status.
type answer struct {
	header http.Header
	status int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) Write(b []byte) (int, error) { return len(b), nil }
func (a *answer) WriteHeader(status int)      { a.status = status }

// call calls a method again and again.
func call(b *testing.B, srv *gatehousetest.Server, verb, method, token, body string) {
	r := httptest.NewRequest(verb, "/xrpc/com.atproto.server."+method, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	b.ReportAllocs()
	for b.Loop() {
		if body != "" {
			r.Body = readCloser{strings.NewReader(body)}
			r.ContentLength = int64(len(body))
		}
		a := &answer{header: http.Header{}, status: 200}
		srv.Gatehouse.ServeHTTP(a, r)
		if a.status != 200 {
			b.Fatal(a.status)
		}
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }
