package storage

import (
	"context"
	"fmt"
	"iter"
	"slices"
)

// RefViewer is implemented by backends for which a View that knows in advance what it reads is
// cheaper than others.
type RefViewer interface {
	// ViewOf runs fn like View, on a snapshot of which fn reads nothing but the given documents.
	// It may have released the snapshot when it calls fn.
	ViewOf(ctx context.Context, refs []Ref, fn func(Tx) error) error
}

// ViewOf is like [Store.View] for a transaction that declares everything it reads. On backends that
// are a [RefViewer] it takes one exchange with the database; on the others it is a View. In all of
// them, reading anything else in fn, by key, by value or in a scan, is an [ErrInvalid].
//
// A document that is declared by its value in a unique index is not thereby declared by its key.
func ViewOf(ctx context.Context, s Store, refs []Ref, fn func(Tx) error) error {
	return viewOf(ctx, s, refs, func(tx Tx) error { return fn(declared{tx, refs}) })
}

func viewOf(ctx context.Context, s Store, refs []Ref, fn func(Tx) error) error {
	if v, ok := s.(RefViewer); ok {
		return v.ViewOf(ctx, refs, fn)
	}
	return s.View(ctx, func(tx Tx) error {
		if err := Prefetch(tx, refs...); err != nil {
			return err
		}
		return fn(tx)
	})
}

// declared is a transaction that reads nothing but what refs declare.
type declared struct {
	Tx
	refs []Ref
}

// Get implements [Tx].
func (d declared) Get(table, key string) ([]byte, error) {
	if !slices.Contains(d.refs, Ref{Table: table, Value: key}) {
		return nil, fmt.Errorf("%w: a key of table %s is read that the View didn't declare", ErrInvalid, table)
	}
	return d.Tx.Get(table, key)
}

// GetBy implements [Tx].
func (d declared) GetBy(table, index, value string) ([]byte, error) {
	if index == "" || !slices.Contains(d.refs, Ref{Table: table, Index: index, Value: value}) {
		return nil, fmt.Errorf("%w: a value of index %s of table %s is read that the View didn't declare", ErrInvalid, index, table)
	}
	return d.Tx.GetBy(table, index, value)
}

// Scan implements [Tx].
func (d declared) Scan(table string, _ Range) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		yield(Record{}, fmt.Errorf("%w: table %s is scanned in a View that has declared which documents it reads", ErrInvalid, table))
	}
}
