package did

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/lookup"
)

// Resolver finds the documents of DIDs and caches them in a bounded amount of memory. Its methods
// are safe for concurrent use.
//
// If a cached document has expired and the lookup fails, the resolver returns the expired document
// for up to a day, and pauses for some seconds before it tries again, so that its callers don't
// notice a failure of the directory. "Not registered" and "tombstoned" are cached for some seconds
// too. Concurrent lookups of one DID are merged into one, which has the values of the first
// caller's context and goes on if that context ends.
type Resolver struct {
	cfg                ResolverConfig
	flights            lookup.Group
	directory, foreign slots

	mu        sync.Mutex
	documents *bounded[*answer]
	refusals  *bounded[*answer]
	underWay  map[syntax.DID]*flight // the latest request for each DID, whose result is to be cached
}

// answer is the result of a lookup: a document or an error. A cached answer isn't modified.
type answer struct {
	doc json.RawMessage
	// ident returns the parsed document, or nil if that isn't of the atproto form. Most documents are
	// never asked for it: a parsed one is dozens of objects, which the garbage collector visits.
	ident func() *identity.Identity
	pds   string // the endpoint of the account's server in the document, or ""
	err   error
	cost  int       // of the document, parsed too, or of the error, in bytes
	asked time.Time // the time of the last lookup, whether or not it succeeded
	until time.Time // when the answer expires
	drop  time.Time // when the answer isn't used any longer even if lookups fail
	// renewed is when Renew last made the document expire.
	renewed time.Time
}

// flight is a request that is under way: a lookup, or a request of a [Registrar].
type flight struct{ id syntax.DID }

// ResolverConfig configures a [Resolver].
type ResolverConfig struct {
	// Directory is where did:plc are looked up. Without one, Foreign resolves them too.
	Directory Directory
	// Foreign resolves all other DIDs. An error that is neither [ErrNotFound] nor [ErrTombstoned]
	// counts as [ErrUnavailable]. Without Foreign, other DIDs are not found.
	Foreign func(context.Context, syntax.DID) (json.RawMessage, error)
	// TTL is how long a document is cached. Default 5 minutes.
	TTL time.Duration
	// Stale is how much longer an expired document is used while lookups fail. Default 24 hours.
	Stale time.Duration
	// NegativeTTL is how long it is cached that a DID isn't registered, or is tombstoned. Default
	// 30 seconds.
	NegativeTTL time.Duration
	// Retry is the pause after a lookup for which the directory was unavailable. Default 10
	// seconds.
	Retry time.Duration
	// MinRefresh is the least time between two refreshes of a document by Renew. Default 30
	// seconds.
	MinRefresh time.Duration
	// Timeout bounds one lookup, including the time that it waits for its turn. Default 5 seconds.
	Timeout time.Duration
	// Concurrency is the most lookups that are under way at the same time at the directory, and
	// separately at foreign hosts, so that slow hosts don't hold up lookups at the directory.
	// Further lookups wait for their turn. Default 32.
	Concurrency int
	// Size is the most documents that are cached. Default 10,000.
	Size int
	// Bytes is the most memory that cached documents take, including their keys and their parsed
	// forms. A document that would take more than an eighth of it isn't cached. Errors are cached
	// in a thirty-second of it besides (at least 64 KiB), so that lookups of DIDs that don't exist
	// don't push out documents. Default 32 MiB.
	Bytes int
	// Now returns the time. Default [time.Now].
	Now func() time.Time
}

