package storage

import "context"

type preconditionKey struct{}

// WithPrecondition returns a context under which every Update of a store that [Conditional] made
// begins with check, in the same transaction: if it returns an error, that is the error of the
// Update, and nothing is written. So what a request may do is looked at in the very transaction
// that does it, whatever happened since the request was let in.
func WithPrecondition(ctx context.Context, check func(Tx) error) context.Context {
	return context.WithValue(ctx, preconditionKey{}, check)
}

// WithoutPrecondition returns a context without one, for work that has to be finished once it was
// begun: the later steps of a use case that has effects outside the store.
func WithoutPrecondition(ctx context.Context) context.Context {
	return context.WithValue(ctx, preconditionKey{}, (func(Tx) error)(nil))
}

// Conditional returns a store that heeds the preconditions of contexts. It is a [SingleProcess] if s
// is one.
func Conditional(s Store) Store {
	if _, single := s.(SingleProcess); single {
		return conditionalSingle{conditional{s}}
	}
	return conditional{s}
}

type conditional struct{ Store }

type conditionalSingle struct{ conditional }

// SingleProcess implements [SingleProcess].
func (conditionalSingle) SingleProcess() {}

// Update implements [Store].
func (c conditional) Update(ctx context.Context, fn func(Tx) error) error {
	check, _ := ctx.Value(preconditionKey{}).(func(Tx) error)
	if check == nil {
		return c.Store.Update(ctx, fn)
	}
	return c.Store.Update(ctx, func(tx Tx) error {
		if err := check(tx); err != nil {
			return err
		}
		return fn(tx)
	})
}
