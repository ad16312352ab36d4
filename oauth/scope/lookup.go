package scope

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/lookup"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// get returns a permission set: from memory, from the store, or from the network.
func (p *Sets) get(ctx context.Context, nsid syntax.NSID) (*PermissionSet, error) {
	if set, err, known := p.recall(nsid); known {
		return set, err
	}
	return lookup.Do(ctx, &p.flights, nsid.String(), p.cfg.Timeout, nil, func(ctx context.Context) (*PermissionSet, error) {
		return p.lookUp(ctx, nsid)
	})
}

// recall returns what is known of a set in memory, if it isn't time to resolve it again.
func (p *Sets) recall(nsid syntax.NSID) (set *PermissionSet, err error, known bool) {
	now := p.cfg.Now()
	if k, found := p.cached.Get(nsid); found && now.Before(k.next) && now.Before(k.resolved.Add(p.cfg.Keep)) {
		return k.set, nil, true
	}
	if f, found := p.failures.Get(nsid); found && now.Before(f.next) {
		return nil, f.err, true
	}
	return nil, nil, false
}

// lookUp resolves a set, unless another process has done so.
func (p *Sets) lookUp(ctx context.Context, nsid syntax.NSID) (*PermissionSet, error) {
	if set, err, known := p.recall(nsid); known { // by a lookup that ended just now
		return set, err
	}
	now := p.cfg.Now()
	old, err := p.load(ctx, nsid, now)
	if err != nil {
		return nil, err
	}
	if old != nil && now.Before(old.next) {
		p.cached.Add(nsid, *old)
		return old.set, nil
	}
	set, doc, err := p.resolve(ctx, nsid)
	if err == nil {
		k := kept{set: set, resolved: now, next: now.Add(p.cfg.Fresh)}
		if err := p.save(ctx, nsid, doc, now); err != nil {
			p.cfg.Logger.WarnContext(ctx, "could not keep a permission set", "nsid", nsid, "error", err)
		}
		p.cached.Add(nsid, k)
		p.failures.Remove(nsid)
		return set, nil
	}
	p.cfg.Logger.WarnContext(ctx, "could not resolve a permission set", "nsid", nsid, "kept", old != nil, "error", err)
	if old != nil {
		old.next = now.Add(p.cfg.Retry)
		p.cached.Add(nsid, *old)
		return old.set, nil
	}
	err = unresolved(nsid, err)
	p.cached.Remove(nsid)
	p.failures.Add(nsid, failure{err: err, next: now.Add(p.cfg.RetryUnknown)})
	return nil, err
}

// load returns a set that is kept in the store, or nil.
func (p *Sets) load(ctx context.Context, nsid syntax.NSID, now time.Time) (*kept, error) {
	r, err := p.read(ctx, nsid)
	if err != nil || r == nil || !now.Before(r.Resolved.Add(p.cfg.Keep)) {
		return nil, err
	}
	set, err := ParsePermissionSet(nsid, r.Document)
	if err != nil { // as by an earlier version, which had other rules
		return nil, nil
	}
	return &kept{set: set, resolved: r.Resolved, next: r.Resolved.Add(p.cfg.Fresh)}, nil
}

// resolve has the resolver find a set, once it is its turn.
func (p *Sets) resolve(ctx context.Context, nsid syntax.NSID) (set *PermissionSet, doc json.RawMessage, err error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("too many permission sets are being resolved: %w", ctx.Err())
	}
	// Nobody else could recover from a panic of the resolver: this goroutine is that of all callers.
	defer func() {
		if r := recover(); r != nil {
			set, doc, err = nil, nil, fmt.Errorf("the resolver panicked: %v\n\n%s", r, debug.Stack())
		}
	}()
	doc, err = p.cfg.Resolver.Resolve(ctx, nsid)
	if err != nil {
		return nil, nil, err
	}
	set, err = ParsePermissionSet(nsid, doc)
	if err != nil {
		return nil, nil, refusal.New(ErrScope, err.Error())
	}
	return set, doc, nil
}

// unresolved returns the error for a set that can't be resolved. The text of an error of the
// network isn't shown: it may tell about the network of the server.
func unresolved(nsid syntax.NSID, err error) error {
	reason := "it can't be reached at the moment"
	var public interface{ PublicMessage() string }
	if errors.As(err, &public) {
		reason = refusal.Clean(public.PublicMessage())
	}
	return refusal.Newf(ErrScope, "The permission set %s can't be resolved: %s", nsid, reason)
}
