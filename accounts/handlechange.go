package accounts

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

var handleAspect = &aspect{
	kind: HandleChanged,
	what: "handle",
	busy: refusal.New(ErrInvalidRequest, "Another handle change of this account is under way"),
	of:   func(a *Account) string { return a.Handle.String() },
	in:   (*did.Data).Handle,
	declared: func(ident *identity.Identity) string {
		if h, err := ident.DeclaredHandle(); err == nil {
			return h.Normalize().String()
		}
		return ""
	},
	tell:    func(op *did.Operation, to string) { op.SetHandle(syntax.Handle(to)) },
	publish: func(to string) string { return "set its handle to at://" + to },
	give: func(s *Service, tx storage.Tx, r *record, c *didChange) error {
		from := r.Handle
		r.Handle = syntax.Handle(c.To)
		return s.handles.Exchange(tx, r.DID, from, r.Handle, c.Hold)
	},
}

// UpdateHandle gives an account another handle: the handle is set aside, the DID changed, and then
// the account. If it is cut short, doing it again ends it, and so does [Service.Recover]. A handle
// on a foreign domain has to resolve to the account's DID. A DID that only its owner can change has
// to name the handle already: a did:web that isn't hosted here, or a did:plc whose rotation keys
// don't include the server's (which is a [did.ErrNotController] otherwise). The handle that is
// given up is held for the account, for the Hold of the [handle.Config]. byAdmin lets an admin give
// a handle that the policy refuses, that is reserved, or that is held for another account; the
// handle that is given up is then free. Errors: [ErrNotFound], [handle.ErrInvalid],
// [handle.ErrNotAvailable], [handle.ErrUnresolved], [ErrInvalidRequest], [ErrDirectory], those of
// the policy (source: com.atproto.identity.updateHandle).
func (s *Service) UpdateHandle(ctx context.Context, id syntax.DID, raw string, byAdmin bool) error {
	if _, err := s.Get(ctx, id); err != nil {
		return err
	}
	h, err := s.handles.Check(ctx, raw, handle.Claimant{DID: id, Override: byAdmin})
	if err != nil {
		return err
	}
	if s.foreign(id) {
		if err := s.checkDeclared(ctx, handleAspect, id, h.String()); err != nil {
			return err
		}
	}
	if err := s.store.Update(ctx, func(tx storage.Tx) error { return s.claimHandle(ctx, tx, id, h, byAdmin) }); err != nil {
		return err
	}
	return s.carryOut(ctx, handleAspect, id, h.String())
}

// claimHandle is the first step of a handle change.
func (s *Service) claimHandle(ctx context.Context, tx storage.Tx, id syntax.DID, h syntax.Handle, byAdmin bool) error {
	if err := s.handles.CheckFree(tx, h, handle.Claimant{DID: id, Override: byAdmin}); err != nil {
		return err
	}
	if err := s.announce(tx, handleAspect, didChange{DID: id, To: h.String(), Hold: !byAdmin}); err != nil {
		return err
	}
	before, err := GetTx(tx, id)
	if err != nil || before.Handle == h { // then only its DID may be behind
		return err
	}
	after := *before
	after.Handle = h
	return s.runHooks(ctx, tx, Change{Kind: HandleChanging, Account: &after, Before: before})
}
