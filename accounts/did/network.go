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
	"golang.org/x/sync/singleflight"
)

// Network resolves handles by DNS and HTTPS, and the did:web of others by HTTPS. It connects
// to public addresses only, so that nobody's handle makes it call what is inside.
//
// It remembers nothing: a handle is looked up when somebody takes it, just after its DNS record or
// its file was made, and an answer from before would be out of date. But equal lookups of a handle
// at the same time are made once, and 64 different ones at most; further ones wait for their turn.
type Network struct {
	base    *identity.BaseDirectory
	flights singleflight.Group // of handles
	slots   slots
}

const (
	maxHandles    = 64
	handleTimeout = 15 * time.Second // of a lookup of a handle, with the time that it waits to begin
)

// NewNetwork returns a Network. A nil transport is one that refuses private addresses.
func NewNetwork(transport http.RoundTripper, userAgent string) *Network {
	if transport == nil {
		transport = ssrf.PublicOnlyTransport()
	}
	return &Network{slots: make(slots, maxHandles), base: &identity.BaseDirectory{
		HTTPClient: http.Client{
			Timeout:   10 * time.Second,
			Transport: limited{transport},
			// A well-known file is where it is.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		// A domain's own name servers aren't asked: their addresses are of its owner's choice, and
		// can be inside.
		TryAuthoritativeDNS: false,
		UserAgent:           userAgent,
	}}
}

// limited bounds what is read of an answer.
type limited struct{ next http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, 64<<10)
	}
	return resp, err
}

// ResolveHandle returns the DID that a handle claims
// (source: the atproto handle specification). Errors: [ErrNotFound], [ErrUnavailable].
func (n *Network) ResolveHandle(ctx context.Context, h syntax.Handle) (syntax.DID, error) {
	h = h.Normalize()
	return merge(ctx, &n.flights, h.String(), handleTimeout, func(ctx context.Context) (syntax.DID, error) {
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

// ResolveDID returns the document of a did:web. It is for [ResolverConfig].Foreign: a [Resolver]
// merges equal lookups, bounds their number and remembers their results. Errors: [ErrNotFound],
// [ErrUnavailable].
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
