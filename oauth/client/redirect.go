package client

import (
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-at/gatehouse/internal/hostname"
)

// maxRedirects and maxRedirect bound the redirect URIs of a client in number and in bytes.
const (
	maxRedirects = 100
	maxRedirect  = 2048
)

// checkRedirect checks a redirect URI that a client declares (sources: the atproto OAuth
// specification, "Request Fields"; RFC 8252).
func checkRedirect(a *address, applicationType, uri string, relaxed bool) error {
	u, err := parseRedirect(uri)
	if err != nil {
		return err
	}
	switch {
	case u.Scheme == "https":
		return checkHTTPS(a, u, applicationType, uri, relaxed)
	case u.Scheme == "http":
		return checkHTTP(a, u, applicationType, uri)
	case strings.Contains(u.Scheme, "."):
		return checkPrivateUse(a, u, applicationType, uri)
	}
	return badRedirect(`redirect URI %.200q: the scheme must be https, or that of a native application, such as "com.example.app:/callback"`, uri)
}

func parseRedirect(uri string) (*url.URL, error) {
	switch {
	case len(uri) > maxRedirect:
		return nil, badRedirect("redirect URI %.100q... has more than %d characters", uri, maxRedirect)
	case uri == "" || strings.Trim(uri, uriCharacters) != "":
		return nil, badRedirect("redirect URI %.200q isn't a URL", uri)
	case strings.Contains(uri, "#"):
		return nil, badRedirect("redirect URI %.200q must not have a fragment", uri)
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" {
		return nil, badRedirect("redirect URI %.200q isn't a URL", uri)
	}
	if u.User != nil {
		return nil, badRedirect("redirect URI %.200q must not have credentials", uri)
	}
	return u, nil
}

func checkHTTPS(a *address, u *url.URL, applicationType, uri string, relaxed bool) error {
	name := u.Hostname()
	_, err := hostname.Name(name)
	switch {
	case err != nil || strings.HasSuffix(u.Host, ":"):
		return badRedirect("redirect URI %.200q has no valid host", uri)
	case u.Port() == "443":
		return badRedirect("redirect URI %.200q must not have the default port", uri)
	case name == "localhost" || isLoopbackIP(name):
		return badRedirect("redirect URI %.200q: loopback redirects are http URLs", uri)
	case !relaxed && !isAddress(name) && isLocalName(name):
		return badRedirect("redirect URI %.200q: the host isn't a public domain name", uri)
	case applicationType == native && "https://"+strings.ToLower(u.Host) != a.origin():
		return badRedirect("redirect URI %.200q: an https redirect URI of a native application must have the origin of its client_id, %s", uri, a.origin())
	}
	return nil
}

func checkHTTP(a *address, u *url.URL, applicationType, uri string) error {
	if strings.EqualFold(strings.TrimSuffix(u.Hostname(), "."), "localhost") {
		return badRedirect(`redirect URI %.200q: the host must be an address, "127.0.0.1" or "[::1]", instead of "localhost" (RFC 8252, section 8.3)`, uri)
	}
	if _, _, ok := splitLoopback(uri); !ok {
		return badRedirect("redirect URI %.200q: only loopback redirects of native applications, to 127.0.0.1 or [::1], may be http URLs", uri)
	}
	if applicationType != native && (!a.loopback || "http://"+u.Host != a.origin()) {
		return badRedirect("redirect URI %.200q: loopback redirects are for native applications only (application_type)", uri)
	}
	return nil
}

// checkPrivateUse checks a redirect URI by which the operating system calls an application.
func checkPrivateUse(a *address, u *url.URL, applicationType, uri string) error {
	labels := strings.Split(a.url.Hostname(), ".")
	slices.Reverse(labels)
	want := strings.Join(labels, ".")
	_, rest, _ := strings.Cut(uri, ":")
	switch {
	case applicationType != native:
		return badRedirect("redirect URI %.200q: schemes of their own are for native applications only (application_type)", uri)
	case a.local || a.loopback:
		return badRedirect("redirect URI %.200q: a development client has loopback redirects only, to 127.0.0.1 or [::1]", uri)
	case u.Scheme != want || !strings.HasPrefix(uri, want+":"):
		return badRedirect("redirect URI %.200q: the scheme must be the host of the client_id in reverse order, %q", uri, want)
	case !strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, "//"):
		return badRedirect(`redirect URI %.200q must have a single slash after the scheme, as in "%s:/callback"`, uri, want)
	}
	return nil
}

// splitLoopback splits a loopback redirect URI into what has to be the same in a request, which is
// all but the port. It reads the text as it is, so that no two URIs are the same that a browser
// takes for different ones.
func splitLoopback(uri string) (host, rest string, ok bool) {
	for _, host = range []string{"http://127.0.0.1", "http://[::1]"} {
		rest, found := strings.CutPrefix(uri, host)
		if !found {
			continue
		}
		if port, hasPort := strings.CutPrefix(rest, ":"); hasPort {
			rest = strings.TrimLeft(port, "0123456789")
			digits := port[:len(port)-len(rest)]
			if digits == "" || len(digits) > 5 || len(digits) == 5 && digits > "65535" {
				return "", "", false
			}
		}
		if rest == "" || rest[0] == '?' {
			rest = "/" + rest
		}
		return host, rest, rest[0] == '/' && strings.Trim(rest, uriCharacters) == "" && !strings.Contains(rest, "#")
	}
	return "", "", false
}

// sameRedirect reports whether a requested redirect URI is a declared one: the same character for
// character, or, on loopback, but for the port, which native applications choose when they run
// (source: RFC 8252, sections 7.3 and 8.4).
func sameRedirect(declared, requested string) bool {
	if declared == requested {
		return true
	}
	host, rest, ok := splitLoopback(declared)
	host2, rest2, ok2 := splitLoopback(requested)
	return ok && ok2 && host == host2 && rest == rest2
}

// RedirectURI returns the redirect URI that a request is answered at: the requested one, which has
// to be a declared one, or, if none is requested, the declared one if there is only one. Error:
// [ErrInvalidRedirect].
func (c *Client) RedirectURI(requested string) (string, error) {
	declared := c.Metadata.RedirectURIs
	if requested == "" {
		if len(declared) != 1 {
			return "", badRedirect("redirect_uri is required, since the client has %d of them", len(declared))
		}
		return declared[0], nil
	}
	if len(requested) > maxRedirect || !slices.ContainsFunc(declared, func(d string) bool { return sameRedirect(d, requested) }) {
		return "", badRedirect("redirect_uri %.200q isn't among the redirect_uris of the client", requested)
	}
	return requested, nil
}
