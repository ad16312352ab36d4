package gatehouse_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/sessions"
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
			app, password, err := srv.Gatehouse.AppPasswords.Create(context.Background(), syntax.DID(alice.DID), "bench", false)
			if err != nil {
				b.Fatal(app, err)
			}
			b.Run("createSession-app", func(b *testing.B) {
				call(b, srv, "POST", "createSession", "", `{"identifier":"alice.test","password":"`+password+`"}`)
			})
			b.Run("refreshSession", func(b *testing.B) {
				tokens := alice.RefreshJWT
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
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
		c.Logger = slog.New(slog.NewTextHandler(nowhere{}, nil))
	}))
}

type nowhere struct{}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }

// answer is a ResponseWriter that keeps only the status.
type answer struct {
	header http.Header
	status int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) Write(b []byte) (int, error) { return len(b), nil }
func (a *answer) WriteHeader(status int)      { a.status = status }

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

var _ = syntax.DID("")
var _ ratelimit.Off
var _ sessions.Grant
