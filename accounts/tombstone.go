package accounts

import (
	"context"
	"errors"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/storage"
)

// tombstone is the saga that tombstones the DID of a sign-up that was refused after the DID was
// published, so that no DID is left in the directory that nobody can use. The sign-up has been
// undone in the store before.
type tombstone struct{ s *Service }

func (t tombstone) publish(ctx context.Context, c *didChange) error {
	err := t.s.cfg.DIDs.Tombstone(ctx, c.DID)
	switch {
	case errors.Is(err, did.ErrTombstoned):
		return nil
	case errors.Is(err, did.ErrRefused), errors.Is(err, did.ErrNotController), errors.Is(err, did.ErrNotFound):
		// The server doesn't control the DID any more, so that trying again would be no use.
		t.s.cfg.Logger.WarnContext(ctx, "the DID of a refused sign-up was not tombstoned", "did", c.DID, "error", err)
		return nil
	}
	return err
}

func (tombstone) progress(context.Context, *didChange) (progress, error) { return inAccount, nil }

func (tombstone) finish(context.Context, storage.Tx, *didChange, bool) (*Account, error) {
	return nil, nil
}

func (tombstone) undo(storage.Tx, *didChange, bool) (*didChange, error) { return nil, nil }

func (tombstone) notice() mail.Kind { return "" }
