package client

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/gatehouse-at/gatehouse/internal/jwks"
	"github.com/gatehouse-at/gatehouse/internal/strictjson"
)

// Metadata is what a client says about itself. All of it is claimed by whoever wrote the document
// (sources: the atproto OAuth specification, "Client ID Metadata Document"; RFC 7591).
type Metadata struct {
	// ClientID is the URL of the document.
	ClientID string
	// ClientName is the name of the application, of at most 100 characters, without control and
	// formatting characters. It may be empty.
	ClientName string
	// ClientURI, LogoURI, TermsURI and PolicyURI are https URLs for people: the home page, which is
	// on the host of ClientID, the logo, the terms of service and the privacy policy. Each may be
	// empty.
	ClientURI, LogoURI, TermsURI, PolicyURI string
	// ApplicationType is "web" or "native".
	ApplicationType string
	// RedirectURIs are the URIs at which requests are answered. There is at least one.
	RedirectURIs []string
	// GrantTypes has "authorization_code", and "refresh_token" if the client refreshes tokens.
	GrantTypes []string
	// Scope lists what the client may ask for, with "atproto".
	Scope []string
	// AuthMethod is "none", or "private_key_jwt" for a confidential client.
	AuthMethod string
	// AuthAlgorithm is the signature algorithm of assertions. If it is empty, all are allowed that
	// the server supports.
	AuthAlgorithm string
	// RequestAlgorithm is the signature algorithm of request objects. If it is empty, all are
	// allowed that the server supports.
	RequestAlgorithm string
	// JWKSURI is where the keys are. It is empty if they are in the document, or if there are none.
	JWKSURI string

	keys []jwks.Key // those in the document
}

const (
	web           = "web"
	native        = "native"
	methodNone    = "none"
	methodKey     = "private_key_jwt"
	grantCode     = "authorization_code"
	grantRefresh  = "refresh_token"
	maxClientName = 100
)

// ParseMetadata checks the metadata document of a client rule by rule. Its errors tell the
// developer of the client what to change: [ErrInvalidMetadata], [ErrInvalidRedirect].
func ParseMetadata(clientID string, document []byte) (*Metadata, error) {
	a, err := parseID(clientID, false)
	if err != nil {
		return nil, err
	}
	if a.local {
		return localMetadata(a)
	}
	return parseMetadata(a, document, false)
}