// NewResolver returns a Resolver. It returns an error if a number in the configuration is negative.
func NewResolver(cfg ResolverConfig) (*Resolver, error) {
	cfg.TTL = cmp.Or(cfg.TTL, 5*time.Minute)
	cfg.Stale = cmp.Or(cfg.Stale, 24*time.Hour)
	cfg.NegativeTTL = cmp.Or(cfg.NegativeTTL, 30*time.Second)
	cfg.Retry = cmp.Or(cfg.Retry, 10*time.Second)
	cfg.MinRefresh = cmp.Or(cfg.MinRefresh, 30*time.Second)
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	cfg.Concurrency = cmp.Or(cfg.Concurrency, 32)
	cfg.Size = cmp.Or(cfg.Size, 10_000)
	cfg.Bytes = cmp.Or(cfg.Bytes, 32<<20)
	if min(cfg.TTL, cfg.Stale, cfg.NegativeTTL, cfg.Retry, cfg.MinRefresh, cfg.Timeout) < 0 ||
		min(cfg.Concurrency, cfg.Size, cfg.Bytes) < 0 {
		return nil, errors.New("did: times and bounds of a resolver must not be negative")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	documents, err := newBounded[*answer](cfg.Size, cfg.Bytes)
	if err != nil {
		return nil, fmt.Errorf("did: %w", err)
	}
	refusals, err := newBounded[*answer](cfg.Size, max(cfg.Bytes/32, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("did: %w", err)
	}
	return &Resolver{
		cfg: cfg, directory: make(slots, cfg.Concurrency), foreign: make(slots, cfg.Concurrency),
		documents: documents, refusals: refusals, underWay: map[syntax.DID]*flight{},
	}, nil
}

// Resolve returns the document of a DID as JSON without superfluous space, which must not be
// modified. Errors: [ErrNotFound],
// [ErrTombstoned], [ErrUnavailable].
func (r *Resolver) Resolve(ctx context.Context, id syntax.DID) (json.RawMessage, error) {
	a, err := r.resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	return a.doc, nil
}

// Document returns the document of a DID, as [Resolver.Resolve] does, and the endpoint of the
// account's server that is in it; "" if none is.
func (r *Resolver) Document(ctx context.Context, id syntax.DID) (doc json.RawMessage, pds string, err error) {
	a, err := r.resolve(ctx, id)
	if err != nil {
		return nil, "", err
	}
	return a.doc, a.pds, nil
}

// Identity returns the parsed document of a DID, which must not be modified. The errors are those
// of Resolve; a document that isn't of the atproto form is an [ErrNotFound].
func (r *Resolver) Identity(ctx context.Context, id syntax.DID) (*identity.Identity, error) {
	a, err := r.resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	ident := a.ident()
	if ident == nil {
		return nil, fmt.Errorf("%w: the document of %s can't be read", ErrNotFound, id)
	}
	return ident, nil
}

func (r *Resolver) resolve(ctx context.Context, id syntax.DID) (*answer, error) {
	a := r.recall(id)
	if a == nil {
		var err error
		if a, err = r.ask(ctx, id); err != nil {
			return nil, err
		}
	}
	return a, a.err
}

// recall returns the cached answer for a DID if it hasn't expired, or nil.
func (r *Resolver) recall(id syntax.DID) *answer {
	now := r.cfg.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if a, found := r.documents.get(id, now); found && now.Before(a.until) {
		return a
	}
	if a, found := r.refusals.get(id, now); found {
		return a
	}
	return nil
}

// ask looks a DID up and caches the result. It returns an error only if the caller's context ends.
func (r *Resolver) ask(ctx context.Context, id syntax.DID) (*answer, error) {
	return lookup.Do(ctx, &r.flights, id.String(), r.cfg.Timeout, gaveUp, func(ctx context.Context) (*answer, error) {
		// Another lookup of the DID may have ended after the caller found nothing in the cache.
		if a := r.recall(id); a != nil {
			return a, nil
		}
		f := r.begin(id)
		defer r.end(f)
		doc, err := r.fetch(ctx, id)
		return r.settle(f, doc, err), nil
	})
}

// begin registers a request for a DID. It takes the place of an earlier one, whose result isn't
// cached any longer, since it may be out of date by now. A nil Resolver registers nothing.
func (r *Resolver) begin(id syntax.DID) *flight {
	if r == nil {
		return nil
	}
	f := &flight{id}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.underWay[id] = f
	return f
}

// end is called at the end of a request that begin registered.
func (r *Resolver) end(f *flight) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.underWay[f.id] == f {
		delete(r.underWay, f.id)
	}
}

// settle makes the answer of a lookup, and caches it unless the DID was forgotten, or another
// request for it began meanwhile.
func (r *Resolver) settle(f *flight, doc json.RawMessage, err error) *answer {
	now := r.cfg.Now()
	if err == nil {
		a := r.fresh(doc, now)
		if old := r.cached(f.id); old != nil {
			a.renewed = old.renewed
		}
		r.cache(f, a)
		return a
	}
	refusal := &answer{err: err, asked: now, drop: now.Add(r.cfg.NegativeTTL)}
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrTombstoned) {
		r.cache(f, refusal)
		return refusal
	}
	if !errors.Is(err, ErrUnavailable) {
		refusal.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if old := r.cached(f.id); old != nil {
		a := *old
		a.asked, a.until = now, now.Add(r.cfg.Retry)
		r.cache(f, &a)
		return &a
	}
	// A lookup that didn't get its turn says nothing about the DID.
	if !errors.Is(err, errBusy) {
		refusal.drop = now.Add(r.cfg.Retry)
		r.cache(f, refusal)
	}
	return refusal
}

// fresh makes the answer of a document that was just found.
func (r *Resolver) fresh(doc json.RawMessage, now time.Time) *answer {
	a := newAnswer(doc)
	a.asked, a.until, a.drop = now, now.Add(r.cfg.TTL), now.Add(r.cfg.TTL+r.cfg.Stale)
	return a
}

// cached returns the cached document, even if it has expired, or nil.
func (r *Resolver) cached(id syntax.DID) *answer {
	now := r.cfg.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	a, _ := r.documents.get(id, now)
	return a
}

// cache replaces what is cached for a DID with the answer to a request, and reports whether it did:
// not if the DID was forgotten, or another request for it began meanwhile.
func (r *Resolver) cache(f *flight, a *answer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.underWay[f.id] != f {
		return false
	}
	r.documents.remove(f.id)
	r.refusals.remove(f.id)
	if a.err == nil {
		r.documents.put(f.id, a, a.cost, a.asked, a.drop)
		return true
	}
	// The error may refer to something large that belongs to somebody else.
	kept := *a
	kept.err = detached(a.err)
	r.refusals.put(f.id, &kept, len(kept.err.Error()), a.asked, a.drop)
	return true
}

// learn ends a request of a [Registrar] that made an operation the last one of a did:plc: it caches
// the document after that operation as if it had just been looked up, and reports whether it did.
// It doesn't if the DID was forgotten or another request for it began meanwhile, since the
// operation may not be the last one any longer. A nil Resolver learns nothing.
func (r *Resolver) learn(f *flight, last *Operation) bool {
	if r == nil {
		return false
	}
	defer r.end(f)
	data := last.Data(f.id)
	if data == nil {
		return false
	}
	r.flights.Forget(f.id.String()) // nobody is to join a lookup from before
	return r.cache(f, r.fresh(data.Document(), r.cfg.Now()))
}

// fetch looks a document up where it is published.
func (r *Resolver) fetch(ctx context.Context, id syntax.DID) (json.RawMessage, error) {
	if id.Method() == "plc" && r.cfg.Directory != nil {
		if err := r.directory.take(ctx); err != nil {
			return nil, err
		}
		defer r.directory.free()
		op, err := last(ctx, r.cfg.Directory, id)
		if err != nil {
			return nil, err
		}
		return op.Data(id).Document(), nil
	}
	if r.cfg.Foreign == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	if err := r.foreign.take(ctx); err != nil {
		return nil, err
	}
	defer r.foreign.free()
	doc, err := r.cfg.Foreign(ctx, id)
	if err != nil {
		return nil, err
	}
	// The host may have sent anything, and the document becomes a part of our answers.
	var head struct {
		ID syntax.DID `json:"id"`
	}
	if err := json.Unmarshal(doc, &head); err != nil || head.ID != id {
		return nil, fmt.Errorf("%w: what was found is not the document of %s", ErrUnavailable, id)
	}
	return doc, nil
}

// Forget removes a DID from the cache, because it may have changed, so that the next Resolve looks
// it up. A lookup that is under way isn't joined by further callers, and its result isn't cached.
func (r *Resolver) Forget(id syntax.DID) {
	if r == nil {
		return
	}
	r.mu.Lock()
	delete(r.underWay, id)
	r.documents.remove(id)
	r.refusals.remove(id)
	r.mu.Unlock()
	r.flights.Forget(id.String())
}

// Renew makes the cached document of a DID expire, so that the next Resolve looks it up, and
// reports whether it did. It does so at most once in [ResolverConfig].MinRefresh. It is called for
// a signature that isn't by a key of the document: the key may have been changed since, but badly
// signed tokens, of which anybody can send many, must not each cause a lookup. "Not registered" and
// "tombstoned" expire if they are at least that old. Unlike after Forget, the expired document is
// still used while lookups fail.
func (r *Resolver) Renew(id syntax.DID) bool {
	now := r.cfg.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if a, found := r.documents.get(id, now); found && now.Sub(a.renewed) >= r.cfg.MinRefresh {
		expired := *a
		expired.until, expired.renewed = now, now
		r.documents.put(id, &expired, a.cost, now, a.drop)
		return true
	}
	if a, found := r.refusals.get(id, now); found && now.Sub(a.asked) >= r.cfg.MinRefresh {
		r.refusals.remove(id)
		return true
	}
	return false
}

// newAnswer makes the answer of a document.
func newAnswer(doc json.RawMessage) *answer {
	doc = compact(doc)
	ident, cost := parse(doc)
	a := &answer{doc: doc, cost: cap(doc) + cost}
	if ident != nil {
		a.pds = strings.Clone(ident.PDSEndpoint())
		a.cost += len(a.pds)
	}
	a.ident = sync.OnceValue(func() *identity.Identity {
		ident, _ := parse(doc)
		return ident
	})
	return a
}

// parse parses a document, and returns what the result takes in memory. The result is nil if the
// document isn't of the atproto form. It is a copy of everything that it keeps, so that no larger
// string stays in memory because a part of it is used.
func parse(doc json.RawMessage) (ident *identity.Identity, cost int) {
	var parsed identity.DIDDocument
	if json.Unmarshal(doc, &parsed) != nil {
		return nil, 0
	}
	full := identity.ParseIdentity(&parsed)
	// The maps that ParseIdentity makes have room for all entries of the document, including those
	// that it ignores.
	ident = &identity.Identity{
		DID: full.DID, Handle: full.Handle, AlsoKnownAs: append([]string(nil), full.AlsoKnownAs...),
		Services: make(map[string]identity.ServiceEndpoint, len(full.Services)),
		Keys:     make(map[string]identity.VerificationMethod, len(full.Keys)),
	}
	cost = len(full.DID) + cap(ident.AlsoKnownAs)*stringCost + 2*mapCost
	for _, aka := range ident.AlsoKnownAs {
		cost += len(aka)
	}
	for name, s := range full.Services {
		ident.Services[strings.Clone(name)] = s
		cost += len(name) + len(s.Type) + len(s.URL) + slotCost
	}
	for name, k := range full.Keys {
		ident.Keys[strings.Clone(name)] = k
		cost += len(name) + len(k.Type) + len(k.PublicKeyMultibase) + slotCost
	}
	return ident, cost
}

// compact returns a copy of JSON as [json.Marshal] would write it within other JSON, so that it can
// become a part of an answer as it is.
func compact(doc json.RawMessage) json.RawMessage {
	if c, err := json.Marshal(doc); err == nil {
		return c
	}
	return bytes.Clone(doc)
}

// The approximate sizes of Go's own structures in bytes.
const (
	stringCost = 32  // a string in a slice, and what its memory is rounded up by
	slotCost   = 160 // an entry of three strings in a map that may be half empty, and the same
	mapCost    = 512 // a map with room for the first eight entries
)

// detached returns an error that has the kind and the text of another one, and refers to nothing
// else.
func detached(err error) error {
	for _, kind := range []error{ErrTombstoned, ErrNotFound, ErrUnavailable} {
		if errors.Is(err, kind) {
			return &detachedError{kind, fmt.Sprintf("%.1000s", err)}
		}
	}
	return err
}

type detachedError struct {
	kind error
	text string
}

func (e *detachedError) Error() string { return e.text }
func (e *detachedError) Unwrap() error { return e.kind }
