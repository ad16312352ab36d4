package codes

import (
	"regexp"
	"strings"

	"github.com/gatehouse-at/gatehouse/internal/typed"
)

// Code is a code in the form in which it is mailed: two groups of five characters of A-Z and 2-7,
// joined by a dash.
type Code string

// The form in which codes are mailed, and the forms in which they are typed, in upper case.
var (
	sentForm  = regexp.MustCompile(`^[A-Z2-7]{5}-[A-Z2-7]{5}$`)
	typedForm = regexp.MustCompile(`^([A-Z2-7]{5})[- ]*([A-Z2-7]{5})$`)
)

// Parse finds the code in what somebody typed or pasted. The code may be in any case of letters,
// with any dash, spaces or nothing between its halves, and with invisible characters and full-width
// forms in it. It may also stand in a longer text, such as a line of the e-mail or a link with
// "code=", provided that it is written there as it was mailed and no other code is. Anything else
// is an [ErrInvalid], which isn't counted as a guess.
func Parse(raw string) (Code, error) {
	text := typed.Dashes(typed.Upper(typed.Text(raw)))
	if halves := typedForm.FindStringSubmatch(text); halves != nil {
		return Code(halves[1] + "-" + halves[2]), nil
	}
	if i := strings.LastIndex(text, "CODE="); i >= 0 {
		text = text[i+len("CODE="):]
	}
	words := strings.FieldsFunc(text, func(r rune) bool {
		return !('A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-')
	})
	found := ""
	for _, word := range words {
		switch word = strings.Trim(word, "-"); {
		case !sentForm.MatchString(word):
		case found != "" && word != found:
			return "", errInvalid
		default:
			found = word
		}
	}
	if found == "" {
		return "", errInvalid
	}
	return Code(found), nil
}
