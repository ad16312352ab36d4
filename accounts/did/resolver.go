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
	"golang.org/x/sync/singleflight"
)

// Resolver finds the documents of DIDs and remembers them for a while, in a bounded amount of
// memory. Its methods are safe for concurrent use.
//
// Where a document can't be had anew it returns the one that it remembers, up to a day old, and
// asks again only after some seconds, so that a directory's failure doesn't become its callers'.
// That a DID isn't registered or is tombstoned it remembers for some seconds too. Equal lookups at
// the same time are made once, with the values of the first caller's context; a caller whose
// context ends doesn't end the lookup.
type Resolver struct {
	cfg                ResolverConfig
	flights            singleflight.Group
	directory, foreign slots

	mu        sync.Mutex
	documents *bounded[*answer]
	refusals  *bounded[*answer]
	underWay  map[syntax.DID]*flight // the lookups whose results are to be remembered
}

// answer is the result of a lookup: a document, or an error. It isn't changed once it is
// remembered.
type answer struct {
	doc   json.RawMessage
	ident *identity.Identity // what the document says, if it is of the usual form
	err   error
	cost  int       // of the document or the error, in bytes
	asked time.Time // when it was had, or was last to be had anew
	until time.Time // when it is to be had anew
	drop  time.Time // until when it serves in an outage
	// renewed is when Renew last had the document of the DID looked up anew.
	renewed time.Time
}

// flight is a lookup under way.
type flight struct{ id syntax.DID }

// ResolverConfig configures a [Resolver].
type ResolverConfig struct {
	// Directory has the did:plc.
	Directory Directory
	// Foreign resolves all other DIDs. Optional. An error that is neither [ErrNotFound] nor
	// [ErrTombstoned] counts as [ErrUnavailable].
	Foreign func(context.Context, syntax.DID) (json.RawMessage, error)
	// TTL is how long a document is remembered. Default 5 minutes.
	TTL time.Duration
	// Stale is how much longer a document is kept for when it can't be had anew. Default 24 hours.
	Stale time.Duration
	// NegativeTTL is how long it is remembered that a DID isn't registered, or is tombstoned.
	// Default 30 seconds.
	NegativeTTL time.Duration
	// Retry is the pause after a resolution for which the directory was unavailable. Default 10
	// seconds.
	Retry time.Duration
	// MinRefresh is how often Renew has a document had anew at most. Default 30 seconds.
	MinRefresh time.Duration
	// Timeout bounds one resolution, with the time that it waits to begin. Default 5 seconds.
	Timeout time.Duration
	// Concurrency is how many lookups are made at the same time at the directory, and how many at
	// foreign hosts, which therefore can't keep the directory's from being made by being slow.
	// Further ones wait for their turn. Default 32.
	Concurrency int
	// Size is how many documents are remembered. Default 10,000.
	Size int
	// Bytes is how much memory the remembered documents take, their keys and their parsed forms
	// included. A document that would take more than an eighth of it isn't remembered. Errors have
	// a thirty-second of it besides, and 64 KiB at least, so that lookups of DIDs that don't exist
	// push out no document. Default 32 MiB.
	Bytes int
	// Now tells the time. Default [time.Now].
	Now func() time.Time
}

// NewResolver returns a Resolver. It refuses negative numbers.
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
		return nil, errors.New("did: a time or a bound of the resolver is negative")
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

// Resolve returns the document of a DID as JSON, which must not be changed.
// Errors: [ErrNotFound], [ErrTombstoned], [ErrUnavailable].
func (r *Resolver) Resolve(ctx context.Context, id syntax.DID) (json.RawMessage, error) {
	a, err := r.resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	return a.doc, nil
}

