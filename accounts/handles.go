package accounts

import (
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Handles returns the service that decides which handles accounts may have, reports which are
// available, and reserves handles.
func (s *Service) Handles() *handle.Service { return s.handles }

// handleOwners implements [handle.Accounts]: the handle service looks the owners of handles up in
// it.
type handleOwners struct{ dids *did.Registrar }

// HandleOwner implements [handle.Accounts].
func (handleOwners) HandleOwner(tx storage.Tx, h syntax.Handle) (syntax.DID, error) {
	r, err := accountsTable.GetBy(tx, "handle", h.String())
	if err == nil {
		return r.DID, nil
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return "", err
	}
	return changingTo(tx, changeHandle, h.String())
}

// HandleRefs implements [handle.Accounts].
func (handleOwners) HandleRefs(h syntax.Handle) []storage.Ref {
	return []storage.Ref{accountsTable.RefBy("handle", h.String()), refByTarget(changeHandle, h.String())}
}

// DIDFree implements [handle.Accounts]. A DID isn't free if an account has it, or if the account
// that had it was taken down and deleted.
func (o handleOwners) DIDFree(tx storage.Tx, h syntax.Handle) (bool, error) {
	id, err := o.dids.Name(h)
	if err != nil {
		return false, err
	}
	if id == "" {
		return true, nil
	}
	if _, err = accountsTable.Get(tx, id.String()); err == nil {
		return false, nil
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return false, err
	}
	t, err := stickyTakedown(tx, id)
	return t == nil, err
}
