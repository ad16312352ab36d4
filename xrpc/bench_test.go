package xrpc

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
)

// discard is a ResponseWriter that discards what is written.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// BenchmarkOverhead is what the machinery adds to a handler: a row that does nothing, with rate
// limits on, without a network.
func BenchmarkOverhead(b *testing.B) {
	s := sampleServer(b, func(c *Config) { c.Limiter = generous{ratelimit.NewMemory(ratelimit.Config{})} })
	for name, path := range map[string]string{"query": "/xrpc/com.example.plain", "params": "/xrpc/com.example.search?q=a&limit=7"} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			b.ReportAllocs()
			for b.Loop() {
				s.ServeHTTP(discard{http.Header{}}, r)
			}
		})
	}
}

// BenchmarkAgainstAnEmptyHandler asks a row that does nothing and a handler that does nothing in
// turns, over loopback, and reports how many times as long the row takes.
func BenchmarkAgainstAnEmptyHandler(b *testing.B) {
	row := httptest.NewServer(sampleServer(b, func(c *Config) { c.Limiter = generous{ratelimit.NewMemory(ratelimit.Config{})} }))
	defer row.Close()
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"hello":"world"}`))
	}))
	defer empty.Close()
	get := func(s *httptest.Server) time.Duration {
		start := time.Now()
		resp, err := s.Client().Get(s.URL + "/xrpc/com.example.plain")
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp, err)
		}
		var rest [64]byte
		for err == nil {
			_, err = resp.Body.Read(rest[:])
		}
		resp.Body.Close()
		return time.Since(start)
	}
	var ours, theirs time.Duration
	for b.Loop() {
		theirs += get(empty)
		ours += get(row)
	}
	b.ReportMetric(float64(ours)/float64(theirs), "times-empty")
}

// generous counts like its limiter, and never refuses.
type generous struct{ ratelimit.Limiter }

func (g generous) Take(ctx context.Context, key string, windows ...ratelimit.Window) (ratelimit.State, error) {
	state, err := g.Limiter.Take(ctx, key, windows...)
	state.Allowed = true
	return state, err
}

// BenchmarkCompile parses the lexicons and compiles the table, which happens once in a process.
func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		catalog, err := parseLexicons(lexiconsJSON)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := compileTable(catalog, declared()); err != nil {
			b.Fatal(err)
		}
	}
}
