package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/domaintest"
	"github.com/gatehouse-at/gatehouse/web"
)

func (a *answer) oauthError(t *testing.T) string {
	t.Helper()
	var out struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || out.Error == "" || out.Description == "" {
		t.Errorf("not an error of OAuth: %d %s", a.StatusCode, a.body)
	}
	return out.Error
}

func TestMetadataDocuments(t *testing.T) {
	w := newWorld(t)
	for path, part := range map[string]string{
		"/.well-known/oauth-authorization-server": `"issuer":"https://pds.test"`,
		"/.well-known/oauth-protected-resource":   `"authorization_servers":["https://pds.test"]`,
		"/oauth/jwks":                             `"kid":"key"`,
	} {
		resp := w.do(w.client(nil), "GET", path, "", nil)
		if resp.StatusCode != 200 || !strings.Contains(resp.body, part) || strings.Contains(resp.body, `"d":`) ||
			resp.Header.Get("Content-Type") != "application/json; charset=utf-8" ||
			resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Cache-Control") != "public, max-age=300" {
			t.Errorf("%s: %d %v %s", path, resp.StatusCode, resp.Header, resp.body)
		}
		if resp := w.do(w.client(nil), "OPTIONS", path, "", http.Header{"Origin": {"https://app.test"}, "Access-Control-Request-Method": {"GET"}}); resp.StatusCode != 204 ||
			resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Access-Control-Allow-Headers") != "*" {
			t.Errorf("OPTIONS %s: %d %v", path, resp.StatusCode, resp.Header)
		}
		if resp := w.do(w.client(nil), "POST", path, "", nil); resp.StatusCode != 405 || resp.Header.Get("Allow") == "" {
			t.Errorf("POST %s: %d", path, resp.StatusCode)
		}
	}
}

// TestMetadataIsWellKnown, so that whoever mounts only the handler of /.well-known/ serves it too,
// at the server's own name and not at those of accounts.
func TestMetadataIsWellKnown(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	s, err := web.New(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource"} {
		for host, want := range map[string]int{"pds.test": 200, "alice.test": 404} {
			r := httptest.NewRequest("GET", path, nil)
			r.Host = host
			resp := httptest.NewRecorder()
			s.WellKnown().ServeHTTP(resp, r)
			if resp.Code != want {
				t.Errorf("%s at %s: %d, want %d", path, host, resp.Code, want)
			}
		}
	}
	// Pages aren't served at the names of accounts either.
	r := httptest.NewRequest("GET", "/account/sign-in", nil)
	r.Host = "alice.test"
	resp := httptest.NewRecorder()
	if s.OAuth().ServeHTTP(resp, r); resp.Code != 404 || len(resp.Result().Cookies()) != 0 {
		t.Errorf("a page at alice.test: %d", resp.Code)
	}
}

