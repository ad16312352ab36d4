package scope

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/errgroup"

	"github.com/gatehouse-at/gatehouse/internal/lookup"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// SetResolver finds published permission sets.
type SetResolver interface {
	// Resolve returns the document of a permission set, for [ParsePermissionSet]. If the error has a
	// method PublicMessage() string, its message is shown to the client's developer; of other errors
	// only the log tells.
	Resolve(ctx context.Context, nsid syntax.NSID) (json.RawMessage, error)
}

// SetsConfig configures [Sets]. Resolver is required.
type SetsConfig struct {
	// Resolver finds the sets.
	Resolver SetResolver
	// Fresh is how long a set is used before it is resolved again. Default and maximum 24 hours
	// (source: https://atproto.com/specs/permission).
	Fresh time.Duration
	// Keep is how long a set is used after it was last resolved, if resolving it again fails. Default
	// 90 days (source: https://atproto.com/specs/permission).
	Keep time.Duration
	// Retry is the pause after an attempt to resolve a set that is kept has failed. Default 5 minutes.
	Retry time.Duration
	// RetryUnknown is the pause after an attempt to resolve a set that isn't kept has failed. Default
	// 10 seconds.
	RetryUnknown time.Duration
	// Timeout bounds one attempt, including the time that it waits for its turn. Default 15 seconds.
	Timeout time.Duration
	// Concurrency is the most sets that are being resolved at the same time. Default 16.
	Concurrency int
	// Now returns the time. Default [time.Now].
	Now func() time.Time
	// Logger receives a warning when a set can't be resolved again. Default [slog.Default].
	Logger *slog.Logger
}

const (
	// maxIncludes is how many permission sets a scope may contain.
	maxIncludes = 20
	// maxExpanded is the longest expanded scope, in bytes. It is sent with every request, in the
	// access token, which base64url makes a third longer, and HTTP servers limit the length of
	// headers.
	maxExpanded = 10 << 10
	// The sizes of the cache in memory.
	maxCached   = 256
	maxFailures = 1024
)

// Sets resolves permission sets and keeps them in the store, so that they work on while the network
// is unreachable, also after a restart. Its methods are safe for concurrent use.
type Sets struct {
	store    storage.Store
	cfg      SetsConfig
	cached   *lru.Cache[syntax.NSID, kept]
	failures *lru.Cache[syntax.NSID, failure]
	flights  lookup.Group
	slots    chan struct{}
}

// kept is a set in memory.
type kept struct {
	set      *PermissionSet
	resolved time.Time
	next     time.Time // when to resolve it again
}

// failure is a failed attempt to resolve a set that isn't kept.
type failure struct {
	err  error
	next time.Time // when to resolve it again
}

// NewSets returns Sets that are kept in a store, and defines its table there. It returns an error
// if there is no resolver, or a number in the configuration is negative.
func NewSets(ctx context.Context, store storage.Store, cfg SetsConfig) (*Sets, error) {
	cfg.Fresh = min(cmp.Or(cfg.Fresh, 24*time.Hour), 24*time.Hour)
	cfg.Keep = cmp.Or(cfg.Keep, 90*24*time.Hour)
	cfg.Retry = cmp.Or(cfg.Retry, 5*time.Minute)
	cfg.RetryUnknown = cmp.Or(cfg.RetryUnknown, 10*time.Second)
	cfg.Timeout = cmp.Or(cfg.Timeout, 15*time.Second)
	cfg.Concurrency = cmp.Or(cfg.Concurrency, 16)
	if cfg.Resolver == nil {
		return nil, errors.New("oauth/scope: SetsConfig.Resolver is required")
	}
	if min(cfg.Fresh, cfg.Keep, cfg.Retry, cfg.RetryUnknown, cfg.Timeout) < 0 || cfg.Concurrency < 0 {
		return nil, errors.New("oauth/scope: times and bounds in SetsConfig must not be negative")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if err := storage.Define(ctx, store, Tables()...); err != nil {
		return nil, fmt.Errorf("oauth/scope: %w", err)
	}
	cached, err := lru.New[syntax.NSID, kept](maxCached)
	if err != nil {
		return nil, fmt.Errorf("oauth/scope: %w", err)
	}
	failures, err := lru.New[syntax.NSID, failure](maxFailures)
	if err != nil {
		return nil, fmt.Errorf("oauth/scope: %w", err)
	}
	return &Sets{store: store, cfg: cfg, cached: cached, failures: failures, slots: make(chan struct{}, cfg.Concurrency)}, nil
}

// Resolved holds the permission sets of a scope.
type Resolved map[syntax.NSID]*PermissionSet

// Resolve finds the permission sets that a scope contains. Error: [ErrScope], if one of them can't
// be resolved and isn't kept, or there are too many.
func (p *Sets) Resolve(ctx context.Context, s Set) (Resolved, error) {
	found := Resolved{}
	for _, e := range s {
		if include, known := parse(e); known && include.Resource == "include" {
			found[syntax.NSID(include.NSID)] = nil
		}
	}
	if len(found) == 0 {
		return found, nil
	}
	if len(found) > maxIncludes {
		return nil, refusal.Newf(ErrScope, "The scope contains more than %d permission sets", maxIncludes)
	}
	type result struct {
		nsid syntax.NSID
		set  *PermissionSet
	}
	results := make(chan result, len(found))
	group, groupCtx := errgroup.WithContext(ctx)
	for nsid := range found {
		group.Go(func() error {
			set, err := p.get(groupCtx, nsid)
			results <- result{nsid, set}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	close(results)
	for r := range results {
		found[r.nsid] = r.set
	}
	return found, nil
}

// Expand returns a scope in which the elements of permission sets take the place of the sets, for
// package sessions. At the start of a session an error refuses the request. At a refresh it
// doesn't: the session stays with the scope that it has (source:
// https://atproto.com/specs/permission). Error: [ErrScope], as for [Sets.Resolve], or if the result
// is too long.
func (p *Sets) Expand(ctx context.Context, s Set) (Set, error) {
	resolved, err := p.Resolve(ctx, s)
	if err != nil {
		return nil, err
	}
	return s.Expand(resolved)
}

// Expand is [Sets.Expand] with permission sets that are at hand. What isn't in resolved allows
// nothing. Error: [ErrScope], if the result is too long.
func (s Set) Expand(resolved Resolved) (Set, error) {
	all := make([]string, 0, len(s))
	length := 0
	add := func(elements ...string) {
		for _, e := range elements {
			length += len(e) + 1
		}
		all = append(all, elements...)
	}
	for _, e := range s {
		include, known := parse(e)
		if !known || include.Resource != "include" {
			add(e)
			continue
		}
		if set := resolved[syntax.NSID(include.NSID)]; set != nil {
			add(set.elements(include.Audience)...)
		}
		if length > maxExpanded {
			return nil, refusal.Newf(ErrScope, "The scope is too long: with the permissions of its permission sets it has more than %d bytes", maxExpanded)
		}
	}
	return unique(all), nil
}
