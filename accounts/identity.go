package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

// ErrHandleNotFound is returned when a handle doesn't resolve to a DID. Clients are answered 400
// HandleNotFound.
var ErrHandleNotFound = errors.New("accounts: handle not found")

// Identity deals with what the DID of an account says: its handle, its signing key, and the server
// that hosts it. Its methods are safe for concurrent use.
type Identity struct{ s *Service }

// Identity returns the part of the service that deals with what the DIDs of accounts say.
func (s *Service) Identity() *Identity { return &Identity{s} }

// Document returns the DID document of an account as JSON, for a session's answer. It is nil if the
// document can't be resolved: sessions are handed out without it rather than not at all. It is also
// nil if the document doesn't name this server, as while an account moves: clients would follow it
// to a server on which their session isn't valid.
func (i *Identity) Document(ctx context.Context, a *Account) json.RawMessage {
	s := i.s
	if doc := i.HostedDocument(a); doc != nil || s.cfg.Resolver == nil {
		return doc
	}
	doc, pds, err := s.cfg.Resolver.Document(ctx, a.DID)
	if err != nil {
		s.cfg.Logger.WarnContext(ctx, "DID document not resolved", "did", a.DID, "error", err)
		return nil
	}
	if pds == "" || !s.isHere(pds) {
		return nil
	}
	return doc
}

// HostedDocument returns the DID document that the server itself serves for an account, as JSON:
// that of a did:web on one of its handle domains. It is nil for any other DID.
func (i *Identity) HostedDocument(a *Account) json.RawMessage {
	if !i.s.hostedWeb(a.DID) {
		return nil
	}
	return did.AtprotoData(a.DID, a.Handle.String(), a.SigningKey, i.s.cfg.PublicURL).Document()
}

// ResolveHandle returns the DID of a handle: that of an account here that isn't taken down (see
// [Account.HandleResolves]), or the one that the network knows. The network is also asked about a
// handle on a foreign domain whose account here is deactivated, since the account may have moved
// away and the domain may belong to somebody else by now. Error: [ErrHandleNotFound] (source:
// com.atproto.identity.resolveHandle).
func (i *Identity) ResolveHandle(ctx context.Context, raw string) (syntax.DID, error) {
	notFound := refusal.New(ErrHandleNotFound, "Unable to resolve handle")
	h, err := handle.Parse(raw)
	if err != nil {
		return "", notFound // nobody can have it
	}
	hosted := i.s.handles.Hosted(h)
	a, err := i.s.Find(ctx, h.String())
	if err == nil && a.HandleResolves() && (hosted || a.Active()) {
		return a.DID, nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", err
	}
	if hosted {
		return "", notFound
	}
	id, err := i.s.handles.Resolve(ctx, h)
	if err != nil {
		return "", notFound
	}
	return id, nil
}

// Check returns nil if the DID of an account is set up for this server, as [Service.Activate]
// requires, and otherwise the error that Activate would return.
func (i *Identity) Check(ctx context.Context, a *Account) error {
	s := i.s
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
		ident, err := s.resolve(ctx, a.DID)
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

// resolve resolves a DID without the resolver's cache.
func (s *Service) resolve(ctx context.Context, id syntax.DID) (*identity.Identity, error) {
	if s.cfg.Resolver == nil {
		return nil, did.ErrNotFound
	}
	s.cfg.Resolver.Forget(id)
	return s.cfg.Resolver.Identity(ctx, id)
}

// isHere reports whether an endpoint in a DID document is this server's, in whatever spelling.
func (s *Service) isHere(endpoint string) bool {
	return endpoint == s.cfg.PublicURL || did.SameEndpoint(endpoint, s.cfg.PublicURL)
}

// hostedWeb reports whether a DID is a did:web on one of the server's handle domains, whose
// document the server itself serves.
func (s *Service) hostedWeb(id syntax.DID) bool {
	return strings.HasPrefix(string(id), "did:web:") && s.handles.Hosted(syntax.Handle(id.Identifier()))
}

// foreign reports whether somebody else serves the document of a DID, so that only its owner can
// change it.
func (s *Service) foreign(id syntax.DID) bool { return id.Method() != "plc" && !s.hostedWeb(id) }

// directoryError turns an error of the directory into one of this package: an [ErrInvalidRequest]
// if the DID is missing or tombstoned, and an [ErrDirectory] otherwise.
func directoryError(err error) error {
	switch {
	case errors.Is(err, did.ErrNotFound):
		return refusal.New(fmt.Errorf("%w: %w", ErrInvalidRequest, did.ErrNotFound), "Could not resolve DID")
	case errors.Is(err, did.ErrTombstoned):
		return refusal.New(fmt.Errorf("%w: %w", ErrInvalidRequest, did.ErrTombstoned), "Did is tombstoned")
	}
	return fmt.Errorf("%w: %w", ErrDirectory, err)
}
