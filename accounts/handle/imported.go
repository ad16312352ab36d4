package handle

import (
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/storage"
)

// CheckImported returns a handle, as a program writes it, in its normal form if an account that
// comes from another server may keep it as far as the handle itself goes. That is so for every
// handle of the right syntax, except for the server's own names: what [Service.Check] asks of new
// handles beyond that was for the other server to decide. Errors: [ErrInvalid], [ErrNotAvailable].
func (s *Service) CheckImported(raw string) (syntax.Handle, error) {
	h, err := Parse(raw)
	if err != nil {
		return "", err
	}
	if s.isOwn(h) {
		return "", errReserved
	}
	return h, nil
}

// CheckImportedFree refuses a handle for an account that comes from another server if an account
// here has it or is about to get it, or if it is held for one with another DID. Error:
// [ErrNotAvailable].
func (s *Service) CheckImportedFree(tx storage.Tx, h syntax.Handle, id syntax.DID) error {
	if err := s.checkOwner(tx, h, ""); err != nil {
		return err
	}
	return s.checkHold(tx, h, id)
}

// ImportedRefs names the documents that CheckImportedFree reads.
func (s *Service) ImportedRefs(h syntax.Handle) []storage.Ref {
	return append(s.accounts.HandleRefs(h), heldHandles.Ref(h.String()))
}
