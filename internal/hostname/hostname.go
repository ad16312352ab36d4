// Package hostname brings host names into the one form in which DIDs, URLs and handles are
// compared.
package hostname

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxName is the longest name that DNS has, without a trailing dot (source: RFC 1035).
const maxName = 253

// Name returns the normal form of a host name without a port: in lower case, without a trailing
// dot, an internationalised name in ASCII (xn--), as browsers do; an IP address in its
// canonical form, an IPv6 address without brackets (sources: UTS #46, RFC 5891, RFC 5952).
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
// and the port, which is empty if there is none.
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
	case strings.Contains(port, ":"): // an IPv6 address by itself
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

// Normal returns the normal form of a host name that may have a port. The ports that HTTP and HTTPS
// have by default, 80 and 443, are left out.
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

// IsDefault reports whether a port is one that HTTP or HTTPS has by default.
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

// Join puts a name and a port together again, without a colon if there is no port.
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