func parseMetadata(a *address, document []byte, relaxed bool) (*Metadata, error) {
	o, err := strictjson.Parse(document)
	if err != nil {
		return nil, invalid("the document can't be read: %v", err)
	}
	m := &Metadata{}
	for _, step := range []func() error{
		func() error { return m.takeID(o, a) },
		func() error { return refuseUnsupported(o) },
		func() error { return m.takeGrants(o) },
		func() error { return m.takeScope(o) },
		func() error { return m.takeAuth(o, a) },
		func() error { return m.takePages(o, a) },
		func() error { return m.takeRedirects(o, a, relaxed) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// text returns a member that is a string.
func text(o strictjson.Object, name string) (string, error) {
	s, err := o.String(name)
	if err != nil {
		return "", invalid("%v", err)
	}
	return s, nil
}

// list returns a member that is an array of strings, none of which comes twice.
func list(o strictjson.Object, name string) ([]string, error) {
	l, err := o.Strings(name)
	if err != nil {
		return nil, invalid("%v", err)
	}
	if len(l) == 0 {
		return nil, invalid("%s is required, and must not be empty", name)
	}
	for i, s := range l {
		if slices.Contains(l[:i], s) {
			return nil, invalid("%s has %.100q twice", name, s)
		}
	}
	return l, nil
}

func (m *Metadata) takeID(o strictjson.Object, a *address) (err error) {
	if m.ClientID, err = text(o, "client_id"); err != nil {
		return err
	}
	switch m.ClientID {
	case a.id:
	case "":
		return invalid("client_id is required in the document, and must be its URL")
	default:
		return invalid("client_id in the document is %.200q, and must be the URL of the document, %.200q", m.ClientID, a.id)
	}
	if m.ApplicationType, err = text(o, "application_type"); err != nil {
		return err
	}
	switch m.ApplicationType {
	case "":
		m.ApplicationType = web
	case web, native:
	default:
		return invalid(`application_type must be "web" or "native"`)
	}
	name, err := text(o, "client_name")
	m.ClientName = cleanName(name)
	return err
}

// cleanName returns a name that can't disturb the text that it is shown in: without characters that
// control or format text, such as those that turn its direction, and with single spaces.
func cleanName(name string) string {
	var b strings.Builder
	n := 0
	for _, word := range strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
			return ' '
		}
		if unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, name)) {
		if n > 0 {
			word = " " + word
		}
		for _, r := range word {
			if n++; n > maxClientName {
				return strings.TrimSpace(b.String())
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}

// refuseUnsupported refuses a document by which the client expects something that there isn't.
func refuseUnsupported(o strictjson.Object) error {
	for _, name := range []string{
		"default_max_age", "id_token_signed_response_alg", "userinfo_signed_response_alg", "userinfo_encrypted_response_alg",
		"authorization_encrypted_response_alg", "authorization_encrypted_response_enc",
	} {
		if o.Has(name) {
			return invalid("%s isn't supported", name)
		}
	}
	for _, name := range []string{"client_secret", "client_secret_expires_at"} {
		if o.Has(name) {
			return invalid("%s must not be in the document, which is public", name)
		}
	}
	bound, err := o.Bool("tls_client_certificate_bound_access_tokens")
	if err != nil {
		return invalid("%v", err)
	}
	if bound {
		return invalid("tls_client_certificate_bound_access_tokens isn't supported")
	}
	details, err := o.Strings("authorization_details_types")
	if err != nil {
		return invalid("%v", err)
	}
	if len(details) > 0 {
		return invalid("authorization_details_types aren't supported")
	}
	subject, err := text(o, "subject_type")
	if err != nil {
		return err
	}
	if subject != "" && subject != "public" {
		return invalid(`subject_type must be "public"`)
	}
	return nil
}

func (m *Metadata) takeGrants(o strictjson.Object) (err error) {
	if m.GrantTypes, err = list(o, "grant_types"); err != nil {
		return err
	}
	for _, grant := range m.GrantTypes {
		if grant != grantCode && grant != grantRefresh {
			return invalid("grant_types has %.100q, and only authorization_code and refresh_token are supported", grant)
		}
	}
	if !slices.Contains(m.GrantTypes, grantCode) {
		return invalid("grant_types must include authorization_code")
	}
	types, err := list(o, "response_types")
	if err != nil {
		return err
	}
	if !slices.Contains(types, "code") {
		return invalid("response_types must include code")
	}
	bound, err := o.Bool("dpop_bound_access_tokens")
	if err != nil {
		return invalid("%v", err)
	}
	if !bound {
		return invalid("dpop_bound_access_tokens is required, and must be true")
	}
	return nil
}

func (m *Metadata) takeScope(o strictjson.Object) error {
	scope, err := text(o, "scope")
	if err != nil {
		return err
	}
	if scope == "" {
		return invalid(`scope is required, and must include "atproto"`)
	}
	m.Scope, err = parseScope(scope)
	return err
}

// parseScope splits a scope (source: RFC 6749, section 3.3).
func parseScope(scope string) ([]string, error) {
	tokens := strings.Split(scope, " ")
	seen := make(map[string]bool, len(tokens))
	for _, token := range tokens {
		bad := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }
		switch {
		case token == "" || strings.ContainsFunc(token, bad):
			return nil, invalid("scope must be a list of printable ASCII tokens, with one space between them")
		case seen[token]:
			return nil, invalid("scope has %.100q twice", token)
		}
		seen[token] = true
	}
	if !seen["atproto"] {
		return nil, invalid(`scope must include "atproto"`)
	}
	return tokens, nil
}

func (m *Metadata) takeAuth(o strictjson.Object, a *address) (err error) {
	if m.AuthMethod, err = text(o, "token_endpoint_auth_method"); err != nil {
		return err
	}
	if m.AuthAlgorithm, err = text(o, "token_endpoint_auth_signing_alg"); err != nil {
		return err
	}
	if m.RequestAlgorithm, err = text(o, "request_object_signing_alg"); err != nil {
		return err
	}
	if err := m.takeKeys(o, a); err != nil {
		return err
	}
	hasKeys := m.keys != nil || m.JWKSURI != ""
	switch m.AuthMethod {
	case methodNone:
	case "":
		if hasKeys || m.AuthAlgorithm != "" {
			return invalid(`token_endpoint_auth_method is missing: a client with keys has to say "private_key_jwt" if it authenticates by them, and "none" otherwise`)
		}
		m.AuthMethod = methodNone
	case methodKey:
		if !hasKeys {
			return invalid("token_endpoint_auth_method private_key_jwt needs jwks or jwks_uri")
		}
		if m.JWKSURI == "" && len(m.keys) == 0 {
			return invalid("token_endpoint_auth_method private_key_jwt needs at least one key in jwks that can be used")
		}
	default:
		return invalid("token_endpoint_auth_method is %.100q, and only none and private_key_jwt are supported", m.AuthMethod)
	}
	switch {
	case m.AuthAlgorithm != "" && m.AuthMethod == methodNone:
		return invalid("token_endpoint_auth_signing_alg must not be there if token_endpoint_auth_method is none")
	case m.AuthAlgorithm != "" && !slices.Contains(jwks.Algorithms(), m.AuthAlgorithm):
		return invalid("token_endpoint_auth_signing_alg is %.100q, and only %s are supported", m.AuthAlgorithm, strings.Join(jwks.Algorithms(), ", "))
	}
	return nil
}

func (m *Metadata) takeKeys(o strictjson.Object, a *address) (err error) {
	if m.JWKSURI, err = text(o, "jwks_uri"); err != nil {
		return err
	}
	if o.Has("jwks_uri") {
		if o.Has("jwks") {
			return invalid("jwks and jwks_uri exclude each other")
		}
		return a.checkURL("jwks_uri", m.JWKSURI)
	}
	if !o.Has("jwks") {
		return nil
	}
	if m.keys, err = jwks.Parse(json.RawMessage(o["jwks"])); err != nil {
		return invalid("jwks: %v", err)
	}
	return nil
}

func (m *Metadata) takePages(o strictjson.Object, a *address) (err error) {
	for name, page := range map[string]*string{"client_uri": &m.ClientURI, "logo_uri": &m.LogoURI, "tos_uri": &m.TermsURI, "policy_uri": &m.PolicyURI} {
		if *page, err = text(o, name); err != nil {
			return err
		}
		if *page == "" {
			continue
		}
		if err := a.checkURL(name, *page); err != nil {
			return err
		}
	}
	if m.ClientURI == "" {
		return nil
	}
	if u, err := url.Parse(m.ClientURI); err != nil || !strings.EqualFold(u.Hostname(), a.url.Hostname()) {
		return invalid("client_uri %.200q must have the host of client_id, %s", m.ClientURI, a.url.Hostname())
	}
	return nil
}

// checkURL checks a URL that a document names. The document of a client on loopback may name http
// URLs on loopback.
func (a *address) checkURL(name, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || len(raw) > maxRedirect || strings.Trim(raw, uriCharacters) != "" || u.Hostname() == "":
		return invalid("%s %.200q isn't a URL", name, raw)
	case u.User != nil:
		return invalid("%s must not have credentials", name)
	case u.Scheme != "https" && (!a.loopback || u.Scheme != "http" || !isLoopbackIP(u.Hostname())):
		return invalid("%s %.200q must be an https URL", name, raw)
	}
	return nil
}

func (m *Metadata) takeRedirects(o strictjson.Object, a *address, relaxed bool) (err error) {
	if m.RedirectURIs, err = list(o, "redirect_uris"); err != nil {
		return err
	}
	if len(m.RedirectURIs) > maxRedirects {
		return invalid("redirect_uris has more than %d elements", maxRedirects)
	}
	for _, uri := range m.RedirectURIs {
		if err := checkRedirect(a, m.ApplicationType, uri, relaxed); err != nil {
			return err
		}
	}
	return nil
}
