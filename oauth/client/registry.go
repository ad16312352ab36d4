package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/cached"
	"github.com/gatehouse-at/gatehouse/internal/hostname"
	"github.com/gatehouse-at/gatehouse/internal/jwks"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// Config configures a [Registry].
type Config struct {
	// Fetcher gets the documents. It is required.
	Fetcher Fetcher
	// Issuer is the identifier of this authorization server, which clients name as the audience of
	// what they sign. It is required.
	Issuer string
	// Trusted lists the client_ids of clients that the operator vouches for.
	Trusted []string
	// Refused lists clients that aren't admitted: client_ids, or host names, which stand for all
	// clients of the host and of hosts below it. "localhost" stands for all development clients.
	Refused []string
	// AllowLoopback admits clients whose documents are at http URLs on loopback, such as
	// http://127.0.0.1:8080/client.json, or at hosts below top-level domains that don't exist, such
	// as app.test. It is meant for servers that are themselves on loopback.
	AllowLoopback bool
	// Size is the most documents that are cached, and as many key sets. Default 5,000.
	Size int
	// Bytes is the most memory that cached documents take, and as much for key sets. Default 32 MiB.
	Bytes int
	// Now returns the time. Default [time.Now].
	Now func() time.Time
}

// How long documents and key sets are cached.
const (
	defaultFresh = 10 * time.Minute // if their headers don't say
	minFresh     = time.Minute
	maxFresh     = time.Hour
	stale        = 24 * time.Hour   // while they can't be fetched
	retry        = time.Minute      // the pause before the next attempt
	negative     = 5 * time.Second  // of errors
	minRenewal   = 30 * time.Second // between two attempts to find a key that isn't in a cached set
	timeout      = 15 * time.Second // of a request. The Fetcher's own is usually shorter.
)

// Registry finds clients. It caches their documents as long as these say, from a minute to an hour,
// 10 minutes if they don't say, and for another day if they can't be fetched. A document that is
// there and breaks a rule is refused, whatever it was before. Its methods are safe for concurrent
// use.
type Registry struct {
	cfg       Config
	trusted   map[string]bool
	refused   map[string]bool // client_ids and host names
	documents *cached.Cache[*Metadata]
	keys      *cached.Cache[[]jwks.Key] // by jwks_uri
}

// New returns a Registry. It returns an error for a configuration that can't be meant.
func New(cfg Config) (*Registry, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Size = cmp.Or(cfg.Size, 5000)
	cfg.Bytes = cmp.Or(cfg.Bytes, 32<<20)
	var errs []error
	if cfg.Fetcher == nil {
		errs = append(errs, errors.New("client: Config.Fetcher is missing"))
	}
	if cfg.Issuer == "" {
		errs = append(errs, errors.New("client: Config.Issuer is missing"))
	}
	r := &Registry{cfg: cfg, trusted: map[string]bool{}, refused: map[string]bool{}}
	for _, id := range cfg.Trusted {
		a, err := parseID(id, cfg.AllowLoopback)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("client: Config.Trusted: %w", err))
		case a.local:
			errs = append(errs, fmt.Errorf("client: Config.Trusted: %q is a development client, which anybody's program can be", id))
		default:
			r.trusted[id] = true
		}
	}
	for _, entry := range cfg.Refused {
		normal, err := refusedEntry(entry)
		if err != nil {
			errs = append(errs, fmt.Errorf("client: Config.Refused: %w", err))
		}
		r.refused[normal] = true
	}
	kept := cached.Config{
		Default: defaultFresh, Min: minFresh, Max: maxFresh, Stale: stale, Outage: ErrUnreachable, Retry: retry, Negative: negative,
		Entries: cfg.Size, Bytes: cfg.Bytes, Timeout: timeout, Now: cfg.Now,
	}
	var err error
	if r.documents, err = cached.New[*Metadata](kept); err != nil {
		errs = append(errs, err)
	}
	if r.keys, err = cached.New[[]jwks.Key](kept); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return r, nil
}

