// Package typed cleans up what people type and paste: it removes characters that they can't see,
// and brings others into their ordinary forms.
package typed

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Name returns a name, such as a handle, without invisible characters and spaces outside ASCII
// anywhere in it, without spaces around it, and with full-width forms as ordinary ones. The case of
// letters stays. Applied again it changes nothing.
func Name(text string) string {
	return strings.TrimSpace(fold(text, func(r rune) rune {
		if invisible(r) || foreignSpace(r) {
			return -1
		}
		return r
	}))
}

// Text is Name for a text of several words: spaces of any kind become ordinary ones.
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

// Trim removes spaces and invisible characters around a text.
func Trim(text string) string {
	return strings.TrimFunc(text, func(r rune) bool { return invisible(r) || unicode.IsSpace(r) })
}

// Lower writes the letters of ASCII in lower case. It leaves other letters alone: the lower case of
// some is in ASCII (that of the Kelvin sign is k), so that a different name would become this one.
func Lower(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, text)
}

// Upper writes the letters of ASCII in upper case.
func Upper(text string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}, text)
}

// dashes are characters that look like dashes and aren't in Unicode's category Pd: the minus sign,
// the hyphen bullet, the modifier minus, and the prolonged sound mark, which is on the key of the
// dash on Japanese keyboards.
const dashes = "\u2212\u2043\u02D7\u30FC"

// Dashes replaces dashes of any kind by the one of ASCII.
func Dashes(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Pd, r) || strings.ContainsRune(dashes, r) {
			return '-'
		}
		return r
	}, text)
}

// fold applies mapping to each rune, and then to its ordinary form if it is a full-width or
// half-width one.
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

// invisible reports whether a rune isn't shown: zero width spaces and joiners, bidirectional marks,
// the soft hyphen, the byte order mark, variation selectors, fillers (source: Unicode,
// Default_Ignorable_Code_Point and the category Cf).
func invisible(r rune) bool {
	return r >= 0x80 && unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// foreignSpace reports whether a rune is a space outside ASCII, such as the no-break space.
func foreignSpace(r rune) bool { return r >= 0x80 && unicode.IsSpace(r) }
