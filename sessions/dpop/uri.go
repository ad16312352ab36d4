package dpop

import (
	"errors"
	"net/url"
	"strings"
)

var errURI = errors.New("not an absolute http URL without user, query and fragment")

// normalize returns the normal form of an http URL by which URLs are compared: scheme and host in
// lower case, without a default port, without dots in the path, and with only those characters
// percent-encoded that have to be (source: RFC 9449, section 4.3; RFC 3986, sections 6.2.2 and
// 6.2.3).
func normalize(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.User != nil || u.Hostname() == "" || strings.ContainsAny(raw, "?#") {
		return "", errURI
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return "", errURI
	}
	host = strings.TrimSuffix(host, ":")
	return scheme + "://" + host + withoutDots(decodeUnreserved(u.EscapedPath())), nil
}

// decodeUnreserved decodes what need not be percent-encoded, and writes the rest in upper case.
func decodeUnreserved(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' || i+2 >= len(path) {
			b.WriteByte(path[i])
			continue
		}
		c := hex(path[i+1])<<4 | hex(path[i+2])
		if unreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteString(strings.ToUpper(path[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

// hex returns the value of a hexadecimal digit, which was checked by [url.Parse].
func hex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// withoutDots removes the segments "." and ".." of a path (source: RFC 3986, section 5.2.4).
func withoutDots(path string) string {
	if path == "" {
		return "/"
	}
	if !strings.Contains(path, "/.") {
		return path
	}
	var kept []string
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case ".", "..":
			if s == ".." && len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
			if last { // it ends in a slash
				kept = append(kept, "")
			}
		default:
			kept = append(kept, s)
		}
	}
	return "/" + strings.Join(kept, "/")
}
