package did

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/gatehouse-at/gatehouse/internal/hostname"
)

// NormalizeEndpoint returns the normal form of the URL of a server as it is in DID documents: the
// scheme and the host are in lower case, the host is in ASCII and has no trailing dot, the port is
// omitted if it is the default of the scheme, and there is no trailing slash. It returns an error
// if the scheme is not http or https, or the URL has a user, a path, a query or a fragment
// (sources: RFC 3986, the atproto DID specification).
func NormalizeEndpoint(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		u.Path != "" && u.Path != "/" || strings.ContainsAny(endpoint, "?#") {
		return "", fmt.Errorf("did: %q is not of the form https://HOST", endpoint)
	}
	name, port, err := hostname.Split(u.Host)
	if err != nil {
		return "", fmt.Errorf("did: %w", err)
	}
	if u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		port = ""
	}
	return u.Scheme + "://" + hostname.Join(name, port), nil
}

// SameEndpoint reports whether two URLs of servers have the same scheme, host and port. A URL that
// [NormalizeEndpoint] doesn't accept is the same as no other.
func SameEndpoint(a, b string) bool {
	if a, err := NormalizeEndpoint(a); err == nil {
		b, err := NormalizeEndpoint(b)
		return err == nil && a == b
	}
	return false
}
