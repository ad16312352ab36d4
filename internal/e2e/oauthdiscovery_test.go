package e2e

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/auth/oauth"

	"github.com/gatehouse-at/gatehouse"
)

// throughTLS sends the requests for https URLs to a server that speaks plain HTTP, as a proxy does.
type throughTLS struct{ server string }

func (p throughTLS) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.Host = r.URL.Host
	out.URL.Scheme, out.URL.Host = "http", hostOf(p.server)
	return http.DefaultTransport.RoundTrip(out)
}

// TestDiscoveryByIndigo has the resolver of indigo's OAuth client find the authorization server,
// with all that it checks.
func TestDiscoveryByIndigo(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) {
		c.Hostname, c.HandleDomains, c.PublicURL = "pds.test", []string{".pds.test"}, "https://pds.test"
	}))
	r := oauth.Resolver{Client: &http.Client{Transport: throughTLS{s.URL}}}
	server, err := r.ResolveAuthServerURL(t.Context(), "https://pds.test")
	if err != nil || server != "https://pds.test" {
		t.Fatalf("the authorization server of https://pds.test: %q, %v", server, err)
	}
	m, err := r.ResolveAuthServerMetadata(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	if m.PushedAuthorizationRequestEndpoint != server+"/oauth/par" || m.RevocationEndpoint != server+"/oauth/revoke" {
		t.Errorf("the metadata: %+v", m)
	}
}

// TestDiscoveryDocuments checks what clients and other servers find, by what the official client
// checks, and RFC 8414, RFC 9728 and RFC 7517.
func TestDiscoveryDocuments(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	resource := s.document("/.well-known/oauth-protected-resource")
	if resource["resource"] != s.URL || !lists(resource["authorization_servers"], s.URL) || !lists(resource["bearer_methods_supported"], "header") {
		t.Errorf("the resource: %v", resource)
	}
	m := s.document("/.well-known/oauth-authorization-server")
	if m["issuer"] != s.URL || !lists(m["protected_resources"], s.URL) {
		t.Errorf("the server: %v", m)
	}
	for _, name := range []string{
		"client_id_metadata_document_supported", "require_pushed_authorization_requests", "authorization_response_iss_parameter_supported",
		"request_parameter_supported", "request_uri_parameter_supported", "require_request_uri_registration",
	} {
		if m[name] != true {
			t.Errorf("%s is %v", name, m[name])
		}
	}
	for name, want := range map[string][]string{
		"scopes_supported":                                 {"atproto", "transition:email", "transition:generic", "transition:chat.bsky"},
		"subject_types_supported":                          {"public"},
		"response_types_supported":                         {"code"},
		"response_modes_supported":                         {"query", "fragment", "form_post"},
		"grant_types_supported":                            {"authorization_code", "refresh_token"},
		"code_challenge_methods_supported":                 {"S256"},
		"token_endpoint_auth_methods_supported":            {"none", "private_key_jwt"},
		"token_endpoint_auth_signing_alg_values_supported": {"ES256"},
		"dpop_signing_alg_values_supported":                {"ES256"},
		"request_object_signing_alg_values_supported":      {"ES256"},
		"prompt_values_supported":                          {"none", "login", "consent", "select_account", "create"},
		"ui_locales_supported":                             {"en"},
		"display_values_supported":                         {"page", "popup", "touch"},
	} {
		if !lists(m[name], want...) {
			t.Errorf("%s is %v, want %v among them", name, m[name], want)
		}
		if strings.HasSuffix(name, "alg_values_supported") && (lists(m[name], "none") || lists(m[name], "HS256")) {
			t.Errorf("%s has what proves nothing: %v", name, m[name])
		}
	}
	for name, value := range m {
		if at, ok := value.(string); ok && (strings.HasSuffix(name, "_endpoint") || name == "jwks_uri") && !strings.HasPrefix(at, s.URL+"/oauth/") {
			t.Errorf("%s is %s", name, at)
		}
	}
	for _, key := range s.document("/oauth/jwks")["keys"].([]any) {
		k := key.(object)
		if k["kty"] != "EC" || k["crv"] != "P-256" || k["alg"] != "ES256" || k["use"] != "sig" || k["kid"] == "" || k["d"] != nil {
			t.Errorf("the key %v", k)
		}
	}
	// The names of accounts have nothing of this.
	s.someone()
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource", "/oauth/jwks", "/oauth/authorize", "/account/applications"} {
		if status, _ := s.get("anybody.test", path); status != http.StatusNotFound {
			t.Errorf("%s at the name of an account: %d", path, status)
		}
	}
}

