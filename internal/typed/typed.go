// Package typed normalizes what people type and paste: it removes invisible characters and replaces
// variants of characters with their ordinary forms.
package typed

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Name normalizes a name, such as a handle. It removes invisible characters and non-ASCII spaces
// anywhere in the name, removes ASCII spaces around it, and replaces full-width forms with ordinary
// ones. It keeps the case of letters. Name is idempotent.
func Name(text string) string {
	return strings.TrimSpace(fold(text, func(r rune) rune {
		if invisible(r) || foreignSpace(r) {
			return -1
		}
		return r
	}))
}

// Text is like Name for a text of several words: it replaces spaces of any kind with ordinary ones.
func Text(text string) string {
	return strings.TrimSpace(fold(text, func(r rune) rune {
		switch {
		case invisible(r):
			return -1
		case unicode.IsSpace(r):
			return ' '
		}
		return r
	}))
}

// Trim removes spaces of any kind and invisible characters around a text.
func Trim(text string) string {
	return strings.TrimFunc(text, func(r rune) bool { return invisible(r) || unicode.IsSpace(r) })
}

// Lower returns a text with its ASCII letters in lower case. It doesn't change other letters, since
// some have a lower case in ASCII (the Kelvin sign becomes k), so that two different names would
// become the same.
func Lower(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, text)
}

// Upper returns a text with its ASCII letters in upper case.
func Upper(text string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}, text)
}

// dashes are characters that look like dashes but aren't in Unicode's category Pd: the minus sign,
// the hyphen bullet, the modifier minus, and the prolonged sound mark, which shares a key with the
// dash on Japanese keyboards.
const dashes = "\u2212\u2043\u02D7\u30FC"

// Dashes replaces dashes of any kind with the ASCII hyphen.
func Dashes(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Pd, r) || strings.ContainsRune(dashes, r) {
			return '-'
		}
		return r
	}, text)
}

// fold applies mapping to each rune, and once more to the ordinary form of a full-width or
// half-width rune.
func fold(text string, mapping func(rune) rune) string {
	return strings.Map(func(r rune) rune {
		if r = mapping(r); r < 0 {
			return r
		}
		if ordinary := width.LookupRune(r).Folded(); ordinary != 0 {
			r = mapping(ordinary)
		}
		return r
	}, text)
}

// invisible reports whether a rune isn't displayed, such as zero width spaces and joiners,
// bidirectional marks, the soft hyphen, the byte order mark, variation selectors and fillers
// (source: Unicode, Default_Ignorable_Code_Point and the category Cf).
func invisible(r rune) bool {
	return r >= 0x80 && unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// foreignSpace reports whether a rune is a non-ASCII space, such as the no-break space.
func foreignSpace(r rune) bool { return r >= 0x80 && unicode.IsSpace(r) }
