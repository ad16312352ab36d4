package web_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/web"
)

func TestRequiredFields(t *testing.T) {
	if _, err := web.New(web.Config{}); err == nil {
		t.Error("no error without accounts")
	}
}

// exhausted is a Limiter whose limits are all used up. It counts the requests of 127.0.0.1 that it
// refuses under the limit on all requests.
type exhausted struct {
	now     func() time.Time
	refused atomic.Int64
}

func (e *exhausted) Take(_ context.Context, key string, windows ...ratelimit.Window) (ratelimit.State, error) {
	if key == " 127.0.0.1" {
		e.refused.Add(1)
	}
	return ratelimit.State{Window: windows[0], Reset: e.now().Add(time.Minute)}, nil
}

func (e *exhausted) Peek(ctx context.Context, key string, windows ...ratelimit.Window) (ratelimit.State, error) {
	return e.Take(ctx, key, windows...)
}

// TestEverythingIsLimited shows that all handlers which read from the store are under the limit on
// all requests of a client, the same as the methods, and how they answer beyond it.
func TestEverythingIsLimited(t *testing.T) {
	limiter := new(exhausted)
	srv := gatehousetest.NewServer(t, gatehousetest.WithConfig(func(c *gatehouse.Config) {
		limiter.now = c.Now
		c.Limits.Limiter = limiter
	}))
	for i, c := range []struct{ verb, path, contentType, body string }{
		{"GET", "/xrpc/com.atproto.server.describeServer", "application/json; charset=utf-8", `{"error":"RateLimitExceeded","message":"Rate Limit Exceeded"}`},
		{"GET", "/tls-check?domain=alice.test", "application/json; charset=utf-8", `{"error":"RateLimitExceeded","message":"Rate Limit Exceeded"}`},
		{"GET", "/.well-known/did.json", "text/plain; charset=utf-8", "Rate Limit Exceeded\n"},
		{"GET", "/.well-known/atproto-did", "text/plain; charset=utf-8", "Rate Limit Exceeded\n"},
		{"GET", "/plc/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "application/json; charset=utf-8", `{"message":"Rate Limit Exceeded"}`},
		{"POST", "/plc/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "application/json; charset=utf-8", `{"message":"Rate Limit Exceeded"}`},
	} {
		req, err := http.NewRequest(c.verb, srv.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", "192.0.2.1") // or else /tls-check isn't limited
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		h := resp.Header
		if resp.StatusCode != http.StatusTooManyRequests || string(body) != c.body || h.Get("Content-Type") != c.contentType {
			t.Errorf("%s %s: %d %s %q, want %s %q", c.verb, c.path, resp.StatusCode, h.Get("Content-Type"), body, c.contentType, c.body)
		}
		if h.Get("RateLimit-Policy") != "3000;w=300" || h.Get("Retry-After") != "60" {
			t.Errorf("%s %s: %v", c.verb, c.path, h)
		}
		if n := limiter.refused.Load(); n != int64(i)+1 {
			t.Errorf("%s %s: %d requests were refused, want %d", c.verb, c.path, n, i+1)
		}
	}
	// The neighbors of a server, such as a proxy that asks for itself, aren't limited.
	resp, err := srv.Client().Get(srv.URL + "/tls-check?domain=nobody.test")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusNotFound || !strings.Contains(string(body), "NotFound") {
		t.Errorf("a neighbor: %d %s %v", resp.StatusCode, body, err)
	}
}