// lists reports whether a JSON value is a list that has all of some elements.
func lists(value any, all ...string) bool {
	list, _ := value.([]any)
	return !slices.ContainsFunc(all, func(one string) bool { return !slices.Contains(list, any(one)) })
}

// TestOAuthAcrossOrigins checks what scripts of other websites may read and send: what applications
// in browsers need, and nothing of the pages.
func TestOAuthAcrossOrigins(t *testing.T) {
	t.Parallel()
	s := newAPI(t, config(func(c *gatehouse.Config) { c.OAuth.Introspectors = map[string]string{"feeds": "a password of feeds"} }))
	const website = "https://app.test"
	send := func(verb, path string, headers ...string) *answer {
		t.Helper()
		req, err := http.NewRequest(verb, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", website)
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		return fetched(t, reach(s.URL, s.URL), req)
	}
	preflight := func(path, verb, headers string) *answer {
		t.Helper()
		return send(http.MethodOptions, path, "Access-Control-Request-Method", verb, "Access-Control-Request-Headers", headers)
	}
	for path, verb := range map[string]string{
		"/.well-known/oauth-authorization-server": "GET", "/.well-known/oauth-protected-resource": "GET", "/oauth/jwks": "GET",
		"/oauth/par": "POST", "/oauth/token": "POST", "/oauth/revoke": "POST", "/xrpc/com.atproto.server.getSession": "GET",
	} {
		out := send(verb, path)
		if out.header.Get("Access-Control-Allow-Origin") != "*" || out.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s %s: %v", verb, path, out.header)
		}
		if exposed := out.header.Get("Access-Control-Expose-Headers"); !contains(exposed, "DPoP-Nonce", "WWW-Authenticate") {
			t.Errorf("%s %s exposes %q", verb, path, exposed)
		}
		asked := "content-type,dpop"
		if strings.HasPrefix(path, "/xrpc/") {
			asked = "authorization,dpop"
		}
		allows := preflight(path, verb, asked)
		headers := strings.ToLower(allows.header.Get("Access-Control-Allow-Headers"))
		// A wildcard covers all headers but Authorization.
		if allows.status/100 != 2 || allows.header.Get("Access-Control-Allow-Origin") != "*" ||
			!contains(allows.header.Get("Access-Control-Allow-Methods"), verb) ||
			headers != "*" && !contains(headers, strings.Split(asked, ",")...) || headers == "*" && strings.Contains(asked, "authorization") {
			t.Errorf("the preflight of %s %s: %d %v", verb, path, allows.status, allows.header)
		}
		if verb == "GET" && !strings.HasPrefix(path, "/xrpc/") {
			if cache := out.header.Get("Cache-Control"); !strings.Contains(cache, "max-age=") || !strings.HasPrefix(out.header.Get("Content-Type"), "application/json") {
				t.Errorf("%s: %v", path, out.header)
			}
			if head := send(http.MethodHead, path); head.status != http.StatusOK {
				t.Errorf("HEAD %s: %d", path, head.status)
			}
		}
	}
	for _, path := range []string{"/oauth/authorize?client_id=x&request_uri=y", "/account/applications", "/account/sign-in", "/oauth/introspect"} {
		for _, out := range []*answer{send(http.MethodGet, path), send(http.MethodPost, path), preflight(path, "POST", "content-type")} {
			for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers"} {
				if got := out.header.Get(name); got != "" {
					t.Errorf("%s: %s is %q", out.method, name, got)
				}
			}
		}
	}
}

