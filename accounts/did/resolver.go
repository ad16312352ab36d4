package did

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	lru "github.com/hashicorp/golang-lru/v2"
)

// Resolver finds the documents of DIDs and remembers them for a while.
type Resolver struct {
	dir     Directory
	foreign func(context.Context, syntax.DID) (json.RawMessage, error)
	ttl     time.Duration
	now     func() time.Time
	cache   *lru.Cache[syntax.DID, cached]
}

type cached struct {
	doc   json.RawMessage
	until time.Time
}

// ResolverConfig configures a [Resolver].
type ResolverConfig struct {
	// Directory has the did:plc.
	Directory Directory
	// Foreign resolves all other DIDs. Optional.
	Foreign func(context.Context, syntax.DID) (json.RawMessage, error)
	// TTL is how long a document is remembered. Default 5 minutes.
	TTL time.Duration
	// Size is how many are remembered. Default 10,000.
	Size int
	// Now tells the time. Default [time.Now].
	Now func() time.Time
}

// NewResolver returns a Resolver.
func NewResolver(cfg ResolverConfig) (*Resolver, error) {
	if cfg.TTL == 0 {
		cfg.TTL = 5 * time.Minute
	}
	if cfg.Size == 0 {
		cfg.Size = 10_000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cache, err := lru.New[syntax.DID, cached](cfg.Size)
	if err != nil {
		return nil, fmt.Errorf("did: %w", err)
	}
	return &Resolver{dir: cfg.Directory, foreign: cfg.Foreign, ttl: cfg.TTL, now: cfg.Now, cache: cache}, nil
}

// Resolve returns the document of a DID as JSON.
// Errors: [ErrNotFound], [ErrTombstoned], [ErrUnavailable].
func (r *Resolver) Resolve(ctx context.Context, id syntax.DID) (json.RawMessage, error) {
	if c, ok := r.cache.Get(id); ok && r.now().Before(c.until) {
		return c.doc, nil
	}
	doc, err := r.fetch(ctx, id)
	if err != nil {
		return nil, err
	}
	r.cache.Add(id, cached{doc, r.now().Add(r.ttl)})
	return doc, nil
}

func (r *Resolver) fetch(ctx context.Context, id syntax.DID) (json.RawMessage, error) {
	if id.Method() == "plc" && r.dir != nil {
		last, err := Last(ctx, r.dir, id)
		if err != nil {
			return nil, err
		}
		return json.Marshal(last.Data(id).Document())
	}
	if r.foreign != nil {
		return r.foreign(ctx, id)
	}
	return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
}

// Forget makes the next Resolve ask anew.
func (r *Resolver) Forget(id syntax.DID) { r.cache.Remove(id) }
