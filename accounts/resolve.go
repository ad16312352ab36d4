package accounts

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// ResolveHandle returns the DID of a handle: that of an active account here, or what the network
// says. Error: [ErrHandleNotFound] (source: com.atproto.identity.resolveHandle).
func (s *Service) ResolveHandle(ctx context.Context, raw string) (syntax.DID, error) {
	notFound := refusal.New(ErrHandleNotFound, "Unable to resolve handle")
	handle, err := NormalizeHandle(raw)
	if err != nil {
		return "", notFound // nobody can have it
	}
	a, err := s.Find(ctx, handle.String())
	if err == nil && a.Active() {
		return a.DID, nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", err
	}
	if _, hosted := hostedLabel(handle, s.cfg.HandleDomains); hosted || s.cfg.Handles == nil {
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