// TestEndpointsRefuseWhatIsNoCall checks the forms that a call of an endpoint may have. Every
// answer has a nonce.
func TestEndpointsRefuseWhatIsNoCall(t *testing.T) {
	t.Parallel()
	s := newAPI(t)
	a := s.public("atproto")
	a.push() // from which it has a nonce
	const form, asJSON = "application/x-www-form-urlencoded", "application/json"
	good := a.request()
	good.Set("client_id", a.id)
	object := object{}
	for name := range good {
		object[name] = good.Get(name)
	}
	for _, c := range []struct {
		name, verb, path, kind, body string
		status                       int
		code                         string
	}{
		{"GET", http.MethodGet, "/oauth/par", "", "", 405, "invalid_request"},
		{"PUT", http.MethodPut, "/oauth/token", form, "x=y", 405, "invalid_request"},
		{"no type", http.MethodPost, "/oauth/par", "", good.Encode(), 415, "invalid_request"},
		{"text", http.MethodPost, "/oauth/token", "text/plain", good.Encode(), 415, "invalid_request"},
		{"a large form", http.MethodPost, "/oauth/par", form, good.Encode() + "&x=" + strings.Repeat("y", 70<<10), 413, "invalid_request"},
		{"large JSON", http.MethodPost, "/oauth/par", asJSON, `{"x":"` + strings.Repeat("y", 70<<10) + `"}`, 413, "invalid_request"},
		{"a doubled parameter", http.MethodPost, "/oauth/par", form, good.Encode() + "&scope=atproto", 400, "invalid_request"},
		{"a doubled member", http.MethodPost, "/oauth/par", asJSON, `{"scope":"atproto",` + string(jsonOf(t, object))[1:], 400, "invalid_request"},
		{"a list", http.MethodPost, "/oauth/par", asJSON, `{"client_id":["x"]}`, 400, "invalid_request"},
		{"no object", http.MethodPost, "/oauth/revoke", asJSON, `[]`, 400, "invalid_request"},
		{"a form", http.MethodPost, "/oauth/par", form, good.Encode(), 201, ""},
		{"JSON", http.MethodPost, "/oauth/par", asJSON + "; charset=utf-8", string(jsonOf(t, object)), 201, ""},
		{"unknown parameters", http.MethodPost, "/oauth/par", form, good.Encode() + "&unknown=1&another=" + url.QueryEscape("%☃"), 201, ""},
		{"no client", http.MethodPost, "/oauth/token", form, "grant_type=refresh_token", 400, "invalid_request"},
		{"a grant that isn't one", http.MethodPost, "/oauth/token", form, "grant_type=password&client_id=" + url.QueryEscape(a.id), 400, "unsupported_grant_type"},
	} {
		out := a.send(call{verb: c.verb, url: a.issuer + c.path, header: http.Header{"Content-Type": {c.kind}}, body: []byte(c.body)})
		code, _ := out.object["error"].(string)
		if out.status != c.status || code != c.code {
			t.Errorf("%s: %d %s, want %d %s", c.name, out.status, out.body, c.status, c.code)
		}
		if out.header.Get("DPoP-Nonce") == "" || out.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: no nonce, or not for scripts: %v", c.name, out.header)
		}
		if text, _ := out.object["error_description"].(string); c.code != "" && text == "" {
			t.Errorf("%s: the error says nothing: %s", c.name, out.body)
		}
		if c.status == 405 && !strings.Contains(out.header.Get("Allow"), "POST") {
			t.Errorf("%s: Allow is %q", c.name, out.header.Get("Allow"))
		}
	}
}
