package accounts

import (
	"context"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// checkEmail returns an address as it is stored.
func (s *Service) checkEmail(address string) (string, error) {
	email, err := NormalizeEmail(address)
	if err != nil {
		return "", err
	}
	if s.cfg.AllowEmail != nil && !s.cfg.AllowEmail(email) {
		return "", errUnsupportedEmail
	}
	return email, nil
}

// isOwn reports whether a handle is a name of the server itself. Not even an admin gives it away:
// who has it as a did:web would have the server's DID.
func (s *Service) isOwn(handle syntax.Handle) bool {
	return slices.Contains(s.cfg.Hostnames, handle.String())
}

func (s *Service) handlePolicy(override bool) HandlePolicy {
	return HandlePolicy{Domains: s.cfg.HandleDomains, AllowPunycode: s.cfg.AllowPunycodeHandles, Override: override}
}

// checkHandle returns a handle as it is stored. Outside the server's domains it
// has to resolve to the account's DID, which a new account without one hasn't got.
func (s *Service) checkHandle(ctx context.Context, raw string, did syntax.DID, allowReserved bool) (syntax.Handle, error) {
	handle, hosted, err := CheckHandle(raw, s.handlePolicy(allowReserved))
	if err == nil && hosted && s.isOwn(handle) {
		return "", errReserved
	}
	if err != nil || hosted {
		return handle, err
	}
	if did == "" {
		return "", refusal.New(ErrUnsupportedDomain, "Not a supported handle domain")
	}
	unresolved := refusal.New(ErrInvalidRequest, "External handle did not resolve to DID")
	if s.cfg.Handles == nil {
		return "", unresolved
	}
	claimed, err := s.cfg.Handles.ResolveHandle(ctx, handle)
	if err != nil || claimed != did {
		return "", unresolved
	}
	return handle, nil
}
