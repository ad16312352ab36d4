package accounts

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/gatehouse-at/gatehouse/internal/typed"
)

// maxIdentifier is the length in bytes beyond which no identifier is looked for in a text: a DID
// may have 2048 (source: the atproto DID specification), and a link has more around it.
const maxIdentifier = 4096

// NormalizeIdentifier returns the handle, DID or e-mail address that is meant by what people type
// and paste, in the spelling in which accounts are found:
//
//   - Invisible characters (zero width spaces, bidirectional marks, soft hyphens and the like) and
//     spaces outside ASCII are removed wherever they are, and ordinary spaces around the text. An
//     ordinary space inside stays: that is a mistake, and no account is found by it.
//   - Full-width forms become ordinary ones, and the ideographic full stop a dot.
//   - A leading "@" or "at://" is removed. A link to a profile (https://HOST/profile/ALICE, with or
//     without the scheme and with anything after it) and an at:// URI become what names the
//     account, and https://HOST becomes the host, since handles are shown as links.
//   - Trailing dots are removed.
//   - Letters become lower case, except in the method-specific part of a DID that isn't a did:plc,
//     where case matters.
//
// An e-mail address stays one. The result need not be a valid identifier. Normalising it again
// changes nothing.
func NormalizeIdentifier(raw string) string {
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

// normalIdentifier is NormalizeIdentifier with all letters in lower case, so that all spellings of
// an identifier share one budget.
func normalIdentifier(raw string) string { return typed.Lower(NormalizeIdentifier(raw)) }

func cleanIdentifier(raw string) string {
	return strings.ReplaceAll(typed.Name(raw), "\u3002", ".")
}

// The links that identifiers stand in. A link to a profile that has an "@" but no scheme could be
// an e-mail address, and is left alone.
var (
	atURI       = regexp.MustCompile(`(?i)^at://([^/?#]*)`)
	webLink     = regexp.MustCompile(`(?i)^https?://([^/?#]*)/?$`)
	profileLink = regexp.MustCompile(`(?i)^https?://[^/?#]+/profile/([^/?#]+)`)
	bareLink    = regexp.MustCompile(`(?i)^[^/?#@\s]+/profile/([^/?#@]+)[^@]*$`)
)

// unwrap removes one thing that stands around an identifier, or nothing.
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

// unescape undoes the percent-encoding of a part of a URL. A DID that wasn't encoded is left alone,
// since it may have a percent sign of its own.
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
