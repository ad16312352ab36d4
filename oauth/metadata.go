package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/sessions/dpop"
)

// Paths are where the endpoints of an authorization server are, below its origin.
type Paths struct {
	Authorize, PAR, Token, Revoke, Introspect, JWKS string
}

// DefaultPaths are the paths that other servers of the network use too.
var DefaultPaths = Paths{
	Authorize: "/oauth/authorize", PAR: "/oauth/par", Token: "/oauth/token", Revoke: "/oauth/revoke",
	Introspect: "/oauth/introspect", JWKS: "/oauth/jwks",
}

// ServerMetadata describes an authorization server to clients (sources: RFC 8414, and
// https://atproto.com/specs/oauth).
type ServerMetadata struct {
	Issuer                                     string   `json:"issuer"`
	AuthorizationEndpoint                      string   `json:"authorization_endpoint"`
	TokenEndpoint                              string   `json:"token_endpoint"`
	PushedAuthorizationRequestEndpoint         string   `json:"pushed_authorization_request_endpoint"`
	RevocationEndpoint                         string   `json:"revocation_endpoint"`
	IntrospectionEndpoint                      string   `json:"introspection_endpoint,omitempty"`
	JWKSURI                                    string   `json:"jwks_uri"`
	ScopesSupported                            []string `json:"scopes_supported"`
	SubjectTypesSupported                      []string `json:"subject_types_supported"`
	ResponseTypesSupported                     []string `json:"response_types_supported"`
	ResponseModesSupported                     []string `json:"response_modes_supported"`
	GrantTypesSupported                        []string `json:"grant_types_supported"`
	CodeChallengeMethodsSupported              []string `json:"code_challenge_methods_supported"`
	UILocalesSupported                         []string `json:"ui_locales_supported"`
	DisplayValuesSupported                     []string `json:"display_values_supported"`
	PromptValuesSupported                      []string `json:"prompt_values_supported"`
	AuthorizationResponseISSParameterSupported bool     `json:"authorization_response_iss_parameter_supported"`
	RequirePushedAuthorizationRequests         bool     `json:"require_pushed_authorization_requests"`
	RequestParameterSupported                  bool     `json:"request_parameter_supported"`
	RequestURIParameterSupported               bool     `json:"request_uri_parameter_supported"`
	RequireRequestURIRegistration              bool     `json:"require_request_uri_registration"`
	RequestObjectSigningAlgValuesSupported     []string `json:"request_object_signing_alg_values_supported"`
	TokenEndpointAuthMethodsSupported          []string `json:"token_endpoint_auth_methods_supported"`
	TokenEndpointAuthSigningAlgValuesSupported []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	RevocationAuthMethodsSupported             []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAuthSigningAlgValuesSupported    []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	IntrospectionAuthMethodsSupported          []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	DPoPSigningAlgValuesSupported              []string `json:"dpop_signing_alg_values_supported"`
	ClientIDMetadataDocumentSupported          bool     `json:"client_id_metadata_document_supported"`
	ProtectedResources                         []string `json:"protected_resources,omitempty"`
}

// ResourceMetadata describes a server that takes access tokens (source: RFC 9728).
type ResourceMetadata struct {
	Resource               string   `json:"resource"`
	AuthorizationServers   []string `json:"authorization_servers"`
	ScopesSupported        []string `json:"scopes_supported"`
	BearerMethodsSupported []string `json:"bearer_methods_supported"`
}

// scopesSupported are the scopes that can be listed: those of single resources are without number.
var scopesSupported = []string{"atproto", "transition:email", "transition:generic", "transition:chat.bsky"}

// NewResourceMetadata returns the metadata of a resource, which is the origin of a server, for the
// authorization server that issues its tokens.
func NewResourceMetadata(resource, issuer string) *ResourceMetadata {
	return &ResourceMetadata{
		Resource: resource, AuthorizationServers: []string{issuer}, ScopesSupported: scopesSupported, BearerMethodsSupported: []string{"header"},
	}
}

