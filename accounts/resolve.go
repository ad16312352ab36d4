package accounts

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// ResolveHandle returns the DID of a handle: that of an account here that isn't taken down (see
// [Account.HandleResolves]), or what the network says. The network is also asked about a handle on
// a foreign domain whose account here is deactivated, since the account may have moved away and the
// domain may belong to somebody else by now. Error: [ErrHandleNotFound] (source:
// com.atproto.identity.resolveHandle).
func (s *Service) ResolveHandle(ctx context.Context, raw string) (syntax.DID, error) {
	notFound := refusal.New(ErrHandleNotFound, "Unable to resolve handle")
	handle, err := parseHandle(raw)
	if err != nil {
		return "", notFound // nobody can have it
	}
	_, hosted := hostedLabel(handle, s.cfg.HandleDomains)
	a, err := s.Find(ctx, handle.String())
	if err == nil && a.HandleResolves() && (hosted || a.Active()) {
		return a.DID, nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", err
	}
	if hosted || s.cfg.Handles == nil {
		return "", notFound
	}
	id, err := s.cfg.Handles.ResolveHandle(ctx, handle)
	if err != nil {
		return "", notFound
	}
	return id, nil
}

// ErrHandleNotFound says that a handle leads to no DID.
var ErrHandleNotFound = errors.New("accounts: handle not found")
