package apppasswords

import (
	"regexp"
	"strings"

	"github.com/gatehouse-at/gatehouse/internal/typed"
)

var form = regexp.MustCompile(`^([a-z2-7]{4})[- ]*([a-z2-7]{4})[- ]*([a-z2-7]{4})[- ]*([a-z2-7]{4})$`)

// Normalize returns an app password in the form in which it was shown, xxxx-xxxx-xxxx-xxxx, from
// what people type and paste: in any case of letters, with any dashes, spaces or nothing between
// its groups, and with invisible characters and full-width forms in it. It returns false if the
// text doesn't have the form of an app password. Some account passwords do.
func Normalize(password string) (string, bool) {
	groups := form.FindStringSubmatch(typed.Dashes(typed.Lower(typed.Text(password))))
	if groups == nil {
		return "", false
	}
	return strings.Join(groups[1:], "-"), true
}
