package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// handleChange is the change of an account's handle between its first and its last step. It keeps the
// handle from being taken by another account meanwhile. An account has one at a time.
type handleChange struct {
	DID    syntax.DID    `json:"did"`
	Handle syntax.Handle `json:"handle"`
	Since  time.Time     `json:"since"`
	// Until is when nobody is at it any more.
	Until time.Time `json:"until"`
}

var handleChanges = storage.NewCollection("handle_changes",
	func(c *handleChange) string { return c.DID.String() },
	storage.Unique("handle", func(c *handleChange) string { return c.Handle.String() }),
	storage.Ordered("until", func(c *handleChange) string { return storage.TimeKey(c.Until) }),
)

var errHandleBusy = refusal.New(ErrInvalidRequest, "Another handle change of this account is under way")

// UpdateHandle gives an account another handle: the handle is set aside, the DID changed, and then the account. If it is
// cut short, doing it again ends it, and so does [Service.Recover]. A handle on a foreign domain has to resolve to the
// account's DID, and a did:web that isn't hosted here has to name it already. AllowReserved lets an admin give reserved and
// offensive handles. Errors: [ErrNotFound], [ErrInvalidHandle], [ErrHandleNotAvailable], [ErrInvalidRequest], [ErrDirectory]
// (source: com.atproto.identity.updateHandle).
func (s *Service) UpdateHandle(ctx context.Context, id syntax.DID, raw string, allowReserved bool) error {
	if _, err := s.Get(ctx, id); err != nil {
		return err
	}
	handle, err := s.checkHandle(ctx, raw, id, allowReserved)
	if err != nil {
		return err
	}
	if id.Method() != "plc" && !s.hostedWeb(id) {
		if err := s.checkDeclared(ctx, id, handle); err != nil {
			return err
		}
	}
	if err := s.store.Update(ctx, func(tx storage.Tx) error { return s.claimHandle(tx, id, handle, allowReserved) }); err != nil {
		return err
	}
	// From here on a client that hangs up must not leave things half done.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), submitTimeout)
	defer cancel()
	if err := s.changeDID(ctx, id, func(op *did.Operation) { op.SetHandle(handle) }); err != nil {
		refused := errors.Is(err, did.ErrRefused) || errors.Is(err, did.ErrNotFound) || errors.Is(err, did.ErrTombstoned)
		return errors.Join(err, s.leaveHandle(ctx, id, handle, refused))
	}
	return s.finishOrRevert(ctx, id, handle)
}

// checkDeclared refuses a handle that a DID, which only its owner can change, doesn't name.
func (s *Service) checkDeclared(ctx context.Context, id syntax.DID, handle syntax.Handle) error {
	ident, err := s.identity(ctx, id)
	if err != nil {
		return refusal.New(ErrInvalidRequest, "Could not resolve DID")
	}
	if declared, err := ident.DeclaredHandle(); err != nil || declared.Normalize() != handle {
		return refusal.New(ErrInvalidRequest, "DID is not properly configured for handle")
	}
	return nil
}

// claimHandle is the first step of a handle change.
func (s *Service) claimHandle(tx storage.Tx, id syntax.DID, handle syntax.Handle, allowReserved bool) error {
	if !allowReserved {
		switch reserved, err := s.isReserved(tx, handle); {
		case err != nil:
			return err
		case reserved:
			return errReserved
		}
	}
	switch owner, err := ownerOf(tx, handle); {
	case err != nil:
		return err
	case owner != "" && owner != id:
		return refusal.Newf(ErrHandleNotAvailable, "Handle already taken: %s", handle)
	}
	now := s.now()
	switch c, err := handleChanges.Get(tx, id.String()); {
	case err == nil && c.Handle != handle && now.Before(c.Until):
		return errHandleBusy
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return err
	}
	if err := handleChanges.Put(tx, &handleChange{DID: id, Handle: handle, Since: now, Until: now.Add(submitTimeout)}); err != nil {
		return err
	}
	before, err := s.GetTx(tx, id)
	if err != nil || before.Handle == handle { // then only its DID may be behind
		return err
	}
	after := *before
	after.Handle = handle
	return s.runHooks(tx, Change{Kind: HandleChanging, Account: &after, Before: before})
}

