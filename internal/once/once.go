// Package once remembers what may be used only once, such as the identifier of a DPoP proof, for as
// long as it could be used again. The record is in the store, so that it holds for all processes on
// it and across a restart.
package once

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/storage"
)

// used records that a value was used.
type used struct {
	// Key is a hash of the kind and the value, which may be long and is nobody's business.
	Key     string    `json:"key"`
	Expires time.Time `json:"expires"`
}

var table = storage.NewCollection("used_once",
	func(u *used) string { return u.Key },
	storage.Ordered("expires", func(u *used) string { return storage.TimeKey(u.Expires) }),
).OwnedBy(storage.OwnerGatehouse)

// Tables are the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{table} }

// UseTx marks a value of a kind as used until a time, inside a transaction, and reports whether
// this is its first use. Values of different kinds don't collide. The caller refuses values that
// have expired: their records may be gone.
func UseTx(tx storage.Tx, kind, value string, now, expires time.Time) (first bool, err error) {
	k := key(kind, value)
	switch u, err := table.Get(tx, k); {
	case err == nil && now.Before(u.Expires):
		return false, nil
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return false, err
	}
	return true, table.Put(tx, &used{Key: k, Expires: expires.UTC()})
}

// Ref refers to the record of a value, for [storage.Prefetch].
func Ref(kind, value string) storage.Ref { return table.Ref(key(kind, value)) }

// clockSkew is how far the clocks of the processes on a store may be apart.
const clockSkew = time.Minute

// Purge removes the records that have expired by the clocks of all processes. Call it periodically.
func Purge(ctx context.Context, s storage.Store, now time.Time) error {
	return table.Purge(ctx, s, storage.Range{Index: "expires", To: storage.TimeKey(now.Add(-clockSkew))})
}

func key(kind, value string) string { return token.Hash(nil, "once", kind, value) }
