package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

var errNotActivated = refusal.New(ErrNotFound, "user not found")

// Activate ends a deactivation, or activates an account that has moved here for the first time. The
// DID must name this server and the account's signing key. A did:plc must also have the server's
// rotation key; if it doesn't, so that only its owner can change it, it must name the account's
// handle. Errors: [ErrNotFound], also for an account that is taken down, [ErrInvalidRequest],
// [ErrDirectory] (source: com.atproto.server.activateAccount).
func (s *Service) Activate(ctx context.Context, id syntax.DID) error {
	deactivated := false
	err := s.UpdateStatus(ctx, id, StatusUpdate{Deactivated: &deactivated})
	if errors.Is(err, ErrNotFound) {
		return errNotActivated
	}
	return err
}

// Hosting says how far an account's move to this server has come.
type Hosting struct {
	// Activated is true unless the account is deactivated.
	Activated bool
	// ValidDID is true if the DID is set up as [Service.Activate] requires.
	ValidDID bool
}

// CheckStatus returns how far an account's move to this server has come. Error: [ErrNotFound]
// (source: com.atproto.server.checkAccountStatus).
func (s *Service) CheckStatus(ctx context.Context, id syntax.DID) (Hosting, error) {
	a, err := s.Get(ctx, id)
	if err != nil {
		return Hosting{}, err
	}
	return Hosting{Activated: a.DeactivatedAt == nil, ValidDID: s.checkDocument(ctx, a) == nil}, nil
}

// checkDocument refuses an account whose DID isn't set up for this server.
func (s *Service) checkDocument(ctx context.Context, a *Account) error {
	if s.hostedWeb(a.DID) {
		return nil
	}
	var endpoint, key string
	if a.DID.Method() == "plc" {
		data, err := s.cfg.DIDs.Data(ctx, a.DID)
		if err != nil {
			return directoryError(err)
		}
		endpoint, key = data.Services[did.AtprotoPDS].Endpoint, data.VerificationMethods[did.AtprotoKey]
		if !slices.Contains(data.RotationKeys, s.cfg.DIDs.RotationKey()) {
			switch here, ours := s.isHere(endpoint), key == a.SigningKey; {
			case !here && !ours: // nothing has been set up yet
				return refusal.New(ErrInvalidRequest, noServerKey)
			case here && ours && !strings.EqualFold(data.Handle(), a.Handle.String()):
				return refusal.Newf(errOwnersTask, noServerKey+", so the DID must name the account's handle: %s in the DID first, then ask again",
					handleProperty{}.instruction(a.Handle.String()))
			}
		}
	} else {
		ident, err := s.identity(ctx, a.DID)
		if err != nil {
			return refusal.New(ErrInvalidRequest, "Could not resolve DID")
		}
		endpoint, key = ident.PDSEndpoint(), keyProperty{}.declared(ident)
	}
	switch {
	case !s.isHere(endpoint):
		return refusal.New(ErrInvalidRequest, "DID document atproto_pds service endpoint does not match PDS public url")
	case key == "" || key != a.SigningKey:
		return refusal.New(ErrInvalidRequest, "DID document verification method does not match expected signing key")
	}
	return nil
}

const noServerKey = "Server rotation key not included in PLC DID data"

// directoryError turns an error of the directory into one of this package: an [ErrInvalidRequest] if
// the DID is missing or tombstoned, and an [ErrDirectory] otherwise.
func directoryError(err error) error {
	switch {
	case errors.Is(err, did.ErrNotFound):
		return refusal.New(fmt.Errorf("%w: %w", ErrInvalidRequest, did.ErrNotFound), "Could not resolve DID")
	case errors.Is(err, did.ErrTombstoned):
		return refusal.New(fmt.Errorf("%w: %w", ErrInvalidRequest, did.ErrTombstoned), "Did is tombstoned")
	}
	return fmt.Errorf("%w: %w", ErrDirectory, err)
}

// identity resolves a DID without the resolver's cache.
func (s *Service) identity(ctx context.Context, id syntax.DID) (*identity.Identity, error) {
	if s.cfg.Resolver == nil {
		return nil, did.ErrNotFound
	}
	s.cfg.Resolver.Forget(id)
	return s.cfg.Resolver.Identity(ctx, id)
}
