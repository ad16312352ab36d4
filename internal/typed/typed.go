// Package typed reads what people type and paste: it takes away what they can't see, and writes
// letters as machines do.
package typed

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Name returns a name as it was meant, such as a handle: without what can't be seen and spaces other
// than that of the keyboard anywhere in it, without any spaces around it, and with full-width forms
// as ordinary ones. The case of letters stays. Applied again it changes nothing.
func Name(text string) string {
	return strings.TrimSpace(fold(text, func(r rune) rune {
		if invisible(r) || foreignSpace(r) {
			return -1
		}
		return r
	}))
}

// Text is Name for something that may stand in a longer text: spaces of any kind in it are ordinary
// ones.
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

// Trim takes away what can't be seen, and spaces, around a text.
func Trim(text string) string {
	return strings.TrimFunc(text, func(r rune) bool { return invisible(r) || unicode.IsSpace(r) })
}

// Lower writes the letters of ASCII in lower case. It leaves other letters alone: some of them are
// lower-cased to ASCII (the Kelvin sign to k), which would make a name of something that isn't the
// same one.
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

// dashes are those that Unicode doesn't call so: the minus sign, the hyphen bullet, the modifier
// minus, and the prolonged sound mark, which has the dash's key on Japanese keyboards.
const dashes = "\u2212\u2043\u02D7\u30FC"

// Dashes writes dashes of any kind as that of ASCII.
func Dashes(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Pd, r) || strings.ContainsRune(dashes, r) {
			return '-'
		}
		return r
	}, text)
}

// fold maps each rune, before and after its full-width or half-width form is made an ordinary one.
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

// invisible reports whether a rune leaves no trace where it is shown: zero width spaces and joiners,
// marks of the direction of writing, the soft hyphen, the byte order mark, variation selectors,
// fillers (source: Unicode, Default_Ignorable_Code_Point, and the category Cf).
func invisible(r rune) bool {
	return r >= 0x80 && unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// foreignSpace reports whether a rune is a space outside ASCII, such as the no-break space.
func foreignSpace(r rune) bool { return r >= 0x80 && unicode.IsSpace(r) }
