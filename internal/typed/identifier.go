package typed

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

// maxIdentifier is the length in bytes of the longest text that is searched for an identifier. A
// DID may have 2048 bytes (source: the atproto DID specification), and a link adds some.
const maxIdentifier = 4096

// Identifier returns the normal form of the handle, DID or e-mail address that a text contains.
// accounts.NormalizeIdentifier, whose comment says what is understood, calls this function. It is
// idempotent.
func Identifier(raw string) string {
	s := cleanIdentifier(raw)
	for len(s) <= maxIdentifier {
		inside := unwrap(s)
		if inside == s {
			break
		}
		s = cleanIdentifier(inside) // what was escaped in a link may be anything
	}
	return lowerIdentifier(s)
}

func cleanIdentifier(raw string) string {
	return strings.ReplaceAll(Name(raw), "\u3002", ".")
}

// The links that contain identifiers. A link to a profile that has an "@" but no scheme could be an
// e-mail address, and is left alone.
var (
	atURI       = regexp.MustCompile(`(?i)^at://([^/?#]*)`)
	webLink     = regexp.MustCompile(`(?i)^https?://([^/?#]*)/?$`)
	profileLink = regexp.MustCompile(`(?i)^https?://[^/?#]+/profile/([^/?#]+)`)
	bareLink    = regexp.MustCompile(`(?i)^[^/?#@\s]+/profile/([^/?#@]+)[^@]*$`)
)

// unwrap removes one layer around an identifier, such as a link or a leading "@", if there is one.
func unwrap(s string) string {
	inside := strings.TrimLeftFunc(s, func(r rune) bool { return r == '@' || unicode.IsSpace(r) })
	inside = strings.TrimRightFunc(inside, func(r rune) bool { return r == '.' || unicode.IsSpace(r) })
	for _, link := range []*regexp.Regexp{profileLink, bareLink} {
		if m := link.FindStringSubmatch(inside); m != nil {
			return unescape(m[1])
		}
	}
	for _, link := range []*regexp.Regexp{atURI, webLink} {
		if m := link.FindStringSubmatch(inside); m != nil {
			return m[1]
		}
	}
	return inside
}

// unescape decodes the percent-encoding of a part of a URL. A DID that isn't encoded is left alone,
// since it may contain a percent sign of its own.
func unescape(part string) string {
	if strings.HasPrefix(Lower(part), "did:") {
		return part
	}
	if plain, err := url.PathUnescape(part); err == nil {
		return plain
	}
	return part
}

// lowerIdentifier lower-cases an identifier, except the method-specific part of a DID that isn't a
// did:plc.
func lowerIdentifier(s string) string {
	lower := Lower(s)
	if !strings.HasPrefix(lower, "did:") || strings.HasPrefix(lower, "did:plc:") {
		return lower
	}
	method := strings.IndexByte(lower[len("did:"):], ':')
	if method < 0 {
		return lower
	}
	end := len("did:") + method
	return lower[:end] + s[end:]
}
