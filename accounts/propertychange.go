package accounts

import (
	"context"
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// property is something that both an account and its DID have, and that a propertyChange changes in
// both. The implementations are handleProperty and keyProperty.
type property interface {
	// of returns the value of an account, in that of a did:plc, and declared that of the document
	// of any other DID; it is empty if there is none.
	of(a *Account) string
	in(d *did.Data) string
	declared(ident *identity.Identity) string
	// set writes a value into an operation, and assign gives an account the value of a change.
	set(op *did.Operation, to string)
	assign(s *Service, tx storage.Tx, r *record, c *didChange) error
	// event is the kind of change for hooks, and notice the kind of e-mail to the owner; empty for
	// none.
	event() Kind
	notice() mail.Kind
	// String is the name of the property in messages to clients, and instruction tells owners what
	// to do with a DID that the server can't change.
	String() string
	instruction(to string) string
}

// propertyChange is the saga of a new handle or a new signing key.
type propertyChange struct {
	s *Service
	property
}

func (s *Service) handleChange() saga { return propertyChange{s, handleProperty{}} }

func (s *Service) keyChange() saga { return propertyChange{s, keyProperty{}} }

func (p propertyChange) publish(ctx context.Context, c *didChange) error {
	err := p.s.cfg.DIDs.Change(ctx, c.DID, func(op *did.Operation) { p.set(op, c.To) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, did.ErrNotController):
		return ownersTask("%s in the DID first, then ask again", p.instruction(c.To))
	}
	return directoryError(err)
}

// progress asks the directory only if it must. The account may have the value of the change
// already: if the change reverts another, or was made because the DID differed from the account.
// Then the server keeps trying to bring the DID to that value, for the time insistFor.
func (p propertyChange) progress(ctx context.Context, c *didChange) (progress, error) {
	a, err := p.s.Get(ctx, c.DID)
	switch {
	case errors.Is(err, ErrNotFound): // deleted meanwhile
		return nowhere, nil
	case err != nil:
		return nowhere, err
	case p.of(a) == c.To && p.s.age(c) < insistFor:
		return inAccount, nil
	case c.DID.Method() != "plc": // there is nothing to publish
		return inDID, nil
	}
	data, err := p.s.cfg.DIDs.Data(ctx, c.DID)
	switch {
	case errors.Is(err, did.ErrNotFound), errors.Is(err, did.ErrTombstoned):
		return nowhere, nil
	case err != nil:
		return nowhere, err
	case p.in(data) == c.To:
		return inDID, nil
	}
	return nowhere, nil
}

func (p propertyChange) finish(ctx context.Context, tx storage.Tx, c *didChange, begun bool) (*Account, error) {
	r, err := get(tx, c.DID)
	switch {
	case err != nil:
		return nil, err
	case p.of(&r.Account) == c.To:
		return nil, nil
	case !begun:
		return nil, errGivenUp
	}
	before := r.Account
	if err := p.assign(p.s, tx, r, c); err != nil {
		return nil, err
	}
	return &r.Account, p.s.changed(ctx, tx, p.event(), &before, r)
}

// undo has nothing to undo in the store. The change that brings the DID back is one to the value of
// the account. (For a foreign DID that publishes nothing: the document stays as its owner wrote
// it.)
func (p propertyChange) undo(tx storage.Tx, c *didChange, published bool) (*didChange, error) {
	if !published {
		return nil, nil
	}
	a, err := GetTx(tx, c.DID)
	if errors.Is(err, ErrNotFound) { // deleted meanwhile
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &didChange{DID: c.DID, Kind: c.Kind, To: p.of(a)}, nil
}

// errOwnersTask is the kind of error that refuses a change which only the owner of a DID can make.
// It is an [ErrInvalidRequest] and a [did.ErrNotController].
var errOwnersTask = fmt.Errorf("%w: %w", ErrInvalidRequest, did.ErrNotController)

// ownersTask refuses a change that the server can't make because its rotation key isn't among those
// of the DID, and tells the owner what to do.
func ownersTask(format string, args ...any) error {
	return refusal.Newf(errOwnersTask, "The rotation keys of the DID do not include the server's: "+format, args...)
}

// checkDeclared refuses a value that the document of a foreign DID doesn't declare yet.
func (s *Service) checkDeclared(ctx context.Context, p property, id syntax.DID, to string) error {
	ident, err := s.resolve(ctx, id)
	if err != nil {
		return refusal.New(ErrInvalidRequest, "Could not resolve DID")
	}
	if p.declared(ident) != to {
		return refusal.Newf(ErrInvalidRequest, "DID is not properly configured for %s: %s in the DID document first, then ask again", p, p.instruction(to))
	}
	return nil
}
