package accounts

import (
	"regexp"
	"strings"

	"github.com/gatehouse-at/gatehouse/internal/typed"
)

// The form in which codes are sent, and that in which they are typed, in upper case.
var (
	sentCode  = regexp.MustCompile(`^[A-Z2-7]{5}-[A-Z2-7]{5}$`)
	typedCode = regexp.MustCompile(`^([A-Z2-7]{5})[- ]*([A-Z2-7]{5})$`)
)

// normalCode brings an e-mailed code, as people type and paste it, into the form in which it was
// sent: any dash, spaces or nothing between its halves, in any case of letters, with invisible
// characters and full-width forms in it; or a text around it, such as the line of the e-mail or the
// link with "code=", in which it stands as it was sent, alone of its kind. Anything else is no code,
// and so no guess at one.
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
