package accounts

import (
	"context"
	"encoding/json"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// Document returns the DID document of an account as JSON, or nil if it can't be
// had: sessions are handed out without it rather than not at all.
func (s *Service) Document(ctx context.Context, a *Account) json.RawMessage {
	var doc json.RawMessage
	var err error
	if s.hostedWeb(a.DID) {
		doc, err = json.Marshal(did.AtprotoData(a.DID, a.Handle.String(), a.SigningKey, s.cfg.Endpoint).Document())
	} else if s.cfg.Resolver != nil {
		doc, err = s.cfg.Resolver.Resolve(ctx, a.DID)
	}
	if err != nil {
		s.cfg.Logger.WarnContext(ctx, "DID document not resolved", "did", a.DID, "error", err)
		return nil
	}
	return doc
}

// hostedWeb reports whether a DID is a did:web on one of the server's handle
// domains, whose document the server itself serves.
func (s *Service) hostedWeb(id syntax.DID) bool {
	if id.Method() != "web" {
		return false
	}
	_, hosted := hostedLabel(syntax.Handle(id.Identifier()), s.cfg.HandleDomains)
	return hosted
}
