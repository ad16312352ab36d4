package xrpc

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
)

type handleParams struct {
	Handle string `json:"handle"`
}

func (s *Server) resolveHandle(c *call, in *handleParams) (*atproto.IdentityResolveHandle_Output, error) {
	id, err := s.cfg.Accounts.Identity().ResolveHandle(c.Context(), in.Handle)
	return &atproto.IdentityResolveHandle_Output{Did: id.String()}, err
}

func (s *Server) updateHandle(c *call, in *atproto.IdentityUpdateHandle_Input) (*nothing, error) {
	return nil, s.cfg.Accounts.Identity().UpdateHandle(c.Context(), c.did(), in.Handle, false)
}

// credentialsOutput is the lexicon's output, with maps that indigo's type can't encode.
type credentialsOutput struct {
	RotationKeys        []string               `json:"rotationKeys,omitempty"`
	AlsoKnownAs         []string               `json:"alsoKnownAs,omitempty"`
	VerificationMethods map[string]string      `json:"verificationMethods,omitempty"`
	Services            map[string]did.Service `json:"services,omitempty"`
}

func (s *Server) getRecommendedDidCredentials(c *call, _ *nothing) (*credentialsOutput, error) {
	r, err := s.cfg.Accounts.Identity().Recommend(c.Context(), c.did())
	if err != nil {
		return nil, err
	}
	return &credentialsOutput{r.RotationKeys, r.AlsoKnownAs, r.VerificationMethods, r.Services}, nil
}

func (s *Server) requestPlcOperationSignature(c *call, _ *nothing) (*nothing, error) {
	return nil, s.cfg.Accounts.Identity().RequestPLCSignature(c.Context(), c.did())
}

// signInput is the lexicon's input. Its maps are of the type unknown there.
type signInput struct {
	Token               *string  `json:"token,omitempty"`
	RotationKeys        []string `json:"rotationKeys,omitempty"`
	AlsoKnownAs         []string `json:"alsoKnownAs,omitempty"`
	VerificationMethods any      `json:"verificationMethods,omitempty"`
	Services            any      `json:"services,omitempty"`
}

type operationBody struct {
	Operation any `json:"operation"`
}

func (s *Server) signPlcOperation(c *call, in *signInput) (*operationBody, error) {
	untyped := map[string]any{"verificationMethods": in.VerificationMethods, "services": in.Services}
	maps.DeleteFunc(untyped, func(_ string, v any) bool { return v == nil })
	var edit did.Edit
	if err := recode(untyped, &edit); err != nil {
		return nil, invalidOperation(err)
	}
	edit.RotationKeys, edit.AlsoKnownAs = in.RotationKeys, in.AlsoKnownAs
	op, err := s.cfg.Accounts.Identity().SignPLCOperation(c.Context(), c.did(), value(in.Token), edit.Apply)
	return &operationBody{op}, err
}

// recode converts a value of the type unknown by encoding it as JSON and decoding that.
func recode(from, to any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

// invalidOperation returns the answer to an operation that can't be decoded.
func invalidOperation(err error) error {
	var wrong *did.InvalidError
	if errors.As(err, &wrong) {
		return invalid(wrong.ForClients())
	}
	return invalid("Invalid operation")
}

func (s *Server) submitPlcOperation(c *call, in *operationBody) (*nothing, error) {
	var op did.Operation
	if err := recode(in.Operation, &op); err != nil {
		return nil, invalidOperation(err)
	}
	return nil, s.cfg.Accounts.Identity().SubmitPLCOperation(c.Context(), c.did(), &op)
}

type didParams struct {
	Did string `json:"did"`
}

// didDocOutput is the output of resolveDid.
type didDocOutput struct {
	DidDoc json.RawMessage `json:"didDoc"`
}

func (s *Server) resolveDid(c *call, in *didParams) (*didDocOutput, error) {
	doc, err := s.document(c, syntax.DID(in.Did))
	return &didDocOutput{doc}, err
}

// document resolves any DID. The document of an account with a hosted did:web is made here.
func (s *Server) document(c *call, id syntax.DID) (json.RawMessage, error) {
	a, err := s.cfg.Accounts.Get(c.Context(), id)
	switch {
	case err == nil:
		if doc := s.cfg.Accounts.Identity().HostedDocument(a); doc != nil {
			return doc, nil
		}
	case !errors.Is(err, accounts.ErrNotFound):
		return nil, err
	}
	doc, err := s.cfg.Resolver.Resolve(c.Context(), id)
	switch {
	case errors.Is(err, did.ErrTombstoned):
		return nil, &Error{http.StatusBadRequest, "DidDeactivated", "DID has been deactivated"}
	case errors.Is(err, did.ErrNotFound):
		return nil, &Error{http.StatusBadRequest, "DidNotFound", "DID not found"}
	}
	return doc, err
}

type identifierParams struct {
	Identifier string `json:"identifier"`
}

// identityOutput is com.atproto.identity.defs#identityInfo.
type identityOutput struct {
	Did    string          `json:"did"`
	Handle string          `json:"handle"`
	DidDoc json.RawMessage `json:"didDoc"`
}

func (s *Server) resolveIdentity(c *call, in *identifierParams) (*identityOutput, error) {
	return s.identity(c, in.Identifier)
}

func (s *Server) refreshIdentity(c *call, in *identifierParams) (*identityOutput, error) {
	if id, err := s.lookup(c, in.Identifier); err == nil {
		s.cfg.Resolver.Renew(id) // the resolver limits how often it asks the directory
	}
	return s.identity(c, in.Identifier)
}

// lookup returns the DID of an identifier.
func (s *Server) lookup(c *call, identifier string) (syntax.DID, error) {
	if strings.HasPrefix(identifier, "did:") {
		return syntax.DID(identifier), nil
	}
	return s.cfg.Accounts.Identity().ResolveHandle(c.Context(), identifier)
}

// identity resolves an identifier to a DID and its document, and verifies that the handle which the
// document declares resolves to the DID.
func (s *Server) identity(c *call, identifier string) (*identityOutput, error) {
	id, err := s.lookup(c, identifier)
	if err != nil {
		return nil, err
	}
	raw, err := s.document(c, id)
	if err != nil {
		return nil, err
	}
	var doc identity.DIDDocument
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, &Error{http.StatusBadRequest, "DidNotFound", "DID not found"}
	}
	ident := identity.ParseIdentity(&doc)
	out := &identityOutput{Did: id.String(), Handle: syntax.HandleInvalid.String(), DidDoc: raw}
	if declared, err := ident.DeclaredHandle(); err == nil {
		switch claimed, err := s.cfg.Accounts.Identity().ResolveHandle(c.Context(), declared.String()); {
		case err == nil && claimed == id:
			out.Handle = declared.String()
		case err != nil && !errors.Is(err, accounts.ErrHandleNotFound):
			return nil, err
		}
	}
	return out, nil
}

func (s *Server) reserveSigningKey(c *call, in *atproto.ServerReserveSigningKey_Input) (*atproto.ServerReserveSigningKey_Output, error) {
	key, err := s.cfg.Accounts.Identity().ReserveSigningKey(c.Context(), syntax.DID(value(in.Did)))
	return &atproto.ServerReserveSigningKey_Output{SigningKey: key}, err
}
