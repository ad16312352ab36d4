package accounts

import (
	"context"
	"encoding/json"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// Document returns the DID document of an account as JSON for those who log in. It is nil if
// it can't be had: sessions are handed out without it rather than not at all. It is nil also
// if it doesn't name this server, as while an account moves: clients go where it leads, and
// their session is good only here.
func (s *Service) Document(ctx context.Context, a *Account) json.RawMessage {
	if doc := s.HostedDocument(a); doc != nil || s.cfg.Resolver == nil {
		return doc
	}
	doc, err := s.cfg.Resolver.Resolve(ctx, a.DID)
	if err != nil {
		s.cfg.Logger.WarnContext(ctx, "DID document not resolved", "did", a.DID, "error", err)
		return nil
	}
	if ident, err := s.cfg.Resolver.Identity(ctx, a.DID); err != nil || !s.isHere(ident.PDSEndpoint()) {
		return nil
	}
	return doc
}

// isHere reports whether an endpoint in a DID document is this server's, however it is written.
func (s *Service) isHere(endpoint string) bool {
	return endpoint == s.cfg.Endpoint || did.SameEndpoint(endpoint, s.cfg.Endpoint)
}

// HostedDocument returns the DID document that the server itself serves for an account, as JSON:
// that of a did:web on one of its handle domains. It is nil for any other DID.
func (s *Service) HostedDocument(a *Account) json.RawMessage {
	if !s.hostedWeb(a.DID) {
		return nil
	}
	return did.AtprotoData(a.DID, a.Handle.String(), a.SigningKey, s.cfg.Endpoint).Document()
}

// hostedWeb reports whether a DID is a did:web on one of the server's handle
// domains, whose document the server itself serves.
func (s *Service) hostedWeb(id syntax.DID) bool {
	return id.Method() == "web" && s.handles.Hosted(syntax.Handle(id.Identifier()))
}
