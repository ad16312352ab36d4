package accounts

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/storage"
)

// handleProperty is the handle, which is the first at:// URI of a DID's alsoKnownAs.
type handleProperty struct{}

func (handleProperty) of(a *Account) string { return a.Handle.String() }

func (handleProperty) in(d *did.Data) string { return d.Handle() }

func (handleProperty) declared(ident *identity.Identity) string {
	h, err := ident.DeclaredHandle()
	if err != nil {
		return ""
	}
	return h.Normalize().String()
}

func (handleProperty) set(op *did.Operation, to string) { op.SetHandle(syntax.Handle(to)) }

func (handleProperty) assign(s *Service, tx storage.Tx, r *record, c *didChange) error {
	from := r.Handle
	r.Handle = syntax.Handle(c.To)
	return s.handles.Exchange(tx, r.DID, from, r.Handle, c.Hold)
}

func (handleProperty) event() Kind { return HandleChanged }

func (handleProperty) notice() mail.Kind { return "" }

func (handleProperty) String() string { return "handle" }

func (handleProperty) instruction(to string) string { return "set its handle to at://" + to }

// UpdateHandle gives an account another handle: it reserves the handle, changes the DID, and then
// the account. If that is interrupted, another call completes it, and so does [Service.Maintain]. A
// handle on a foreign domain must resolve to the account's DID. A DID that only its owner can
// change must name the handle already: a did:web that isn't hosted here, or a did:plc whose
// rotation keys don't include the server's, for which the error is a [did.ErrNotController]
// otherwise. The old handle is held for the account, for the Hold of the [handle.Config]. If
// byAdmin is true, the new handle may be reserved, held for another account, or refused by the
// policy, and the old handle isn't held. Errors: [ErrNotFound], [handle.ErrInvalid],
// [handle.ErrNotAvailable], [handle.ErrUnresolved], [ErrInvalidRequest], [ErrDirectory], those of
// the policy (source: com.atproto.identity.updateHandle).
func (i *Identity) UpdateHandle(ctx context.Context, id syntax.DID, raw string, byAdmin bool) error {
	s := i.s
	if _, err := s.Get(ctx, id); err != nil {
		return err
	}
	h, err := s.handles.Check(ctx, raw, handle.Claimant{DID: id, Override: byAdmin})
	if err != nil {
		return err
	}
	if s.foreign(id) {
		if err := s.checkDeclared(ctx, handleProperty{}, id, h.String()); err != nil {
			return err
		}
	}
	if err := s.store.Update(ctx, func(tx storage.Tx) error { return s.claimHandle(ctx, tx, id, h, byAdmin) }); err != nil {
		return err
	}
	_, err = s.carryOut(ctx, s.handleChange(), &didChange{DID: id, Kind: changeHandle, To: h.String()})
	return err
}

// claimHandle is the first transaction of a handle change: it checks and reserves the handle.
func (s *Service) claimHandle(ctx context.Context, tx storage.Tx, id syntax.DID, h syntax.Handle, byAdmin bool) error {
	if err := s.handles.CheckFree(tx, h, handle.Claimant{DID: id, Override: byAdmin}); err != nil {
		return err
	}
	if err := s.begin(tx, &didChange{DID: id, Kind: changeHandle, To: h.String(), Hold: !byAdmin}); err != nil {
		return err
	}
	before, err := GetTx(tx, id)
	if err != nil || before.Handle == h { // the account has it already, but its DID may differ
		return err
	}
	after := *before
	after.Handle = h
	return s.runHooks(ctx, tx, Change{Kind: HandleChanging, Account: &after, Before: before})
}
