package accounts

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/gatehouse-at/gatehouse/internal/typed"
)

// maxIdentifier is the length in bytes beyond which nothing is taken for an identifier in disguise:
// a DID may have 2048 (source: the atproto DID specification), and a link has more around it.
const maxIdentifier = 4096

// NormalizeIdentifier returns what is meant by a handle, a DID or an e-mail address as people type
// and paste it, in the spelling in which accounts are found:
//
//   - Characters that can't be seen, such as zero width spaces, marks of the direction of writing and
//     soft hyphens, and spaces other than the ordinary one are taken away, wherever they are; so are
//     ordinary spaces around the text. One inside stays, and is a mistake.
//   - Full-width forms become ordinary ones, and the ideographic full stop a dot.
//   - A leading "@" or "at://" goes. Of a link to a profile (https://HOST/profile/ALICE, with or
//     without the scheme and with anything after it) and of an at:// URI what names the account is
//     left, and of https://HOST the host, since handles are shown as links.
//   - Trailing dots go.
//   - Letters become lower case, but for the end of a DID of another method than plc, where the case
//     of letters counts.
//
// An e-mail address stays one. Whether the result is an identifier at all isn't looked at. What is
// normalised stays as it is when that is done again.
func NormalizeIdentifier(raw string) string {
	s := cleanIdentifier(raw)
	for len(s) <= maxIdentifier {
		inside := unwrap(s)
		if inside == s {
			break
		}
		s = cleanIdentifier(inside) // what was escaped in a link may hold anything
	}
	return lowerIdentifier(s)
}

// normalIdentifier is NormalizeIdentifier with all letters in lower case: what all spellings of an
// identifier have in common.
func normalIdentifier(raw string) string { return typed.Lower(NormalizeIdentifier(raw)) }

func cleanIdentifier(raw string) string {
	return strings.ReplaceAll(typed.Name(raw), "\u3002", ".")
}

// The links that identifiers stand in. Without its scheme a link to a profile has the form of an
// e-mail address if there is an "@" in it, and is left to be one.
var (
	atURI       = regexp.MustCompile(`(?i)^at://([^/?#]*)`)
	webLink     = regexp.MustCompile(`(?i)^https?://([^/?#]*)/?$`)
	profileLink = regexp.MustCompile(`(?i)^https?://[^/?#]+/profile/([^/?#]+)`)
	bareLink    = regexp.MustCompile(`(?i)^[^/?#@\s]+/profile/([^/?#@]+)[^@]*$`)
)

// unwrap takes away what stands around an identifier, one thing at a time, or nothing.
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

// unescape undoes the escaping of a part of a URL. A DID that wasn't escaped is left alone: it may
// have a percent sign of its own.
func unescape(part string) string {
	if strings.HasPrefix(typed.Lower(part), "did:") {
		return part
	}
	if plain, err := url.PathUnescape(part); err == nil {
		return plain
	}
	return part
}

func lowerIdentifier(s string) string {
	lower := typed.Lower(s)
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
