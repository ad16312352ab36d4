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
)

// Network resolves handles by DNS and HTTPS, and the did:web of others by HTTPS. It connects
// to public addresses only, so that nobody's handle makes it call what is inside.
type Network struct {
	base *identity.BaseDirectory
}

// NewNetwork returns a Network. A nil transport is one that refuses private addresses.
func NewNetwork(transport http.RoundTripper, userAgent string) *Network {
	if transport == nil {
		transport = ssrf.PublicOnlyTransport()
	}
	return &Network{&identity.BaseDirectory{
		HTTPClient: http.Client{
			Timeout:   10 * time.Second,
			Transport: limited{transport},
			// A well-known file is where it is.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		// A domain's own name servers aren't asked: their addresses are of its owner's choice, and can be inside.
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
	id, err := n.base.ResolveHandle(ctx, h)
	switch {
	case errors.Is(err, identity.ErrHandleNotFound), errors.Is(err, identity.ErrHandleReservedTLD):
		return "", fmt.Errorf("%w: %w", ErrNotFound, err)
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return id, nil
}

// ResolveDID returns the document of a did:web. Errors: [ErrNotFound], [ErrUnavailable].
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