func newMetadata(cfg Config) *ServerMetadata {
	at := func(path string) string { return cfg.Issuer + path }
	m := &ServerMetadata{
		Issuer:                                     cfg.Issuer,
		AuthorizationEndpoint:                      at(cfg.Paths.Authorize),
		TokenEndpoint:                              at(cfg.Paths.Token),
		PushedAuthorizationRequestEndpoint:         at(cfg.Paths.PAR),
		RevocationEndpoint:                         at(cfg.Paths.Revoke),
		JWKSURI:                                    at(cfg.Paths.JWKS),
		ScopesSupported:                            scopesSupported,
		SubjectTypesSupported:                      []string{"public"},
		ResponseTypesSupported:                     []string{"code"},
		ResponseModesSupported:                     []string{modeQuery, modeFragment, modeFormPost},
		GrantTypesSupported:                        []string{grantCode, grantRefresh},
		CodeChallengeMethodsSupported:              []string{"S256"},
		UILocalesSupported:                         []string{"en"},
		DisplayValuesSupported:                     displays,
		AuthorizationResponseISSParameterSupported: true,
		RequirePushedAuthorizationRequests:         true,
		RequestParameterSupported:                  true,
		RequestURIParameterSupported:               true,
		RequireRequestURIRegistration:              true,
		RequestObjectSigningAlgValuesSupported:     dpop.Algorithms(),
		TokenEndpointAuthMethodsSupported:          []string{"none", "private_key_jwt"},
		TokenEndpointAuthSigningAlgValuesSupported: dpop.Algorithms(),
		RevocationAuthMethodsSupported:             []string{"none", "private_key_jwt"},
		RevocationAuthSigningAlgValuesSupported:    dpop.Algorithms(),
		DPoPSigningAlgValuesSupported:              dpop.Algorithms(),
		ClientIDMetadataDocumentSupported:          true,
	}
	if !cfg.Entryway {
		m.ProtectedResources = []string{cfg.Resource}
	}
	for _, p := range prompts {
		m.PromptValuesSupported = append(m.PromptValuesSupported, string(p))
	}
	if len(cfg.Introspectors) > 0 {
		m.IntrospectionEndpoint = at(cfg.Paths.Introspect)
		m.IntrospectionAuthMethodsSupported = []string{"client_secret_basic"}
	}
	return m
}

// Metadata returns the metadata of the authorization server, with the languages of its pages.
func (s *Service) Metadata(languages ...string) *ServerMetadata {
	m := *s.metadata
	if len(languages) > 0 {
		m.UILocalesSupported = languages
	}
	return &m
}

// ResourceMetadata returns the metadata of the server whose methods the tokens are for.
func (s *Service) ResourceMetadata() *ResourceMetadata {
	return NewResourceMetadata(s.cfg.Resource, s.cfg.Issuer)
}

// JWKS returns the public keys with which access tokens are verified, as a JSON Web Key Set.
func (s *Service) JWKS() json.RawMessage { return s.jwks() }

// publish returns the public parts of keys as a JSON Web Key Set.
func publish(keys []sessions.OAuthKey) json.RawMessage {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Private.Public(), KeyID: k.ID, Algorithm: "ES256", Use: "sig"})
	}
	b, _ := json.Marshal(set) // of P-256 keys, which can always be encoded
	return b
}

// CheckIssuer returns an error if a URL can't name an authorization server: it has to be an origin
// in its normal form, with the scheme https, or http on a loopback address (source:
// https://atproto.com/specs/oauth).
func CheckIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return fmt.Errorf("oauth: the issuer %q is not a URL", issuer)
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return errors.New("oauth: the issuer must begin with https://, or with http:// on a loopback address")
	case issuer != u.Scheme+"://"+u.Host:
		return fmt.Errorf("oauth: the issuer %q has more than a scheme, a host and a port", issuer)
	case u.Host != strings.ToLower(u.Host), strings.HasSuffix(u.Host, ":"), u.Port() == map[string]string{"https": "443", "http": "80"}[u.Scheme]:
		return fmt.Errorf("oauth: the issuer %q is not in lower case, or has the default port", issuer)
	}
	return nil
}

// isLoopback reports whether a host is "localhost" or a loopback address.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
