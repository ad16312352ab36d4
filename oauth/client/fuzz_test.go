package client_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/oauth/client"
)

// FuzzParseMetadata: whatever the document of a client has instead of one of its members, or as
// another one, it is refused with a message or obeys the rules.
func FuzzParseMetadata(f *testing.F) {
	for name, value := range map[string]string{
		"redirect_uris": `["com.example.app:/a","http://127.0.0.1/b","https://app.example.com:8443/"]`, "client_name": `"A\u202eb"`, "client_uri": `"https://app.example.com/"`,
		"jwks": `{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}]}`, "jwks_uri": `"https://app.example.com/jwks"`, "scope": `"atproto repo:*"`, "application_type": `"native"`,
		"grant_types": `["authorization_code"]`, "token_endpoint_auth_method": `"private_key_jwt"`, "client_id": `"https://app.example.com/client.json"`, "x": `[{"a":null}]`,
		"default_max_age": `1e999`, "dpop_bound_access_tokens": `true`, "": `"\ud800"`, `a":1,"b`: `{}`,
	} {
		f.Add(true, name, value)
		f.Add(false, name, value)
	}
	f.Fuzz(func(t *testing.T, native bool, name, value string) {
		members := map[string]string{
			"client_id": `"` + appID + `"`, "redirect_uris": `["https://app.example.com/callback"]`, "grant_types": `["authorization_code"]`, "response_types": `["code"]`,
			"scope": `"atproto"`, "dpop_bound_access_tokens": `true`, "application_type": `"web"`, "token_endpoint_auth_method": `"none"`,
		}
		if native {
			members["application_type"] = `"native"`
		}
		members[name] = value
		var pairs []string
		for name, value := range members {
			pairs = append(pairs, `"`+name+`":`+value)
		}
		document := "{" + strings.Join(pairs, ",") + "}"
		m, err := client.ParseMetadata(appID, []byte(document))
		if err != nil {
			if !errors.Is(err, client.ErrInvalidMetadata) && !errors.Is(err, client.ErrInvalidRedirect) || message(err) == "" || strings.ContainsAny(message(err), "\x00\n\r\x1b") {
				t.Fatalf("%q: %v", document, err)
			}
			return
		}
		if m.ClientID != appID || !slices.Contains(m.Scope, "atproto") || !slices.Contains(m.GrantTypes, "authorization_code") || len(m.RedirectURIs) == 0 ||
			len([]rune(m.ClientName)) > 100 {
			t.Fatalf("%q became %+v", document, m)
		}
		for _, uri := range m.RedirectURIs {
			u, err := url.Parse(uri)
			if err != nil || u.User != nil || u.Fragment != "" || !slices.Contains([]string{"https", "http", "com.example.app"}, u.Scheme) ||
				u.Scheme == "http" && u.Hostname() != "127.0.0.1" && u.Hostname() != "::1" {
				t.Fatalf("a redirect URI %q", uri)
			}
			if got, err := (&client.Client{Metadata: m}).RedirectURI(uri); err != nil || got != uri {
				t.Fatalf("%q isn't its own: %v", uri, err)
			}
		}
		for _, page := range []string{m.ClientURI, m.LogoURI, m.TermsURI, m.PolicyURI, m.JWKSURI} {
			if page != "" && !strings.HasPrefix(strings.ToLower(page), "https://") {
				t.Fatalf("a page %q", page)
			}
		}
	})
}

// FuzzClientID: only an https URL without a port at a public name is fetched, as it is written.
func FuzzClientID(f *testing.F) {
	for _, id := range []string{
		appID, "http://localhost", "http://localhost/?redirect_uri=http://127.0.0.1/&scope=atproto", "https://[::1]/a", "https://a.b:1/c", "https://a.b/%2e%2e/c", "http://127.0.0.1:80/a", "https://a@b.c/d",
	} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		r, n, _ := newRegistry(t, nil)
		c, err := r.Get(ctx, id)
		if err != nil && message(err) == "" {
			t.Fatalf("%q: %v", id, err)
		}
		for at := range n.asked {
			u, err := url.Parse(at)
			if err != nil || at != id || u.Scheme != "https" || u.Port() != "" || u.User != nil || u.Fragment != "" || !strings.Contains(u.Host, ".") || u.Path == "" || u.Path == "/" {
				t.Fatalf("%q was fetched", at)
			}
		}
		if err == nil {
			if !c.Local {
				t.Fatalf("%q is %+v", id, c)
			}
			for _, uri := range c.Metadata.RedirectURIs {
				if u, err := url.Parse(uri); err != nil || u.Scheme != "http" || u.Hostname() != "127.0.0.1" && u.Hostname() != "::1" {
					t.Fatalf("%q is answered at %q", id, uri)
				}
			}
		}
	})
}

// FuzzRedirectURI: a request is answered at the declared URI, but for the port on loopback.
func FuzzRedirectURI(f *testing.F) {
	declared := []string{"https://app.example.com/callback", "http://127.0.0.1/callback?a=b", "http://[::1]:8080/x", "com.example.app:/callback"}
	for _, uri := range append(declared, "http://127.0.0.1:1234/callback?a=b", "http://127.0.0.1:80@evil.example/callback?a=b", `http://[::1]\x`) {
		f.Add(uri)
	}
	c := &client.Client{Metadata: &client.Metadata{RedirectURIs: declared}}
	f.Fuzz(func(t *testing.T, requested string) {
		got, err := c.RedirectURI(requested)
		if err != nil || slices.Contains(declared, got) {
			return
		}
		u, err := url.Parse(got)
		if got != requested || err != nil || u.User != nil || u.Fragment != "" {
			t.Fatalf("%q is answered at %q: %v", requested, got, err)
		}
		if rest := u.Hostname() + u.EscapedPath() + "?" + u.RawQuery; u.Scheme != "http" || rest != "127.0.0.1/callback?a=b" && rest != "::1/x?" {
			t.Fatalf("%q is answered at %q", requested, got)
		}
	})
}
