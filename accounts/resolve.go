package accounts

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// ErrHandleNotFound is returned when a handle doesn't resolve to a DID. Clients are answered 400
// HandleNotFound.
var ErrHandleNotFound = errors.New("accounts: handle not found")

// ResolveHandle returns the DID of a handle: that of an account here that isn't taken down (see
// [Account.HandleResolves]), or the one that the network knows. The network is also asked about a
// handle on a foreign domain whose account here is deactivated, since the account may have moved
// away and the domain may belong to somebody else by now. Error: [ErrHandleNotFound] (source:
// com.atproto.identity.resolveHandle).
func (s *Service) ResolveHandle(ctx context.Context, raw string) (syntax.DID, error) {
	notFound := refusal.New(ErrHandleNotFound, "Unable to resolve handle")
	h, err := handle.Parse(raw)
	if err != nil {
		return "", notFound // nobody can have it
	}
	hosted := s.handles.Hosted(h)
	a, err := s.Find(ctx, h.String())
	if err == nil && a.HandleResolves() && (hosted || a.Active()) {
		return a.DID, nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", err
	}
	if hosted {
		return "", notFound
	}
	id, err := s.handles.Resolve(ctx, h)
	if err != nil {
		return "", notFound
	}
	return id, nil
}
