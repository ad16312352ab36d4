package handle

import (
	"context"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

var testDomains = []string{".test", ".pds.example.com"}

// someDID is the DID that handles on foreign domains resolve to.
const someDID syntax.DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"

type resolver map[syntax.Handle]syntax.DID

func (r resolver) ResolveHandle(_ context.Context, h syntax.Handle) (syntax.DID, error) {
	if id, ok := r[h]; ok {
		return id, nil
	}
	return someDID, nil
}

// owners are the accounts by their handles, and the DIDs of new accounts that aren't free.
type owners struct {
	of  map[syntax.Handle]syntax.DID
	did map[syntax.Handle]bool
}

func (o owners) HandleOwner(_ storage.Tx, h syntax.Handle) (syntax.DID, error) { return o.of[h], nil }
func (owners) HandleRefs(syntax.Handle) []storage.Ref                          { return nil }
func (o owners) DIDFree(_ storage.Tx, h syntax.Handle) (bool, error)           { return !o.did[h], nil }

// newService returns a service on a store of its own, with the domains of the test.
func newService(t testing.TB, accounts Accounts, change ...func(*Config)) *Service {
	t.Helper()
	store := memory.New()
	t.Cleanup(func() { store.Close() })
	cfg := Config{Domains: testDomains, Resolver: resolver{}}
	for _, c := range change {
		c(&cfg)
	}
	s, err := New(t.Context(), store, accounts, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNewNeedsADomain(t *testing.T) {
	store := memory.New()
	defer store.Close()
	if _, err := New(t.Context(), store, owners{}, Config{}); err == nil {
		t.Error("no domain, and no error")
	}
}
