package postgres

import (
	"slices"
	"strings"

	"github.com/gatehouse-at/gatehouse/storage"
)

// A lock is the number of an advisory lock: a hash of what it locks. Different things that have the
// same hash wait for each other needlessly, and nothing worse happens.
type lock int64

// newLock returns the lock of what the parts name.
func newLock(parts ...string) lock { return lock(14695981039346656037 >> 1).of(parts...) }

// of returns the lock of a part of what l locks. It is FNV-1a, without the sign.
func (l lock) of(parts ...string) lock {
	h := uint64(l)
	for _, p := range parts {
		for i := range len(p) {
			h = (h ^ uint64(p[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211 // which no text contains
	}
	return lock(h >> 2) // two bits less: takeLocks adds one
}

// document returns the lock of a document, whether it exists or not.
func (t *table) document(key string) lock { return t.lock.of("document", key) }

// granule returns the lock of all values of an index, or of all keys if the index is empty, that
// have the same first part. Whoever gives a document a value of the granule, or takes one away,
// locks it shared, since many may do so at once. Whoever relies on the values of a range within the
// granule locks it exclusively.
func (t *table) granule(index, value string) lock {
	first, _, _ := strings.Cut(value, " ") // as storage.Join joins them
	return t.lock.of("granule", index, first)
}

// value returns the lock of a value of a unique index.
func (t *table) value(index, value string) lock { return t.lock.of("value", index, value) }

// lockOf returns the lock of what a transaction relies on: a document, or a value that none has.
func (t *table) lockOf(ref storage.Ref) lock {
	if ref.Index == "" {
		return t.document(ref.Value)
	}
	return t.value(ref.Index, ref.Value)
}

// maxLocks is the maximum number of locks that a transaction takes in a table. Beyond that it locks
// the table, since the locks that PostgreSQL can hold for all transactions together are bounded.
const maxLocks = 64

// tableLocks are the locks that a transaction needs in a table: true means exclusive.
type tableLocks struct {
	all   map[lock]bool
	whole bool // lock the whole table, exclusively
}

// lockSet are the locks that a transaction needs.
type lockSet map[*table]*tableLocks

func (ls lockSet) in(t *table) *tableLocks {
	if ls[t] == nil {
		ls[t] = &tableLocks{all: map[lock]bool{}}
	}
	return ls[t]
}

func (tl *tableLocks) shared(l lock)    { tl.all[l] = tl.all[l] || false }
func (tl *tableLocks) exclusive(l lock) { tl.all[l] = true }

// heldLocks are the locks that a transaction takes: true means exclusive.
type heldLocks map[lock]bool

// add adds the locks of a set, and returns h. Where they are too many, it adds that of the table.
func (h heldLocks) add(ls lockSet) heldLocks {
	for t, tl := range ls {
		if tl.whole || len(tl.all) > maxLocks {
			h[t.lock] = true
			continue
		}
		h[t.lock] = h[t.lock] || false
		for l, exclusive := range tl.all {
			h[l] = h[l] || exclusive
		}
	}
	return h
}

// cover reports whether h contains a lock of a table, or what has the same effect.
func (h heldLocks) cover(t *table, l lock, exclusive bool) bool {
	x, held := h[l]
	return h[t.lock] || l != t.lock && held && (x || !exclusive)
}

// without returns the locks that are not in other, or not exclusive there.
func (h heldLocks) without(other heldLocks) heldLocks {
	out := heldLocks{}
	for l, exclusive := range h {
		if x, held := other[l]; !held || exclusive && !x {
			out[l] = exclusive
		}
	}
	return out
}

// takeLocks takes the locks of an array in its order. The lowest bit of each number says whether
// the lock is exclusive.
const takeLocks = `SELECT count(CASE WHEN k & 1 = 1 THEN pg_advisory_xact_lock(k >> 1) ELSE pg_advisory_xact_lock_shared(k >> 1) END) FROM unnest($1::int8[]) AS u(k)`

// tryLocks is like takeLocks, but fails as [changed] if it would have to wait.
const tryLocks = `SELECT sqrt(min((CASE WHEN k & 1 = 1 THEN pg_try_advisory_xact_lock(k >> 1) ELSE pg_try_advisory_xact_lock_shared(k >> 1) END)::int) - 1) FROM unnest($1::int8[]) AS u(k)`

// statement returns a statement that takes all locks, in order, so that transactions never wait for
// each other in a circle.
func (h heldLocks) statement(sql string) *statement {
	numbers := make([]int64, 0, len(h))
	for l, exclusive := range h {
		n := int64(l) << 1
		if exclusive {
			n |= 1
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return &statement{sql: sql, args: []any{numbers}}
}
