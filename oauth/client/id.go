package client

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-at/gatehouse/internal/hostname"
)

const (
	// MaxID is the most bytes that a client_id may have. Those of http://localhost, which carry all
	// of their metadata, may have four times as many.
	MaxID = 1024

	// localOrigin is where the client_ids of development clients begin.
	localOrigin = "http://localhost"
)

// address is a client_id that has been taken apart.
type address struct {
	id       string
	url      *url.URL
	host     string // as people are shown it: with a port only on loopback
	local    bool   // http://localhost: there is no document
	loopback bool   // http://127.0.0.1:8080/client.json and the like: there is one
}

// origin is the origin of the client_id (source: RFC 6454).
func (a *address) origin() string { return a.url.Scheme + "://" + a.url.Host }

// parseID checks a client_id. There is one way only of writing a client_id, since everything that
// belongs to a client is found by it (source: the atproto OAuth specification, "Clients").
//
// relaxed permits what is of use on one machine: documents at http URLs on loopback, and hosts
// below top-level domains that don't exist, such as app.test.
func parseID(id string, relaxed bool) (*address, error) {
	limit := MaxID
	if isLocalID(id) {
		limit *= 4
	}
	switch {
	case id == "":
		return nil, invalid("client_id is missing")
	case len(id) > limit:
		return nil, invalid("client_id has more than %d characters", limit)
	case strings.Trim(id, uriCharacters) != "":
		return nil, invalid("client_id %.200q has characters that URLs don't have", id)
	case strings.Contains(id, "#"):
		return nil, invalid("client_id %.200q must not have a fragment", id)
	}
	u, err := url.Parse(id)
	if err != nil {
		return nil, invalid("client_id %.200q isn't a URL", id)
	}
	if isLocalID(id) {
		return &address{id: id, url: u, host: "localhost", local: true}, nil
	}
	a := &address{id: id, url: u, host: u.Host}
	switch {
	case u.Scheme == "http" && relaxed && isLoopbackIP(u.Hostname()):
		a.loopback = true
	case u.Scheme != "https" || !strings.HasPrefix(id, "https://"):
		return nil, invalid(`client_id %.200q must be an https URL, or, for development, begin with "http://localhost" without a port and without a path`, id)
	default:
		if err := checkHost(u, relaxed); err != nil {
			return nil, err
		}
	}
	if u.User != nil {
		return nil, invalid("client_id %.200q must not have credentials", id)
	}
	return a, checkPath(id, u)
}

// isLocalID reports whether a client_id is one of http://localhost, without a port and with no path
// but "/".
func isLocalID(id string) bool {
	rest, found := strings.CutPrefix(id, localOrigin)
	rest = strings.TrimPrefix(rest, "/")
	return found && (rest == "" || rest[0] == '?')
}

// checkHost checks the host of a client_id: a name in its normal form, and not an address.
func checkHost(u *url.URL, relaxed bool) error {
	name := u.Hostname()
	switch normal, err := hostname.Name(name); {
	case u.Port() != "" || strings.HasSuffix(u.Host, ":"):
		return invalid("client_id %.200q must not have a port", u.String())
	case isAddress(name):
		return invalid("client_id %.200q must have a domain name, not an IP address", u.String())
	case err != nil || normal != u.Host:
		return invalid("the host of client_id %.200q must be a domain name in lower case, without a dot at its end", u.String())
	case !relaxed && isLocalName(name):
		return invalid("the host of client_id %.200q isn't a public domain name", u.String())
	}
	return nil
}

// checkPath checks that a client_id has a path, and that browsers and Go programs take it for the
// same.
func checkPath(id string, u *url.URL) error {
	path := u.EscapedPath()
	switch {
	case path == "" || path == "/":
		return invalid(`client_id %.200q must have a path, such as "/oauth-client-metadata.json"`, id)
	case strings.HasSuffix(path, "/"):
		return invalid("the path of client_id %.200q must not end with a slash", id)
	case u.ForceQuery, u.String() != id:
		return invalid("client_id %.200q isn't in its normal form", id)
	}
	for segment := range strings.SplitSeq(path, "/") {
		if dots := strings.ReplaceAll(strings.ToLower(segment), "%2e", "."); dots == "." || dots == ".." {
			return invalid(`the path of client_id %.200q must not have "." and ".." in it`, id)
		}
	}
	return nil
}

// uriCharacters are those that URIs consist of (source: RFC 3986).
const uriCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?#[]@!$&'()*+,;=%"

// localDomains are top-level domains that nobody owns (sources: RFC 2606, RFC 6761, RFC 6762 and
// ICANN's reservation of "internal").
var localDomains = []string{"test", "local", "localhost", "invalid", "example", "internal", "arpa", "onion", "alt"}

// isLocalName reports whether a host name isn't one of the public DNS.
func isLocalName(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	return dot < 0 || slices.Contains(localDomains, strings.ToLower(name[dot+1:]))
}

// isAddress reports whether browsers take a host for an IP address. They do so for all names whose
// last label is a number, such as 127.1 and 0x7f.0.0.1 (source: the URL specification, "host
// parsing").
func isAddress(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || strings.ContainsAny(host, ":[]") {
		return true
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	last := strings.ToLower(labels[len(labels)-1])
	hex, isHex := strings.CutPrefix(last, "0x")
	return last != "" && strings.Trim(last, "0123456789") == "" || isHex && strings.Trim(hex, "0123456789abcdef") == ""
}

// isLoopbackIP reports whether a host is one of the two addresses that are allowed for loopback.
func isLoopbackIP(host string) bool { return host == "127.0.0.1" || host == "::1" }
