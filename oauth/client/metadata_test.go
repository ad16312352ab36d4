package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/oauth/client"
)

// TestRulesOfDocuments has a document for each rule that one can break, and for what is allowed.
func TestRulesOfDocuments(t *testing.T) {
	key := newSigner(t, "k")
	private := json.RawMessage(`{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA","d":"AAAA"}]}`)
	for name, c := range map[string]struct {
		changes with
		want    string // "": allowed
	}{
		"as it should be":       {nil, ""},
		"unknown members":       {with{"software_id": "x", "contacts": []string{"a@example.com"}, "client_name#de": "X"}, ""},
		"members that are null": {with{"logo_uri": json.RawMessage("null"), "jwks": json.RawMessage("null"), "jwks_uri": json.RawMessage("null"), "default_max_age": json.RawMessage("null")}, ""},

		"no client_id":                  {with{"client_id": nil}, "client_id is required in the document, and must be its URL"},
		"another's client_id":           {with{"client_id": "https://bank.example.com/client.json"}, `client_id in the document is "https://bank.example.com/client.json", and must be the URL of the document, "https://app.example.com/client.json"`},
		"client_id in another spelling": {with{"client_id": "https://APP.example.com/client.json"}, "must be the URL of the document"},
		"client_id with a query":        {with{"client_id": appID + "?"}, "must be the URL of the document"},
		"client_id of another type":     {with{"client_id": 7}, "client_id must be a string"},

		"no application_type":      {with{"application_type": nil}, ""},
		"another application_type": {with{"application_type": "Web"}, `application_type must be "web" or "native"`},

		"no grant_types":          {with{"grant_types": nil}, "grant_types is required"},
		"empty grant_types":       {with{"grant_types": []string{}}, "grant_types is required, and must not be empty"},
		"grant_types as a string": {with{"grant_types": "authorization_code"}, "grant_types must be an array of strings"},
		"no refresh_token":        {with{"grant_types": []string{"authorization_code"}}, ""},
		"refresh_token alone":     {with{"grant_types": []string{"refresh_token"}}, "grant_types must include authorization_code"},
		"a doubled grant type":    {with{"grant_types": []string{"authorization_code", "authorization_code"}}, `grant_types has "authorization_code" twice`},
		"the implicit grant":      {with{"grant_types": []string{"authorization_code", "implicit"}}, `grant_types has "implicit", and only authorization_code and refresh_token are supported`},
		"client credentials":      {with{"grant_types": []string{"authorization_code", "client_credentials"}}, `grant_types has "client_credentials"`},
		"no response_types":       {with{"response_types": nil}, "response_types is required"},
		"the implicit response":   {with{"response_types": []string{"token"}}, "response_types must include code"},
		"more response types":     {with{"response_types": []string{"code", "code id_token"}}, ""},
		"no DPoP":                 {with{"dpop_bound_access_tokens": nil}, "dpop_bound_access_tokens is required, and must be true"},
		"DPoP false":              {with{"dpop_bound_access_tokens": false}, "dpop_bound_access_tokens is required, and must be true"},
		"DPoP in words":           {with{"dpop_bound_access_tokens": "true"}, "dpop_bound_access_tokens must be true or false"},

		"no scope":             {with{"scope": nil}, `scope is required, and must include "atproto"`},
		"an empty scope":       {with{"scope": ""}, "scope is required"},
		"no atproto":           {with{"scope": "transition:generic"}, `scope must include "atproto"`},
		"nearly atproto":       {with{"scope": "atproto:x ATPROTO"}, `scope must include "atproto"`},
		"a doubled scope":      {with{"scope": "atproto x atproto"}, `scope has "atproto" twice`},
		"two spaces":           {with{"scope": "atproto  x"}, "with one space between them"},
		"a tab":                {with{"scope": "atproto\tx"}, "printable ASCII"},
		"quotes in a scope":    {with{"scope": `atproto "x"`}, "printable ASCII"},
		"letters beyond ASCII": {with{"scope": "atproto ä"}, "printable ASCII"},
		"granular scopes":      {with{"scope": "atproto repo:app.bsky.feed.post?action=create blob:*/* rpc:*?aud=did:web:x%23y include:a.b.c?aud=did:web:x%23y"}, ""},
		"scope as a list":      {with{"scope": []string{"atproto"}}, "scope must be a string"},

		"no auth method":               {with{"token_endpoint_auth_method": nil}, ""},
		"keys without a method":        {with{"token_endpoint_auth_method": nil, "jwks": set(t, key)}, "token_endpoint_auth_method is missing"},
		"a method with a secret":       {with{"token_endpoint_auth_method": "client_secret_basic"}, `token_endpoint_auth_method is "client_secret_basic", and only none and private_key_jwt are supported`},
		"no keys":                      {with{"token_endpoint_auth_method": "private_key_jwt"}, "private_key_jwt needs jwks or jwks_uri"},
		"an empty set":                 {with{"token_endpoint_auth_method": "private_key_jwt", "jwks": set(t)}, "needs at least one key in jwks that can be used"},
		"keys of others kinds alone":   {with{"token_endpoint_auth_method": "private_key_jwt", "jwks": json.RawMessage(`{"keys":[{"kty":"AKP"}]}`)}, "needs at least one key in jwks that can be used"},
		"a confidential client":        {with{"token_endpoint_auth_method": "private_key_jwt", "jwks": set(t, key)}, ""},
		"with its algorithm":           {with{"token_endpoint_auth_method": "private_key_jwt", "jwks": set(t, key), "token_endpoint_auth_signing_alg": "ES256"}, ""},
		"with keys elsewhere":          {with{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://keys.example.net/jwks"}, ""},
		"with keys in two places":      {with{"token_endpoint_auth_method": "private_key_jwt", "jwks": set(t, key), "jwks_uri": "https://app.example.com/jwks"}, "jwks and jwks_uri exclude each other"},
		"without signatures":           {with{"token_endpoint_auth_method": "private_key_jwt", "jwks": set(t, key), "token_endpoint_auth_signing_alg": "none"}, `token_endpoint_auth_signing_alg is "none"`},
		"with a secret":                {with{"token_endpoint_auth_method": "private_key_jwt", "jwks": set(t, key), "token_endpoint_auth_signing_alg": "HS256"}, `token_endpoint_auth_signing_alg is "HS256"`},
		"an algorithm for nothing":     {with{"token_endpoint_auth_signing_alg": "ES256"}, "token_endpoint_auth_signing_alg must not be there"},
		"a public client with keys":    {with{"jwks": set(t, key), "request_object_signing_alg": "ES256"}, ""},
		"private keys":                 {with{"jwks": private}, "jwks: keys[0]: it is a private key (it has a member d): publish the public key"},
		"symmetric keys":               {with{"jwks": json.RawMessage(`{"keys":[{"kty":"oct","k":"AAAA"}]}`)}, "jwks: keys[0]: it is a symmetric key"},
		"keys that aren't":             {with{"jwks": "https://app.example.com/jwks"}, "jwks: it isn't a JSON object"},
		"keys by http":                 {with{"jwks_uri": "http://app.example.com/jwks"}, `jwks_uri "http://app.example.com/jwks" must be an https URL`},
		"keys on loopback":             {with{"jwks_uri": "http://127.0.0.1/jwks"}, "must be an https URL"},
		"keys at a file":               {with{"jwks_uri": "file:///etc/passwd"}, "isn't a URL"},
		"keys nowhere":                 {with{"jwks_uri": ""}, "isn't a URL"},
		"keys with credentials":        {with{"jwks_uri": "https://a:b@app.example.com/jwks"}, "jwks_uri must not have credentials"},
		"a native confidential client": {with{"application_type": "native", "token_endpoint_auth_method": "private_key_jwt", "jwks": set(t, key)}, ""},
		"a published secret":           {with{"client_secret": "secret"}, "client_secret must not be in the document"},

		"another subject type":  {with{"subject_type": "pairwise"}, `subject_type must be "public"`},
		"the subject type":      {with{"subject_type": "public"}, ""},
		"a maximum age":         {with{"default_max_age": 60}, "default_max_age isn't supported"},
		"ID tokens":             {with{"id_token_signed_response_alg": "ES256"}, "id_token_signed_response_alg isn't supported"},
		"encrypted answers":     {with{"authorization_encrypted_response_enc": "A128CBC-HS256"}, "isn't supported"},
		"certificates":          {with{"tls_client_certificate_bound_access_tokens": true}, "isn't supported"},
		"no certificates":       {with{"tls_client_certificate_bound_access_tokens": false}, ""},
		"authorization details": {with{"authorization_details_types": []string{"x"}}, "authorization_details_types aren't supported"},

		"no home page":                  {with{"client_uri": nil}, ""},
		"a home page elsewhere":         {with{"client_uri": "https://bank.example.com/"}, `client_uri "https://bank.example.com/" must have the host of client_id, app.example.com`},
		"a home page by http":           {with{"client_uri": "http://app.example.com/"}, "must be an https URL"},
		"a home page with another path": {with{"client_uri": "https://app.example.com/about"}, ""},
		"a script as home page":         {with{"client_uri": "javascript:alert(1)"}, "client_uri"},
		"a logo elsewhere":              {with{"logo_uri": "https://cdn.example.net/logo.png"}, ""},
		"a logo by http":                {with{"logo_uri": "http://app.example.com/logo.png"}, "logo_uri"},
		"a logo in the URL":             {with{"logo_uri": "data:image/png;base64,AAAA"}, "logo_uri"},
		"terms by http":                 {with{"tos_uri": "http://app.example.com/"}, "tos_uri"},
		"a script as policy":            {with{"policy_uri": "javascript:alert(1)//https://"}, "policy_uri"},
		"a policy with a line":          {with{"policy_uri": "https://app.example.com/\r\nX: y"}, "policy_uri"},
		"a name of another type":        {with{"client_name": 7}, "client_name must be a string"},

		"no redirect URIs":    {with{"redirect_uris": nil}, "redirect_uris is required"},
		"empty redirect URIs": {with{"redirect_uris": []string{}}, "redirect_uris is required, and must not be empty"},
		"one twice":           {with{"redirect_uris": []string{"https://app.example.com/", "https://app.example.com/"}}, "twice"},
	} {
		m, err := client.ParseMetadata(appID, []byte(document(t, c.changes)))
		if c.want == "" {
			if err != nil || m.ClientID != appID {
				t.Errorf("%s: %v, %v", name, m, err)
			}
			continue
		}
		if !errors.Is(err, client.ErrInvalidMetadata) || !strings.Contains(message(err), c.want) {
			t.Errorf("%s: got %v; want %q", name, err, c.want)
		}
	}
}

// TestRulesOfJSON: a document that programs read differently is refused.
func TestRulesOfJSON(t *testing.T) {
	good := document(t, nil)
	for name, c := range map[string]struct{ document, want string }{
		"nothing":              {"", "it isn't valid JSON"},
		"HTML":                 {"<!doctype html>", "it isn't valid JSON"},
		"an array":             {"[" + good + "]", "it isn't a JSON object"},
		"two documents":        {good + good, "it isn't a JSON object"},
		"a doubled member":     {strings.Replace(good, "{", `{"client_id":"https://bank.example.com/client.json",`, 1), `the name "client_id" comes twice`},
		"a member in capitals": {strings.Replace(good, `"client_id"`, `"Client_ID"`, 1), "client_id is required"},
		"deep nesting":         {strings.Replace(good, "{", `{"x":`+strings.Repeat("[", 10000)+strings.Repeat("]", 10000)+`,`, 1), "it is nested more than 16 levels deep"},
		"a byte order mark":    {"\ufeff" + good, "it isn't valid JSON"},
		"invalid UTF-8":        {strings.Replace(good, `"App"`, "\"\xff\"", 1), "it isn't valid UTF-8"},
	} {
		_, err := client.ParseMetadata(appID, []byte(c.document))
		if !errors.Is(err, client.ErrInvalidMetadata) || !strings.Contains(message(err), c.want) {
			t.Errorf("%s: got %v; want %q", name, err, c.want)
		}
	}
}

func TestMetadata(t *testing.T) {
	m, err := client.ParseMetadata(appID, []byte(document(t, with{
		"application_type": nil, "token_endpoint_auth_method": nil, "logo_uri": "https://app.example.com/logo", "tos_uri": "https://app.example.com/tos", "policy_uri": "https://app.example.com/policy",
		"request_object_signing_alg": "ES256",
	})))
	if err != nil {
		t.Fatal(err)
	}
	want := &client.Metadata{
		ClientID: appID, ClientName: "App", ClientURI: "https://app.example.com", LogoURI: "https://app.example.com/logo", TermsURI: "https://app.example.com/tos",
		PolicyURI: "https://app.example.com/policy", ApplicationType: "web", RedirectURIs: []string{"https://app.example.com/callback"},
		GrantTypes: []string{"authorization_code", "refresh_token"}, Scope: []string{"atproto", "transition:generic"}, AuthMethod: "none", RequestAlgorithm: "ES256",
	}
	if fmt.Sprintf("%+v", m) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", m, want)
	}
}

// TestNamesCantDisturbAPage: characters that hide or turn text don't get into the name of a client.
func TestNamesCantDisturbAPage(t *testing.T) {
	for name, want := range map[string]string{
		"App": "App", "  A \n\t p  p ": "A p p", "Café 日本語 🦋": "Café 日本語 🦋", "evil\u202egnp.exe": "evilgnp.exe", "a\u200bb\u2066c": "abc", "a\x00b\x1bc": "a b c", "": "", "\u202e": "",
		strings.Repeat("ä", 200): strings.Repeat("ä", 100), "a\u2028b": "a b", "a\u00a0b": "a b",
	} {
		m, err := client.ParseMetadata(appID, []byte(document(t, with{"client_name": name})))
		if err != nil || m.ClientName != want {
			t.Errorf("%q: %q, %v; want %q", name, m.ClientName, err, want)
		}
	}
}

// TestRulesOfRedirects: where a client may be answered, and where nobody is.
func TestRulesOfRedirects(t *testing.T) {
	for name, c := range map[string]struct {
		kind string // application_type: web, native, or both
		uri  string
		want string // "": allowed
	}{
		"https":                      {"both", "https://app.example.com/callback", ""},
		"https with a query":         {"both", "https://app.example.com/callback?a=b&c=%20", ""},
		"https without a path":       {"both", "https://app.example.com", ""},
		"https elsewhere, web":       {"web", "https://api.example.net/callback", ""},
		"https elsewhere, native":    {"native", "https://api.example.net/callback", "must have the origin of its client_id, https://app.example.com"},
		"https with a port":          {"web", "https://app.example.com:8443/callback", ""},
		"https with a port, native":  {"native", "https://app.example.com:8443/callback", "must have the origin of its client_id"},
		"the default port":           {"both", "https://app.example.com:443/", "must not have the default port"},
		"an empty port":              {"both", "https://app.example.com:/", "has no valid host"},
		"a fragment":                 {"both", "https://app.example.com/#/callback", "must not have a fragment"},
		"an empty fragment":          {"both", "https://app.example.com/#", "must not have a fragment"},
		"credentials":                {"both", "https://a:b@app.example.com/", "must not have credentials"},
		"a host in disguise":         {"both", "https://app.example.com@evil.example.net/", "must not have credentials"},
		"a backslash":                {"both", `https://evil.example.net\@app.example.com/`, "isn't a URL"},
		"a space":                    {"both", "https://app.example.com/ x", "isn't a URL"},
		"a line":                     {"both", "https://app.example.com/\r\nSet-Cookie: a=b", "isn't a URL"},
		"letters beyond ASCII":       {"both", "https://app.example.com/ä", "isn't a URL"},
		"a wildcard":                 {"both", "https://*.example.com/", "has no valid host"},
		"no host":                    {"both", "https:///callback", "has no valid host"},
		"no scheme":                  {"both", "//app.example.com/callback", "isn't a URL"},
		"a path":                     {"both", "/callback", "isn't a URL"},
		"nothing":                    {"both", "", "isn't a URL"},
		"long":                       {"both", "https://app.example.com/" + strings.Repeat("a", 2048), "has more than 2048 characters"},
		"https on loopback":          {"both", "https://127.0.0.1/", "loopback redirects are http URLs"},
		"https at localhost":         {"both", "https://localhost/", "loopback redirects are http URLs"},
		"https at an intranet host":  {"web", "https://intranet/", "the host isn't a public domain name"},
		"https at .test":             {"web", "https://app.test/", "the host isn't a public domain name"},
		"https at .local":            {"web", "https://printer.LOCAL/", "the host isn't a public domain name"},
		"http":                       {"both", "http://app.example.com/callback", "only loopback redirects of native applications"},
		"http at localhost":          {"both", "http://localhost:8080/callback", `instead of "localhost"`},
		"http at localhost, spelled": {"both", "http://LOCALHOST./callback", `instead of "localhost"`},
		"http below localhost":       {"both", "http://app.localhost/callback", "only loopback redirects of native applications"},
		"loopback, native":           {"native", "http://127.0.0.1/callback", ""},
		"loopback, IPv6":             {"native", "http://[::1]/callback?a=b", ""},
		"loopback with a port":       {"native", "http://127.0.0.1:8080/callback", ""},
		"loopback without a path":    {"native", "http://127.0.0.1", ""},
		"loopback, web":              {"web", "http://127.0.0.1/callback", "for native applications only (application_type)"},
		"loopback, another address":  {"both", "http://127.0.0.2/callback", "only loopback redirects of native applications"},
		"loopback, short":            {"both", "http://127.1/callback", "only loopback redirects of native applications"},
		"loopback, mapped":           {"both", "http://[::ffff:127.0.0.1]/", "only loopback redirects of native applications"},
		"loopback in a name":         {"both", "http://127.0.0.1.example.com/", "only loopback redirects of native applications"},
		"loopback, a bad port":       {"both", "http://127.0.0.1:99999/", "only loopback redirects of native applications"},
		"all addresses":              {"both", "http://0.0.0.0/callback", "only loopback redirects of native applications"},
		"own scheme":                 {"native", "com.example.app:/callback", ""},
		"own scheme, no path":        {"native", "com.example.app:/", ""},
		"own scheme, web":            {"web", "com.example.app:/callback", "for native applications only (application_type)"},
		"another's scheme":           {"native", "com.example.bank:/callback", `the scheme must be the host of the client_id in reverse order, "com.example.app"`},
		"the scheme of the domain":   {"native", "com.example:/callback", "in reverse order"},
		"a scheme in capitals":       {"native", "COM.example.app:/callback", "in reverse order"},
		"two slashes":                {"native", "com.example.app://callback", "must have a single slash after the scheme"},
		"three slashes":              {"native", "com.example.app:///callback", "must have a single slash after the scheme"},
		"no slash":                   {"native", "com.example.app:callback", "must have a single slash after the scheme"},
		"a scheme without a dot":     {"both", "myapp:/callback", "the scheme must be https"},
		"a script":                   {"both", "javascript:alert(1)", "the scheme must be https"},
		"a script in capitals":       {"both", "JavaScript:alert(1)", "the scheme must be https"},
		"data":                       {"both", "data:text/html,hello", "the scheme must be https"},
		"a file":                     {"both", "file:///etc/passwd", "the scheme must be https"},
		"an out-of-band URN":         {"both", "urn:ietf:wg:oauth:2.0:oob", "the scheme must be https"},
		"an intent":                  {"both", "intent://x", "the scheme must be https"},
	} {
		for _, kind := range []string{"web", "native"} {
			if c.kind != kind && c.kind != "both" {
				continue
			}
			m, err := client.ParseMetadata(appID, []byte(document(t, with{"application_type": kind, "redirect_uris": []string{"https://app.example.com/ok", c.uri}})))
			if c.want == "" {
				if err != nil || !slices.Contains(m.RedirectURIs, c.uri) {
					t.Errorf("%s, %s: %v", name, kind, err)
				}
				continue
			}
			if !errors.Is(err, client.ErrInvalidRedirect) || !strings.Contains(message(err), c.want) {
				t.Errorf("%s, %s: got %v; want %q", name, kind, err, c.want)
			}
		}
	}
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprint("https://app.example.com/", i)
	}
	_, err := client.ParseMetadata(appID, []byte(document(t, with{"redirect_uris": many})))
	expectError(t, err, client.ErrInvalidMetadata, "redirect_uris has more than 100 elements")
}
