package storage

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Leases let one of several processes that share a store do background work, and another take over
// when it stops. They are ordinary documents, so they work on every backend. The clocks of the
// processes may differ by a fraction of a lease's duration at most.
type Leases struct {
	store Store
	now   func() time.Time
}

type lease struct {
	Name      string    `json:"name"`
	Holder    string    `json:"holder"`
	ExpiresAt time.Time `json:"expiresAt"`
}

var leases = NewCollection("leases", func(l *lease) string { return l.Name }).OwnedBy(OwnerGatehouse)

// LeaseTables returns the collections behind [Leases].
func LeaseTables() []Definer { return []Definer{leases} }

// NewLeases defines the table of the leases in a store, and returns them. If now is nil, it is
// [time.Now].
func NewLeases(ctx context.Context, s Store, now func() time.Time) (*Leases, error) {
	if now == nil {
		now = time.Now
	}
	if err := Define(ctx, s, LeaseTables()...); err != nil {
		return nil, fmt.Errorf("storage: defining the table of leases: %w", err)
	}
	return &Leases{s, now}, nil
}

// Acquire acquires the named lease for a holder, for the duration ttl, and reports whether the
// holder has it. It returns false while another holder has the lease. A holder that acquires its
// lease again extends it.
func (l *Leases) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (held bool, err error) {
	err = l.store.Update(ctx, func(tx Tx) error {
		held = false
		now := l.now()
		current, err := leases.Get(tx, name)
		switch {
		case err == nil && current.Holder != holder && now.Before(current.ExpiresAt):
			return nil
		case err != nil && !errors.Is(err, ErrNotFound):
			return err
		}
		held = true
		return leases.Put(tx, &lease{name, holder, now.Add(ttl)})
	})
	return held && err == nil, err
}

// Release ends a lease, if the holder has it.
func (l *Leases) Release(ctx context.Context, name, holder string) error {
	return l.store.Update(ctx, func(tx Tx) error {
		current, err := leases.Get(tx, name)
		switch {
		case errors.Is(err, ErrNotFound):
			return nil
		case err != nil:
			return err
		case current.Holder != holder:
			return nil
		}
		return leases.Delete(tx, name)
	})
}