// Identity returns what the document of a DID says, which must not be changed.
// Errors: those of Resolve; [ErrNotFound] also if the document isn't one of the atproto form.
func (r *Resolver) Identity(ctx context.Context, id syntax.DID) (*identity.Identity, error) {
	a, err := r.resolve(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case a.ident == nil:
		return nil, fmt.Errorf("%w: the document of %s can't be read", ErrNotFound, id)
	}
	return a.ident, nil
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

// recall returns what is remembered of a DID and needn't be had anew yet, or nil.
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

// ask looks a DID up and remembers the result. Its error is that the caller's context has ended.
func (r *Resolver) ask(ctx context.Context, id syntax.DID) (*answer, error) {
	return merge(ctx, &r.flights, id.String(), r.cfg.Timeout, func(ctx context.Context) (*answer, error) {
		// An equal lookup may have ended after the caller looked, and before it could be joined.
		if a := r.recall(id); a != nil {
			return a, nil
		}
		f := r.begin(id)
		defer r.end(f)
		doc, err := r.fetch(ctx, id)
		return r.settle(f, doc, err), nil
	})
}

func (r *Resolver) begin(id syntax.DID) *flight {
	f := &flight{id}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.underWay[id] = f
	return f
}

func (r *Resolver) end(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.underWay[f.id] == f {
		delete(r.underWay, f.id)
	}
}

// settle makes the answer of a lookup, and remembers it unless Forget was called meanwhile: what
// was fetched before may be what was to be forgotten.
func (r *Resolver) settle(f *flight, doc json.RawMessage, err error) *answer {
	now := r.cfg.Now()
	if err == nil {
		a := newAnswer(doc)
		a.asked, a.until, a.drop = now, now.Add(r.cfg.TTL), now.Add(r.cfg.TTL+r.cfg.Stale)
		if old := r.last(f.id); old != nil {
			a.renewed = old.renewed
		}
		r.remember(f, a)
		return a
	}
	refusal := &answer{err: err, asked: now, drop: now.Add(r.cfg.NegativeTTL)}
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrTombstoned) {
		r.remember(f, refusal)
		return refusal
	}
	if !errors.Is(err, ErrUnavailable) {
		refusal.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if old := r.last(f.id); old != nil {
		a := *old
		a.asked, a.until = now, now.Add(r.cfg.Retry)
		r.remember(f, &a)
		return &a
	}
	// That a lookup didn't get its turn says nothing about the DID.
	if !errors.Is(err, errBusy) {
		refusal.drop = now.Add(r.cfg.Retry)
		r.remember(f, refusal)
	}
	return refusal
}

// last returns the document that is remembered, however old, or nil.
func (r *Resolver) last(id syntax.DID) *answer {
	now := r.cfg.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	a, _ := r.documents.get(id, now)
	return a
}

// remember keeps an answer in the place of what was known before.
func (r *Resolver) remember(f *flight, a *answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.underWay[f.id] != f {
		return
	}
	r.documents.remove(f.id)
	r.refusals.remove(f.id)
	if a.err == nil {
		r.documents.put(f.id, a, a.cost, a.asked, a.drop)
		return
	}
	// What the error refers to may be large, and somebody else's.
	kept := *a
	kept.err = remembered(a.err)
	r.refusals.put(f.id, &kept, len(kept.err.Error()), a.asked, a.drop)
}

// fetch gets a document where it is.
func (r *Resolver) fetch(ctx context.Context, id syntax.DID) (json.RawMessage, error) {
	if id.Method() == "plc" && r.cfg.Directory != nil {
		if err := r.directory.take(ctx); err != nil {
			return nil, err
		}
		defer r.directory.free()
		last, err := Last(ctx, r.cfg.Directory, id)
		if err != nil {
			return nil, err
		}
		return json.Marshal(last.Data(id).Document())
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
	// It goes into our answers, and may be anything.
	var head struct {
		ID syntax.DID `json:"id"`
	}
	if err := json.Unmarshal(doc, &head); err != nil || head.ID != id {
		return nil, fmt.Errorf("%w: what was found is not the document of %s", ErrUnavailable, id)
	}
	return doc, nil
}

// Forget makes the next Resolve ask anew: for a DID that has changed. A lookup that is under way is
// joined by nobody any more, and its result isn't remembered.
func (r *Resolver) Forget(id syntax.DID) {
	r.mu.Lock()
	delete(r.underWay, id)
	r.documents.remove(id)
	r.refusals.remove(id)
	r.mu.Unlock()
	r.flights.Forget(id.String())
}

// Renew makes the next Resolve of a DID ask anew, once in [ResolverConfig].MinRefresh, and reports
// whether it does. It is for a signature that isn't by a key of the document: the key may have been
// changed since, but badly signed tokens, of which anybody can send many, must not cause a lookup
// each. That a DID isn't registered or is tombstoned is looked up anew once it has that age. Unlike
// Forget, Renew keeps the document for when the directory is unavailable.
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

// newAnswer reads a document. It keeps copies, so that what it costs is known, and nothing larger
// stays in memory because a part of it is used.
func newAnswer(doc json.RawMessage) *answer {
	a := &answer{doc: bytes.Clone(doc)}
	a.cost = cap(a.doc)
	var parsed identity.DIDDocument
	if json.Unmarshal(doc, &parsed) != nil {
		return a
	}
	full := identity.ParseIdentity(&parsed)
	// The maps of the parsed form have room for all entries of the document, those that say nothing
	// included.
	ident := identity.Identity{
		DID: full.DID, Handle: full.Handle, AlsoKnownAs: append([]string(nil), full.AlsoKnownAs...),
		Services: make(map[string]identity.ServiceEndpoint, len(full.Services)),
		Keys:     make(map[string]identity.VerificationMethod, len(full.Keys)),
	}
	a.cost += len(full.DID) + cap(ident.AlsoKnownAs)*stringCost + 2*mapCost
	for _, aka := range ident.AlsoKnownAs {
		a.cost += len(aka)
	}
	for name, s := range full.Services {
		ident.Services[strings.Clone(name)] = s
		a.cost += len(name) + len(s.Type) + len(s.URL) + slotCost
	}
	for name, k := range full.Keys {
		ident.Keys[strings.Clone(name)] = k
		a.cost += len(name) + len(k.Type) + len(k.PublicKeyMultibase) + slotCost
	}
	a.ident = &ident
	return a
}

// About what Go's own structures take, in bytes.
const (
	stringCost = 32  // a string in a slice, and what its memory is rounded up by
	slotCost   = 160 // an entry of three strings in a map that may be half empty, and the same
	mapCost    = 512 // a map with room for the first eight
)

// remembered is an error with its kind and its text, and nothing else.
func remembered(err error) error {
	for _, kind := range []error{ErrTombstoned, ErrNotFound, ErrUnavailable} {
		if errors.Is(err, kind) {
			return &rememberedError{kind, fmt.Sprintf("%.1000s", err)}
		}
	}
	return err
}

type rememberedError struct {
	kind error
	text string
}

func (e *rememberedError) Error() string { return e.text }
func (e *rememberedError) Unwrap() error { return e.kind }