// refusedEntry returns the normal form of a client_id or host name that isn't admitted.
func refusedEntry(entry string) (string, error) {
	if strings.Contains(entry, "://") {
		if _, err := parseID(entry, true); err != nil {
			return "", err
		}
		return entry, nil
	}
	return hostname.Name(entry)
}

// Get returns the client with a client_id. Errors: [ErrRefused]; [ErrInvalidMetadata] and
// [ErrInvalidRedirect] with a message for the developer of the client. If the document can't be
// fetched now, the error is [ErrUnreachable] too.
func (r *Registry) Get(ctx context.Context, clientID string) (*Client, error) {
	return r.find(ctx, clientID, nil)
}

// find finds a client. With renewal, a document that is older than that isn't taken from the cache.
func (r *Registry) find(ctx context.Context, clientID string, renewal *time.Duration) (*Client, error) {
	a, err := parseID(clientID, r.cfg.AllowLoopback)
	if err != nil {
		return nil, err
	}
	if r.isRefused(a) {
		return nil, refusal.Newf(ErrRefused, "The operator of this server doesn't admit the application %.200q.", a.id)
	}
	c := &Client{ID: a.id, Host: a.host, Trusted: r.trusted[a.id], Local: a.local}
	if a.local {
		c.Metadata, err = localMetadata(a)
	} else {
		c.Metadata, err = lookUp(ctx, r.documents, a.id, renewal, func(ctx context.Context) (cached.Found[*Metadata], error) {
			return r.fetchMetadata(ctx, a)
		})
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Refuses reports whether the operator doesn't admit the client with a client_id, which may have
// been admitted once. It asks nobody.
func (r *Registry) Refuses(clientID string) bool {
	if len(r.refused) == 0 {
		return false
	}
	a, err := parseID(clientID, r.cfg.AllowLoopback)
	return err == nil && r.isRefused(a)
}

// isRefused reports whether a client_id or its host, or a domain above that, isn't admitted.
func (r *Registry) isRefused(a *address) bool {
	if r.refused[a.id] {
		return true
	}
	host := a.url.Hostname()
	for more := true; more; _, host, more = strings.Cut(host, ".") {
		if r.refused[host] {
			return true
		}
	}
	return false
}

func lookUp[V any](
	ctx context.Context, c *cached.Cache[V], key string, renewal *time.Duration, look func(context.Context) (cached.Found[V], error),
) (V, error) {
	if renewal != nil {
		return c.Renew(ctx, key, *renewal, look)
	}
	return c.Get(ctx, key, look)
}

func (r *Registry) fetchMetadata(ctx context.Context, a *address) (cached.Found[*Metadata], error) {
	doc, err := r.cfg.Fetcher.Get(ctx, a.id, MaxDocument)
	if err != nil {
		return cached.Found[*Metadata]{}, because(ErrInvalidMetadata, err, "the client metadata document %.200q can't be used", a.id)
	}
	if doc.ContentType != "application/json" {
		return cached.Found[*Metadata]{}, invalid("the client metadata document %.200q can't be used: its Content-Type must be application/json", a.id)
	}
	m, err := parseMetadata(a, doc.Body, r.cfg.AllowLoopback)
	if err != nil {
		return cached.Found[*Metadata]{}, err
	}
	return cached.Found[*Metadata]{Value: m, Cost: m.cost(), Lifetime: doc.Lifetime}, nil
}

// cost is about how much memory metadata takes, in bytes.
func (m *Metadata) cost() int {
	const perString, perKey = 16, 1500 // a key of 8192 bits, decoded
	cost := len(m.ClientID) + len(m.ClientName) + len(m.ClientURI) + len(m.LogoURI) + len(m.TermsURI) + len(m.PolicyURI) + len(m.JWKSURI) + perKey*len(m.keys)
	for _, s := range slices.Concat(m.RedirectURIs, m.GrantTypes, m.Scope) {
		cost += len(s) + perString
	}
	return cost
}
