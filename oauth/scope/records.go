package scope

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"golang.org/x/net/publicsuffix"

	"github.com/gatehouse-at/gatehouse/storage"
)

const (
	// maxOfDomain is how many sets of one registered domain are kept, since whoever has a domain can
	// publish any number. The domain's sets that were resolved least recently give way.
	maxOfDomain = 50
	// maxKept is how many sets are kept after a [Sets.Maintain].
	maxKept = 2000
)

// record is a permission set as it is stored.
type record struct {
	NSID syntax.NSID `json:"nsid"`
	// Document is what the resolver returned. It is stored in base64, since a store doesn't take all
	// JSON that others write.
	Document []byte `json:"document"`
	// Resolved is when the set was last resolved.
	Resolved time.Time `json:"resolved"`
}

var table = storage.NewCollection("permission_sets",
	func(r *record) string { return r.NSID.String() },
	storage.Ordered("resolved", func(r *record) string { return storage.TimeKey(r.Resolved) }),
	storage.Ordered("domain", func(r *record) string {
		return storage.Join(domain(r.NSID), storage.TimeKey(r.Resolved))
	}),
).OwnedBy(storage.OwnerGatehouse)

// Tables returns the collections of this package, for [storage.Define].
func Tables() []storage.Definer { return []storage.Definer{table} }

// domain returns the registered domain to which the authority of an NSID belongs.
func domain(nsid syntax.NSID) string {
	authority := strings.Trim(nsid.Authority(), ".")
	if registered, err := publicsuffix.EffectiveTLDPlusOne(authority); err == nil {
		return registered
	}
	return authority
}

// read returns the record of a set, or nil.
func (p *Sets) read(ctx context.Context, nsid syntax.NSID) (*record, error) {
	var r *record
	err := p.store.View(ctx, func(tx storage.Tx) (err error) {
		r, err = table.Get(tx, nsid.String())
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	return r, err
}

// save writes the record of a set that was resolved just now.
func (p *Sets) save(ctx context.Context, nsid syntax.NSID, doc json.RawMessage, now time.Time) error {
	r := &record{NSID: nsid, Document: doc, Resolved: now.UTC().Truncate(time.Millisecond)}
	return p.store.Update(ctx, func(tx storage.Tx) error {
		if err := table.Put(tx, r); err != nil {
			return err
		}
		newest := storage.Under("domain", domain(nsid))
		newest.Reverse = true
		newest.Limit = maxOfDomain
		_, cursor, err := table.Page(tx, newest)
		if err != nil || cursor == "" {
			return err
		}
		newest.Limit, newest.After = 0, cursor
		_, err = table.DeleteAll(tx, newest)
		return err
	})
}

// Maintain removes the sets that were resolved too long ago to be used, and, if there are more than
// 2,000, those that were resolved least recently. It is meant to be called now and then.
func (p *Sets) Maintain(ctx context.Context) error {
	old := storage.Range{Index: "resolved", To: storage.TimeKey(p.cfg.Now().Add(-p.cfg.Keep))}
	if err := table.Purge(ctx, p.store, old); err != nil {
		return err
	}
	newest := storage.Range{Index: "resolved", Reverse: true, Limit: 100}
	for n := 0; n < maxKept; n += newest.Limit {
		var cursor string
		err := p.store.View(ctx, func(tx storage.Tx) (err error) {
			_, cursor, err = table.Page(tx, newest)
			return err
		})
		if err != nil || cursor == "" {
			return err
		}
		newest.After = cursor
	}
	return table.Purge(ctx, p.store, newest)
}