// ownerOf returns the account that has a handle or is about to get it, or an empty DID.
func ownerOf(tx storage.Tx, handle syntax.Handle) (syntax.DID, error) {
	err := storage.Prefetch(tx, accountsTable.RefBy("handle", handle.String()), handleChanges.RefBy("handle", handle.String()))
	if err != nil {
		return "", err
	}
	r, err := accountsTable.GetBy(tx, "handle", handle.String())
	if err == nil {
		return r.DID, nil
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return "", err
	}
	c, err := handleChanges.GetBy(tx, "handle", handle.String())
	if err == nil {
		return c.DID, nil
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return "", err
	}
	return "", nil
}

// finishHandle is the last step of a handle change. It may be done already.
func (s *Service) finishHandle(ctx context.Context, id syntax.DID, handle syntax.Handle) error {
	return s.store.Update(ctx, func(tx storage.Tx) error {
		r, err := get(tx, id)
		if err != nil {
			return err
		}
		switch c, err := handleChanges.Get(tx, id.String()); {
		case errors.Is(err, storage.ErrNotFound) && r.Handle == handle:
			return nil
		case errors.Is(err, storage.ErrNotFound), err == nil && c.Handle != handle:
			return errHandleBusy // a later change has overtaken it
		case err != nil:
			return err
		}
		if err := handleChanges.Delete(tx, id.String()); err != nil {
			return err
		}
		if r.Handle == handle {
			return nil
		}
		before := r.Account
		r.Handle = handle
		return s.changed(tx, HandleChanged, &before, r)
	})
}

// finishOrRevert is finishHandle that changes the DID back if a hook refuses.
func (s *Service) finishOrRevert(ctx context.Context, id syntax.DID, handle syntax.Handle) error {
	err := s.finishHandle(ctx, id, handle)
	if err == nil || outage(ctx, err) || errors.Is(err, errHandleBusy) || errors.Is(err, ErrNotFound) {
		return err
	}
	if !s.takeBack(ctx, id, HandleChanged, func(op *did.Operation, a *Account) { op.SetHandle(a.Handle) }) {
		return err // the recovery pass tries again
	}
	if left := s.leaveHandle(ctx, id, handle, true); left != nil {
		s.cfg.Logger.ErrorContext(ctx, "a refused handle change was not undone", "did", id, "error", left)
	}
	return err
}

// leaveHandle ends a handle change that failed: for good if the directory refused, else until it is known what
// came of it.
func (s *Service) leaveHandle(ctx context.Context, id syntax.DID, handle syntax.Handle, refused bool) error {
	return s.store.Update(ctx, func(tx storage.Tx) error {
		c, err := handleChanges.Get(tx, id.String())
		switch {
		case errors.Is(err, storage.ErrNotFound), err == nil && c.Handle != handle:
			return nil
		case err != nil:
			return err
		case refused:
			return handleChanges.Delete(tx, id.String())
		}
		c.Until = s.now()
		return handleChanges.Put(tx, c)
	})
}

// recoverHandles ends handle changes that were cut short: with the handle, if the DID has it, and without, if
// some minutes later it still hasn't.
func (s *Service) recoverHandles(ctx context.Context) error {
	var stuck []*handleChange
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		stuck, err = handleChanges.All(tx, storage.Range{Index: "until", To: storage.TimeKey(s.now().Add(time.Millisecond)), Limit: 1000})
		return err
	})
	for _, c := range stuck {
		if rerr := s.recoverHandle(ctx, c); rerr != nil {
			err = errors.Join(err, fmt.Errorf("recovering the handle change of %s: %w", c.DID, rerr))
		}
		if ctx.Err() != nil {
			break // the next pass goes on
		}
	}
	return err
}

func (s *Service) recoverHandle(ctx context.Context, c *handleChange) error {
	changed := true // a DID that isn't in the directory needs no change there
	if c.DID.Method() == "plc" {
		data, err := s.cfg.DIDs.Data(ctx, c.DID)
		switch {
		case errors.Is(err, did.ErrNotFound), errors.Is(err, did.ErrTombstoned):
			changed = false
		case err != nil:
			return err
		default:
			changed = data.Handle() == c.Handle.String()
		}
	}
	switch {
	case changed:
		s.cfg.Logger.InfoContext(ctx, "finishing a handle change that was cut short", "did", c.DID)
		err := s.finishOrRevert(ctx, c.DID, c.Handle)
		if errors.Is(err, errHandleBusy) {
			return nil
		}
		return err
	case s.now().Sub(c.Since) < abandonAfter:
		return nil // it may be on its way
	}
	s.cfg.Logger.InfoContext(ctx, "giving up a handle change that was cut short", "did", c.DID)
	return s.leaveHandle(ctx, c.DID, c.Handle, true)
}
