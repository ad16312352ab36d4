package handle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Resolver finds out which DID a handle on a foreign domain claims, by DNS or HTTPS (source: the
// atproto handle specification).
type Resolver interface {
	ResolveHandle(ctx context.Context, h syntax.Handle) (syntax.DID, error)
}

// Accounts is what a [Service] has to know about accounts.
type Accounts interface {
	// HandleOwner returns the DID of the account that has a handle or is about to get it, and an empty
	// one if there is none.
	HandleOwner(tx storage.Tx, h syntax.Handle) (syntax.DID, error)
	// HandleRefs names the documents that HandleOwner reads, so that they can be read in one round
	// trip with others.
	HandleRefs(h syntax.Handle) []storage.Ref
	// DIDFree reports whether the DID of a new account with a handle is free. It is, if DIDs don't
	// follow from handles.
	DIDFree(tx storage.Tx, h syntax.Handle) (bool, error)
}

// Config configures a [Service]. Domains is required.
type Config struct {
	// Domains are the domains on which accounts may take handles, such as ".example.com".
	Domains []string
	// Hostnames are the server's own host names, in lower case and without ports. No account can have
	// one as its handle, not even from an admin: as a did:web it would be the server's DID.
	Hostnames []string
	// AllowPunycode allows labels on Domains that begin with "xn--". They are shown as other letters
	// than they are written with, and so can look like somebody else's handle.
	AllowPunycode bool
	// Policy decides about words in handles. Default [DefaultPolicy].
	Policy Policy
	// Resolver resolves handles on foreign domains. Without one they are refused.
	Resolver Resolver
	// Hold is how long a handle on Domains is held after its owner has changed it for another one:
	// until then only that owner can take it back, and an admin can give it to another account.
	// Default 30 days; negative: handles are free at once. A change of this setting doesn't affect
	// holds that have begun.
	Hold time.Duration
	// HoldAfterDeletion is how long the handle of a deleted account is held for its DID. Default: it
	// is free at once, and so are the handles that were held for the account.
	HoldAfterDeletion time.Duration
	// Now returns the time. Default [time.Now].
	Now func() time.Time
}

// Service decides which handles accounts may have. Its methods are safe for concurrent use.
type Service struct {
	store    storage.Store
	accounts Accounts
	cfg      Config
}

// New returns a Service on a store, in which it defines its tables.
func New(ctx context.Context, store storage.Store, accounts Accounts, cfg Config) (*Service, error) {
	if len(cfg.Domains) == 0 {
		return nil, errors.New("handle: Config.Domains is required")
	}
	domains := make([]string, len(cfg.Domains))
	for i, d := range cfg.Domains {
		domains[i] = "." + strings.ToLower(strings.TrimPrefix(d, "."))
	}
	cfg.Domains = domains
	if cfg.Policy == nil {
		cfg.Policy = DefaultPolicy
	}
	if cfg.Hold == 0 {
		cfg.Hold = 30 * 24 * time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := storage.Define(ctx, store, Tables()...); err != nil {
		return nil, fmt.Errorf("handle: %w", err)
	}
	return &Service{store: store, accounts: accounts, cfg: cfg}, nil
}

// Tables returns the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{reservedHandles, heldHandles} }

// Maintain deletes holds that have ended. Call it periodically.
func (s *Service) Maintain(ctx context.Context) error {
	return heldHandles.Purge(ctx, s.store, storage.Range{Index: "until", To: storage.TimeKey(s.now().Add(time.Millisecond))})
}

// Domains returns the domains on which accounts may take handles, in lower case and with a leading
// dot.
func (s *Service) Domains() []string { return slices.Clone(s.cfg.Domains) }

// Hosted reports whether a handle, in lower case, is on one of the server's domains.
func (s *Service) Hosted(h syntax.Handle) bool { return s.candidate(h, "").Hosted() }

// Resolve asks the network which DID a handle on a foreign domain claims.
func (s *Service) Resolve(ctx context.Context, h syntax.Handle) (syntax.DID, error) {
	if s.cfg.Resolver == nil {
		return "", errors.New("handle: no Resolver for handles on foreign domains")
	}
	return s.cfg.Resolver.ResolveHandle(ctx, h)
}

// candidate divides a handle in lower case into its label and the longest of the server's domains
// that fits.
func (s *Service) candidate(h syntax.Handle, id syntax.DID) Candidate {
	c := Candidate{Handle: h, DID: id}
	for _, d := range s.cfg.Domains {
		label, ok := strings.CutSuffix(string(h), d)
		if ok && len(d) > len(c.Domain) {
			c.Label, c.Domain = label, d
		}
	}
	return c
}

// now returns the time in UTC, to the millisecond, which is what documents contain.
func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }
