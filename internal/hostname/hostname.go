// Package hostname normalizes host names, so that DIDs, URLs and handles can be compared, and makes
// the did:web of a host.
package hostname

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"golang.org/x/net/idna"
)

// maxName is the longest name that DNS allows, without a trailing dot (source: RFC 1035).
const maxName = 253

// Name returns the normal form of a host name without a port: in lower case, without a trailing
// dot, and in ASCII (xn--) if it is an internationalized name, as in browsers. The normal form of
// an IP address is its canonical form, for IPv6 without brackets (sources: UTS #46, RFC 5891, RFC
// 5952).
func Name(raw string) (string, error) {
	name := raw
	if !isASCII(name) {
		if !utf8.ValidString(name) {
			return "", fmt.Errorf("%q is not a host name", raw)
		}
		var err error
		if name, err = idna.Lookup.ToASCII(name); err != nil {
			return "", fmt.Errorf("%q is not a host name: %w", raw, err)
		}
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if addr, err := netip.ParseAddr(name); err == nil && addr.Zone() == "" {
		return addr.String(), nil
	}
	if name == "" || len(name) > maxName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" ||
		strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
		return "", fmt.Errorf("%q is not a host name", raw)
	}
	return name, nil
}

// Split returns the normal form of a host name that may have a port, as in a URL or a Host header,
// and the port. The port is empty if there is none.
func Split(raw string) (name, port string, err error) {
	name, port, _ = strings.Cut(raw, ":")
	switch {
	case strings.HasPrefix(raw, "["):
		inside, rest, closed := strings.Cut(raw[1:], "]")
		after, hasPort := strings.CutPrefix(rest, ":")
		if !closed || !hasPort && rest != "" || !strings.Contains(inside, ":") {
			return "", "", fmt.Errorf("%q is not a host name", raw)
		}
		name, port = inside, after
	case strings.Contains(port, ":"): // an IPv6 address without brackets
		name, port = raw, ""
	}
	if name, err = Name(name); err != nil {
		return "", "", err
	}
	if port == "" {
		return name, "", nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", "", fmt.Errorf("the port of %q is not a number from 1 to 65535", raw)
	}
	return name, strconv.FormatUint(n, 10), nil
}

// Normal returns the normal form of a host name that may have a port. It omits the default ports of
// HTTP and HTTPS, 80 and 443.
func Normal(raw string) (string, error) {
	name, port, err := Split(raw)
	if err != nil {
		return "", err
	}
	if IsDefault(port) {
		port = ""
	}
	return Join(name, port), nil
}

// WebDID returns the did:web of a host name that may have a port. It is the same for all spellings
// that have the same normal form (source: the did:web method specification).
func WebDID(host string) (syntax.DID, error) {
	normal, err := Normal(host)
	if err != nil {
		return "", err
	}
	id, err := syntax.ParseDID("did:web:" + strings.ReplaceAll(normal, ":", "%3A"))
	if err != nil {
		return "", fmt.Errorf("%q is not a host name: %w", host, err)
	}
	return id, nil
}

// IsDefault reports whether a port is the default port of HTTP or HTTPS.
func IsDefault(port string) bool { return port == "80" || port == "443" }

// IsLoopback reports whether a host name without a port is "localhost" or a loopback address.
func IsLoopback(raw string) bool {
	name, err := Name(raw)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && addr.IsLoopback()
}

// Join is the reverse of Split.
func Join(name, port string) string {
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if port == "" {
		return name
	}
	return name + ":" + port
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
