package apppasswords

import (
	"regexp"
	"strings"

	"github.com/gatehouse-at/gatehouse/internal/typed"
)

var form = regexp.MustCompile(`^([a-z2-7]{4})[- ]*([a-z2-7]{4})[- ]*([a-z2-7]{4})[- ]*([a-z2-7]{4})$`)

// Normalize returns an app password as it was shown, xxxx-xxxx-xxxx-xxxx, from what people type and
// paste: with letters of any case, with other dashes, spaces or nothing between the groups, and
// with invisible characters and full-width forms. It returns false if the text doesn't have the
// form of an app password. Some account passwords have this form too.
func Normalize(password string) (string, bool) {
	groups := form.FindStringSubmatch(typed.Dashes(typed.Lower(typed.Text(password))))
	if groups == nil {
		return "", false
	}
	return strings.Join(groups[1:], "-"), true
}
