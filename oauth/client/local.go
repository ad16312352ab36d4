package client

import (
	"net/url"
)

// localMetadata returns the metadata of a development client, which is in its client_id (source:
// the atproto OAuth specification, "Localhost Client Development").
func localMetadata(a *address) (*Metadata, error) {
	query, err := url.ParseQuery(a.url.RawQuery)
	if err != nil {
		return nil, invalid("the query of client_id %.200q can't be read", a.id)
	}
	for name := range query {
		if name != "redirect_uri" && name != "scope" {
			return nil, invalid("client_id %.200q has a parameter %.50q, and only redirect_uri and scope are possible", a.id, name)
		}
	}
	m := &Metadata{
		ClientID: a.id, ClientName: "Development client", ApplicationType: native, AuthMethod: methodNone,
		GrantTypes: []string{grantCode, grantRefresh}, Scope: []string{"atproto"},
		RedirectURIs: []string{"http://127.0.0.1/", "http://[::1]/"},
	}
	switch scopes := query["scope"]; {
	case len(scopes) > 1:
		return nil, invalid("client_id %.200q has more than one scope", a.id)
	case len(scopes) == 1:
		if m.Scope, err = parseScope(scopes[0]); err != nil {
			return nil, err
		}
	}
	if uris := query["redirect_uri"]; len(uris) > 0 {
		m.RedirectURIs = uris
	}
	if len(m.RedirectURIs) > maxRedirects {
		return nil, invalid("client_id has more than %d redirect URIs", maxRedirects)
	}
	for _, uri := range m.RedirectURIs {
		u, err := parseRedirect(uri)
		if err != nil {
			return nil, err
		}
		if u.Scheme != "http" {
			return nil, badRedirect("redirect URI %.200q: a development client has loopback redirects only, to http://127.0.0.1 or http://[::1]", uri)
		}
		if err := checkHTTP(a, u, native, uri); err != nil {
			return nil, err
		}
	}
	return m, nil
}
