package did

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
	lru "github.com/hashicorp/golang-lru/v2"
)

// Resolver finds the documents of DIDs and remembers them for a while. Where a document can't
// be had anew it returns the one that it remembers, and asks again only after some seconds, so that
// a directory's failure doesn't become its callers'.
type Resolver struct {
	cfg     ResolverConfig
	cache   *lru.Cache[syntax.DID, cached]
	forgets atomic.Uint64 // counts calls of Forget
}

// cached is the result of a resolution: a document, or an error if there never was one.
type cached struct {
	doc   json.RawMessage
	ident *identity.Identity // what the document says, if it is of the usual form
	err   error
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
	// Retry is the pause after a resolution for which the directory was unavailable. Default 10 seconds.
	Retry time.Duration
	// Timeout bounds one resolution. Default 5 seconds.
	Timeout time.Duration
	// Size is how many are remembered. Default 10,000.
	Size int
	// Now tells the time. Default [time.Now].
	Now func() time.Time
}

// NewResolver returns a Resolver.
func NewResolver(cfg ResolverConfig) (*Resolver, error) {
	cfg.TTL = cmp.Or(cfg.TTL, 5*time.Minute)
	cfg.Retry = cmp.Or(cfg.Retry, 10*time.Second)
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cache, err := lru.New[syntax.DID, cached](cmp.Or(cfg.Size, 10_000))
	if err != nil {
		return nil, fmt.Errorf("did: %w", err)
	}
	return &Resolver{cfg: cfg, cache: cache}, nil
}

// Resolve returns the document of a DID as JSON, which must not be changed.
// Errors: [ErrNotFound], [ErrTombstoned], [ErrUnavailable].
func (r *Resolver) Resolve(ctx context.Context, id syntax.DID) (json.RawMessage, error) {
	c := r.resolve(ctx, id)
	return c.doc, c.err
}

// Identity returns what the document of a DID says, which must not be changed.
// Errors: those of Resolve; [ErrNotFound] also if the document isn't one of the atproto form.
func (r *Resolver) Identity(ctx context.Context, id syntax.DID) (*identity.Identity, error) {
	c := r.resolve(ctx, id)
	if c.err == nil && c.ident == nil {
		return nil, fmt.Errorf("%w: the document of %s can't be read", ErrNotFound, id)
	}
	return c.ident, c.err
}

func (r *Resolver) resolve(ctx context.Context, id syntax.DID) cached {
	old, known := r.cache.Get(id)
	if known && r.cfg.Now().Before(old.until) {
		return old
	}
	forgets := r.forgets.Load()
	doc, err := r.fetch(ctx, id)
	fresh := cached{doc: doc, until: r.cfg.Now().Add(r.cfg.TTL)}
	switch {
	case err == nil:
		var parsed identity.DIDDocument
		if json.Unmarshal(doc, &parsed) == nil {
			ident := identity.ParseIdentity(&parsed)
			fresh.ident = &ident
		}
	case ctx.Err() != nil: // the caller has gone, which says nothing about the DID
		return cached{err: err}
	case errors.Is(err, ErrUnavailable):
		fresh = cached{doc: old.doc, ident: old.ident, until: r.cfg.Now().Add(r.cfg.Retry)}
		if old.doc == nil {
			fresh.err = err
		}
	default:
		r.cache.Remove(id)
		return cached{err: err}
	}
	// What was fetched before a Forget may be what was to be forgotten.
	if forgets == r.forgets.Load() {
		r.cache.Add(id, fresh)
	}
	return fresh
}

func (r *Resolver) fetch(ctx context.Context, id syntax.DID) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	if id.Method() == "plc" && r.cfg.Directory != nil {
		last, err := Last(ctx, r.cfg.Directory, id)
		if err != nil {
			return nil, err
		}
		return json.Marshal(last.Data(id).Document())
	}
	if r.cfg.Foreign == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	doc, err := r.cfg.Foreign(ctx, id)
	if err != nil {
		return nil, err
	}
	// It goes into our answers, and may be anything.
	var head struct {
		ID syntax.DID `json:"id"`
	}
	if err := json.Unmarshal(doc, &head); err != nil || head.ID != id {
		return nil, fmt.Errorf("%w: what was found is not the document of %s", ErrUnavailable, id)
	}
	return doc, nil
}

// Forget makes the next Resolve ask anew.
func (r *Resolver) Forget(id syntax.DID) {
	r.forgets.Add(1)
	r.cache.Remove(id)
}
