package refusal

import "strings"

// Clean returns a message without control characters and invalid UTF-8, so that it is fit to show:
// input of a client that is quoted in it may hold anything.
func Clean(message string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(message, "?"))
}
