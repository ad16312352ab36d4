package accounts

import (
	"context"
	"time"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Kind says what a [Change] did to an account.
type Kind string

// The kinds of change.
const (
	// Creating: a sign-up has passed all checks, and nothing has happened outside yet. It is the
	// place for a veto. The account can't be seen, and may still come to nothing.
	Creating Kind = "creating"
	// Created: the account exists and can be used (or, brought from elsewhere, activated).
	// An error here undoes it too, but its DID has been published, and is given up.
	Created Kind = "created"
	// HandleChanging: the account is about to get another handle, and nothing has happened outside
	// yet. It is the place for a veto. The change may still come to nothing.
	HandleChanging Kind = "handle-changing"
	// HandleChanged: the account has another handle. An error here undoes it too, but its DID has
	// been changed, and is changed back.
	HandleChanged Kind = "handle"
	// EmailChanged: the address is another one, or was confirmed, or its use as a second factor
	// changed.
	EmailChanged Kind = "email"
	// PasswordChanged: the account has another password. Its sessions end.
	PasswordChanged Kind = "password"
	// CredentialsRevoked: the account has no password until it is reset. Its sessions end, and its
	// app passwords go.
	CredentialsRevoked Kind = "credentials"
	// StatusChanged: the account was taken down, deactivated or scheduled for deletion, or one of these
	// ended. It doesn't occur if the status is what it was before.
	StatusChanged Kind = "status"
	// KeyChanged: the account signs with another key.
	KeyChanged Kind = "key"
	// Deleted: the account and all that belongs to it go.
	Deleted Kind = "deleted"
)

// Change is one change of one account.
type Change struct {
	Kind Kind
	// Account is the account after the change; before it, if it is Deleted.
	Account *Account
	// Before is the account before the change; nil if it is Creating or Created.
	Before *Account
	// EndsAppPasswords is set if the account's app passwords go with the change: if it is
	// CredentialsRevoked, and if it is PasswordChanged by somebody who may not be who made them.
	EndsAppPasswords bool
}

// Hook takes part in a change, inside its transaction: what it writes through tx happens if and only
// if the change does, and an error that it returns undoes the change and is returned to the caller.
// If the error has a method PublicMessage() string, clients of the HTTP API are told that. A hook may
// run more than once (see [storage.Store]), so it must have no effect outside tx, and it must not
// call a service of this server or begin another transaction. The context is that of the change.
type Hook func(ctx context.Context, tx storage.Tx, c Change) error

// changed writes the account and runs the hooks.
func (s *Service) changed(ctx context.Context, tx storage.Tx, kind Kind, before *Account, r *record) error {
	return s.write(ctx, tx, r, Change{Kind: kind, Before: before, EndsAppPasswords: kind == CredentialsRevoked})
}

// write is changed with all that a hook may want to know. It fills in the account.
func (s *Service) write(ctx context.Context, tx storage.Tx, r *record, c Change) error {
	if err := put(tx, r); err != nil {
		return err
	}
	c.Account = &r.Account
	if c.Kind == StatusChanged && !statusDiffers(c.Before, c.Account) {
		return nil
	}
	return s.runHooks(ctx, tx, c)
}

// statusDiffers reports whether the status of an account, or what is shown of it, differs. When a
// deactivated account is deactivated again, only the time changes.
func statusDiffers(a, b *Account) bool {
	return (a.DeactivatedAt == nil) != (b.DeactivatedAt == nil) ||
		!equal(a.DeleteAfter, b.DeleteAfter, time.Time.Equal) ||
		!equal(a.Takedown, b.Takedown, func(a, b Takedown) bool { return a.Ref == b.Ref && a.At.Equal(b.At) })
}

// equal compares what two pointers point to; nil is only equal to nil.
func equal[T any](a, b *T, same func(T, T) bool) bool {
	if a == nil || b == nil {
		return a == b
	}
	return same(*a, *b)
}

// runHooks runs the hooks of the Config, in their order.
func (s *Service) runHooks(ctx context.Context, tx storage.Tx, c Change) error {
	for _, hook := range s.cfg.Hooks {
		if err := hook(ctx, tx, c); err != nil {
			return err
		}
	}
	return nil
}