// TestResourceServers serve nothing but their own metadata.
func TestResourceServers(t *testing.T) {
	w := newWorldWith(t, func(c *web.Config) {
		c.OAuth = web.OAuthConfig{Resource: c.OAuth.Service.ResourceMetadata()}
	})
	for path, want := range map[string]int{
		"/.well-known/oauth-protected-resource": 200, "/.well-known/oauth-authorization-server": 404,
		"/oauth/jwks": 404, "/oauth/authorize": 404, "/account/sign-in": 404,
	} {
		if resp := w.do(w.client(nil), "GET", path, "", nil); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}

func TestEndpointsTakeParameters(t *testing.T) {
	w := newWorld(t)
	a := w.app("app.test", nil)
	object := func(p url.Values, change map[string]any) string {
		m := map[string]any{}
		for name := range p {
			m[name] = p.Get(name)
		}
		for name, value := range change {
			m[name] = value
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	form := "application/x-www-form-urlencoded"
	for name, c := range map[string]struct {
		contentType, body string
		status            int
		code              string
	}{
		"a form":                     {form, a.request(nil).Encode(), 201, ""},
		"a form with a charset":      {form + "; charset=UTF-8", a.request(nil).Encode(), 201, ""},
		"unknown parameters":         {form, a.request(map[string]string{"audience": "x"}).Encode(), 201, ""},
		"JSON":                       {"application/json", object(a.request(nil), nil), 201, ""},
		"JSON with other types":      {"application/json; charset=utf-8", object(a.request(nil), map[string]any{"max_age": 300, "x": true, "y": nil}), 201, ""},
		"JSON with a list":           {"application/json", object(a.request(nil), map[string]any{"scope": []string{"atproto"}}), 400, "invalid_request"},
		"JSON with an object":        {"application/json", object(a.request(nil), map[string]any{"claims": map[string]any{}}), 400, "invalid_request"},
		"JSON with a double":         {"application/json", `{"client_id":"a","client_id":"b"}`, 400, "invalid_request"},
		"JSON that is a list":        {"application/json", `["client_id"]`, 400, "invalid_request"},
		"JSON with something behind": {"application/json", object(a.request(nil), nil) + "{}", 400, "invalid_request"},
		"JSON that is cut off":       {"application/json", `{"client_id":"a"`, 400, "invalid_request"},
		"nothing":                    {"application/json", ``, 400, "invalid_request"},
		"an empty form":              {form, ``, 400, "invalid_request"},
		"a double":                   {form, a.request(nil).Encode() + "&client_id=x", 400, "invalid_request"},
		"a double of the unknown":    {form, a.request(nil).Encode() + "&x=1&x=2", 400, "invalid_request"},
		"bad escapes":                {form, "client_id=%zz", 400, "invalid_request"},
		"another type":               {"text/plain", a.request(nil).Encode(), 415, "invalid_request"},
		"multipart":                  {"multipart/form-data; boundary=x", "--x--", 415, "invalid_request"},
		"no type":                    {"", a.request(nil).Encode(), 415, "invalid_request"},
		"a type that isn't one":      {";", "", 415, "invalid_request"},
		"too large":                  {form, "x=" + strings.Repeat("a", 65<<10), 413, "invalid_request"},
		"far too large":              {form, "x=" + strings.Repeat("a", 1<<20), 413, "invalid_request"},
	} {
		h := with(a.proof("/oauth/par"), http.Header{"Content-Type": {c.contentType}})
		resp := w.do(w.client(nil), "POST", "/oauth/par", c.body, h)
		if resp.StatusCode != c.status || c.code != "" && resp.oauthError(t) != c.code {
			t.Errorf("%s: %d %s, want %d %s", name, resp.StatusCode, resp.body, c.status, c.code)
		}
		if resp.Header.Get("DPoP-Nonce") == "" || resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", name, resp.Header)
		}
	}
}

func TestEndpointsTellNonces(t *testing.T) {
	w := newWorld(t)
	a := w.app("app.test", nil)
	for _, path := range []string{"/oauth/par", "/oauth/token", "/oauth/revoke"} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			resp := w.do(w.client(nil), method, path, "", nil)
			if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST, OPTIONS" || resp.Header.Get("DPoP-Nonce") == "" {
				t.Errorf("%s %s: %d %v", method, path, resp.StatusCode, resp.Header)
			}
		}
		resp := w.do(w.client(nil), "POST", path, "client_id="+url.QueryEscape(a.id), formType)
		if resp.StatusCode != 400 || resp.Header.Get("DPoP-Nonce") == "" {
			t.Errorf("POST %s without a proof: %d %s", path, resp.StatusCode, resp.body)
		}
		for _, name := range []string{"DPoP-Nonce", "WWW-Authenticate"} {
			if !strings.Contains(resp.Header.Get("Access-Control-Expose-Headers"), name) {
				t.Errorf("POST %s: scripts can't see %s", path, name)
			}
		}
		resp = w.do(w.client(nil), "OPTIONS", path, "", http.Header{"Origin": {"https://app.test"}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"content-type,dpop"}})
		if resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Methods") != "POST" || resp.Header.Get("Access-Control-Allow-Headers") != "*" {
			t.Errorf("OPTIONS %s: %d %v", path, resp.StatusCode, resp.Header)
		}
	}
	resp := w.do(w.client(nil), "POST", "/oauth/par", a.request(nil).Encode(), with(formType, staleProof(a)))
	if resp.StatusCode != 400 || resp.oauthError(t) != "use_dpop_nonce" {
		t.Errorf("without a nonce: %d %s", resp.StatusCode, resp.body)
	}
	resp = w.do(w.client(nil), "POST", "/oauth/par", a.request(nil).Encode(), with(formType, http.Header{"Dpop": {"a", "b"}}))
	if resp.StatusCode != 400 || resp.oauthError(t) != "invalid_dpop_proof" {
		t.Errorf("two proofs: %d %s", resp.StatusCode, resp.body)
	}
}

