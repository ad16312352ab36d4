package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/gatehousetest"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// withStore returns an option that makes a test server use a store.
func withStore(s storage.Store) gatehousetest.Option { return gatehousetest.WithStore(s) }

// withHandler returns an option that wraps the handler of a test server.
func withHandler(wrap func(http.Handler) http.Handler) gatehousetest.Option {
	return gatehousetest.WithHandler(wrap)
}

// claimsOf returns the claims of a token as JSON, without verifying its signature.
func claimsOf(t testing.TB, token string) []byte {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a token: %q", token)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rivalled is a store that runs a function just before the next Update, when the caller of the
// Update may already have read what it is based on.
type rivalled struct {
	storage.Store
	before atomic.Pointer[func()]
}

func (r *rivalled) Update(ctx context.Context, fn func(storage.Tx) error) error {
	if do := r.before.Swap(nil); do != nil {
		(*do)()
	}
	return r.Store.Update(ctx, fn)
}

// errMailDown is the error of a mail server that is down.
var errMailDown = fmt.Errorf("%w: in this test", mail.ErrDelivery)

// handles resolves handles on foreign domains from a map.
type handles map[syntax.Handle]syntax.DID

func (h handles) ResolveHandle(_ context.Context, handle syntax.Handle) (syntax.DID, error) {
	if id := h[handle]; id != "" {
		return id, nil
	}
	return "", fmt.Errorf("%s resolves to nothing", handle)
}

// newDirectory returns a DID directory that belongs to no server.
func newDirectory(t testing.TB) *did.Local {
	t.Helper()
	local, err := did.NewLocal(t.Context(), memory.New(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return local
}

// network returns a list of one network.
func network(cidr string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(cidr)} }

// get requests a path with a host name, and returns the status and the body.
func (s *api) get(host, path string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest("GET", s.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Host = host
	return s.fetch(req)
}

// fetch sends a request, and returns the status and the body without validating them.
func (s *api) fetch(req *http.Request) (int, string) {
	s.t.Helper()
	resp, err := s.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// contains reports whether s contains all parts.
func contains(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
