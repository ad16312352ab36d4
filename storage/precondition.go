package storage

import "context"

type preconditionKey struct{}

// WithPrecondition returns a context with a precondition: every Update of a [Conditional] store
// with this context begins by calling check in the same transaction. If check returns an error, the
// Update returns it and writes nothing. So the permission of a request is checked in the very
// transaction that depends on it, whatever has happened since the request was authorized.
func WithPrecondition(ctx context.Context, check func(Tx) error) context.Context {
	return context.WithValue(ctx, preconditionKey{}, check)
}

// WithoutPrecondition returns a context without a precondition. It is for work that must be
// finished once it has begun, such as the later steps of a use case that has effects outside the
// store.
func WithoutPrecondition(ctx context.Context) context.Context {
	return context.WithValue(ctx, preconditionKey{}, (func(Tx) error)(nil))
}

// Conditional returns a store whose Updates check the precondition of their context: see
// [WithPrecondition]. It is a [SingleProcess] if s is one.
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

// ViewOf implements [RefViewer].
func (c conditional) ViewOf(ctx context.Context, refs []Ref, fn func(Tx) error) error {
	return viewOf(ctx, c.Store, refs, fn)
}

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