func TestUnauthenticatedClients(t *testing.T) {
	w := newWorld(t)
	a := w.app("app.test", map[string]any{"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256", "jwks": newJWKS()})
	resp := w.do(w.client(nil), "POST", "/oauth/par", a.request(nil).Encode(), with(formType, a.proof("/oauth/par")))
	if resp.StatusCode != 401 || resp.oauthError(t) != "invalid_client" || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "DPoP algs=") {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, resp.body)
	}
}

func TestRevokingIntrospecting(t *testing.T) {
	w := newWorld(t)
	w.SignUp("alice")
	a, b := w.app("app.test", nil), w.browser()
	b.get(a.push(nil))
	b.signIn("alice")
	tokens := a.exchange(b.submit("accept", nil).wantAnswer(a.redirect).Get("code"))
	access, ok := tokens["access_token"].(string)
	if !ok || tokens["token_type"] != "DPoP" {
		t.Fatalf("tokens: %v", tokens)
	}
	introspect := func(name, password string) *answer {
		req, err := http.NewRequestWithContext(t.Context(), "POST", domaintest.Issuer+"/oauth/introspect", strings.NewReader(url.Values{"token": {access}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if name != "" {
			req.SetBasicAuth(name, password)
		}
		return w.doRequest(w.client(nil), req)
	}
	if resp := introspect(domaintest.Introspector, domaintest.IntrospectorPassword); resp.StatusCode != 200 || !strings.Contains(resp.body, `"active":true`) || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("introspecting: %d %s", resp.StatusCode, resp.body)
	}
	for _, c := range [][2]string{{"", ""}, {domaintest.Introspector, "wrong"}, {"nobody", domaintest.IntrospectorPassword}} {
		if resp := introspect(c[0], c[1]); resp.StatusCode != 401 || resp.oauthError(t) != "invalid_client" || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic ") || strings.Contains(resp.body, "active") {
			t.Errorf("introspecting as %q: %d %v %s", c[0], resp.StatusCode, resp.Header, resp.body)
		}
	}
	if resp := w.do(w.client(nil), "GET", "/oauth/introspect", "", nil); resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d", resp.StatusCode)
	}
	if resp := w.do(w.client(nil), "POST", "/oauth/introspect", "x", http.Header{"Content-Type": {"text/plain"}}); resp.StatusCode != 415 {
		t.Errorf("another type: %d", resp.StatusCode)
	}
	revoke := url.Values{"client_id": {a.id}, "token": {access}}
	for range 2 {
		resp := w.do(w.client(nil), "POST", "/oauth/revoke", revoke.Encode(), with(formType, a.proof("/oauth/revoke")))
		if resp.StatusCode != 200 || resp.body != "{}" {
			t.Errorf("revoking: %d %s", resp.StatusCode, resp.body)
		}
	}
	if resp := introspect(domaintest.Introspector, domaintest.IntrospectorPassword); !strings.Contains(resp.body, `"active":false`) {
		t.Errorf("after revoking: %s", resp.body)
	}
}
