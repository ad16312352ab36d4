package storage

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Leases let one of several processes on a store do background work, and another
// take over when it stops. They are documents like any other, so they work on
// every backend. The processes' clocks have to agree to within a fraction of a lease's time.
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

// LeaseTables are the collections behind [Leases].
func LeaseTables() []Definer { return []Definer{leases} }

// NewLeases returns the leases of a store, whose table it defines. A nil now is [time.Now].
func NewLeases(ctx context.Context, s Store, now func() time.Time) (*Leases, error) {
	if now == nil {
		now = time.Now
	}
	if err := Define(ctx, s, LeaseTables()...); err != nil {
		return nil, fmt.Errorf("leases: %w", err)
	}
	return &Leases{s, now}, nil
}

// Acquire gives the lease of a name to a holder for some time, and reports whether it did: it
// doesn't while another holds it. A holder that acquires again prolongs its lease.
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

// Release gives a lease back, if the holder has it.
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
