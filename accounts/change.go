package accounts

import (
	"context"
	"time"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Kind is the kind of a [Change].
type Kind string

// The kinds of changes.
const (
	// Creating: a sign-up has passed all checks, and nothing has been published yet. This is the
	// place for a veto. The account is not visible, and the sign-up may still fail.
	Creating Kind = "creating"
	// Created: the account exists and can be used or, if it moved here, activated. An error undoes
	// the sign-up, but a new DID has been published by now, and is tombstoned.
	Created Kind = "created"
	// HandleChanging: the account is about to get another handle, and nothing has been published
	// yet. This is the place for a veto. The change may still fail.
	HandleChanging Kind = "handle-changing"
	// HandleChanged: the account has another handle. An error undoes the change, but the DID has
	// been changed by now, and is changed back.
	HandleChanged Kind = "handle"
	// EmailChanged: the e-mail address was changed or confirmed, or its use as a second factor was
	// switched on or off.
	EmailChanged Kind = "email"
	// PasswordChanged: the account has another password. Its sessions end.
	PasswordChanged Kind = "password"
	// CredentialsRevoked: the account has no password until it is reset. Its sessions end, and its
	// app passwords are revoked.
	CredentialsRevoked Kind = "credentials"
	// StatusChanged: the account was taken down, deactivated or scheduled for deletion, or one of
	// these ended. A call that leaves the status as it was is no such change.
	StatusChanged Kind = "status"
	// KeyChanged: the account has another signing key. An error undoes the change, but the DID has
	// been changed by now, and is changed back.
	KeyChanged Kind = "key"
	// Deleted: the account is deleted, with all that belongs to it.
	Deleted Kind = "deleted"
)

// Change is a change of one account.
type Change struct {
	Kind Kind
	// Account is the account after the change or, if it is [Deleted], before it.
	Account *Account
	// Before is the account before the change. It is nil if the change is [Creating] or [Created].
	Before *Account
	// EndsAppPasswords is set if the change revokes the account's app passwords: always if it is
	// [CredentialsRevoked], and depending on [ResetParams] if it is [PasswordChanged].
	EndsAppPasswords bool
}

// Hook takes part in a change, inside its transaction: what it writes through tx is committed if
// and only if the change is, and an error that it returns undoes the change and is returned to the
// caller. If the error has a method PublicMessage() string, clients of the HTTP API are shown that
// text. A hook may run more than once (see [storage.Store]), so it must have no effect outside tx.
// It must not call a service of this server or begin another transaction: that is a
// [storage.ErrNested]. The context is that of the change.
type Hook func(ctx context.Context, tx storage.Tx, c Change) error

// changed writes the account and runs the hooks.
func (s *Service) changed(ctx context.Context, tx storage.Tx, kind Kind, before *Account, r *record) error {
	return s.write(ctx, tx, r, Change{Kind: kind, Before: before, EndsAppPasswords: kind == CredentialsRevoked})
}

// write writes the account and runs the hooks with a change, whose Account it fills in.
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

// statusDiffers reports whether the status of an account differs, or what clients are shown of it.
// It isn't enough that a deactivated account was deactivated again, at another time.
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
