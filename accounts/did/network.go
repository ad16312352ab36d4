package did

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/bluesky-social/indigo/util/ssrf"

	"github.com/gatehouse-at/gatehouse/internal/lookup"
)

// Network resolves handles by DNS and HTTPS, and did:web by HTTPS. It connects to public addresses
// only, so that a handle or a DID can't make it call a host in the server's own network.
//
// It has no cache: people take a handle right after they have published its DNS record or file, and
// a cached answer would be from before. But concurrent lookups of one handle are merged, and at
// most 64 lookups of different handles are under way; further ones wait for their turn.
type Network struct {
	base    *identity.BaseDirectory
	flights lookup.Group // of handles
	slots   slots
}

const (
	maxHandles    = 64
	handleTimeout = 15 * time.Second // of one lookup, including the time that it waits for its turn
)

// NewNetwork returns a Network. If transport is nil, it uses one that refuses private addresses; a
// transport of your own has to do that itself. An empty user agent is "gatehouse".
func NewNetwork(transport http.RoundTripper, userAgent string) *Network {
	if transport == nil {
		transport = ssrf.PublicOnlyTransport()
	}
	if userAgent == "" {
		userAgent = "gatehouse"
	}
	return &Network{slots: make(slots, maxHandles), base: &identity.BaseDirectory{
		HTTPClient: http.Client{
			Timeout:   10 * time.Second,
			Transport: limited{transport},
			// Well-known files are not looked for elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		// The name servers of a domain aren't asked directly: the owner of the domain chooses their
		// addresses, which could be in the server's own network.
		TryAuthoritativeDNS: false,
		UserAgent:           userAgent,
	}}
}

// limited is a transport that limits the size of answers.
type limited struct{ next http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, 64<<10)
	}
	return resp, err
}

// ResolveHandle returns the DID that a handle resolves to (source: the atproto handle
// specification). Errors: [ErrNotFound], [ErrUnavailable].
func (n *Network) ResolveHandle(ctx context.Context, h syntax.Handle) (syntax.DID, error) {
	h = h.Normalize()
	return lookup.Do(ctx, &n.flights, h.String(), handleTimeout, gaveUp, func(ctx context.Context) (syntax.DID, error) {
		if err := n.slots.take(ctx); err != nil {
			return "", err
		}
		defer n.slots.free()
		return n.resolveHandle(ctx, h)
	})
}

func (n *Network) resolveHandle(ctx context.Context, h syntax.Handle) (syntax.DID, error) {
	id, err := n.base.ResolveHandle(ctx, h)
	switch {
	case errors.Is(err, identity.ErrHandleNotFound), errors.Is(err, identity.ErrHandleReservedTLD):
		return "", fmt.Errorf("%w: %w", ErrNotFound, err)
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return id, nil
}

// ResolveDID returns the document of a did:web as JSON. It is meant for [ResolverConfig].Foreign,
// since a [Resolver] merges concurrent lookups, bounds their number and caches the results. Errors:
// [ErrNotFound], also for other DID methods, and [ErrUnavailable].
func (n *Network) ResolveDID(ctx context.Context, id syntax.DID) (json.RawMessage, error) {
	if id.Method() != "web" {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	doc, err := n.base.ResolveDIDRaw(ctx, id)
	switch {
	case errors.Is(err, identity.ErrDIDNotFound):
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return doc, nil
}
