package accounts

import (
	"regexp"
	"strings"

	"github.com/gatehouse-at/gatehouse/internal/typed"
)

// The form in which codes are mailed, and the forms in which they are typed, in upper case.
var (
	sentCode  = regexp.MustCompile(`^[A-Z2-7]{5}-[A-Z2-7]{5}$`)
	typedCode = regexp.MustCompile(`^([A-Z2-7]{5})[- ]*([A-Z2-7]{5})$`)
)

// normalCode brings an e-mailed code, as people type and paste it, into the form in which it was
// mailed. The code may be in any case of letters, with any dash, spaces or nothing between its
// halves, and with invisible characters and full-width forms in it. It may also stand in a longer
// text, such as the line of the e-mail or the link with "code=", if it is written there as it was
// mailed and no other code is. ok is false for anything else, which doesn't count as a guess.
func normalCode(raw string) (code string, ok bool) {
	text := typed.Dashes(typed.Upper(typed.Text(raw)))
	if halves := typedCode.FindStringSubmatch(text); halves != nil {
		return halves[1] + "-" + halves[2], true
	}
	if i := strings.LastIndex(text, "CODE="); i >= 0 {
		text = text[i+len("CODE="):]
	}
	words := strings.FieldsFunc(text, func(r rune) bool {
		return !('A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-')
	})
	for _, word := range words {
		switch word = strings.Trim(word, "-"); {
		case !sentCode.MatchString(word):
		case ok && word != code:
			return "", false
		default:
			code, ok = word, true
		}
	}
	return code, ok
}
