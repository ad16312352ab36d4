package refusal

import (
	"net/url"
	"strconv"
	"strings"
)

// HideSecret returns err, or, if its text contains a secret, an error that wraps err and has another
// text. The text of an error of the embedding program is logged, and a secret must not get there.
// what names the part of the program that failed.
func HideSecret(err error, what, secret string) error {
	if err == nil || secret == "" || !quotes(err.Error(), secret) {
		return err
	}
	return &hidden{err, what}
}

// quotes reports whether a text contains a secret, as it is or as errors of Go's library write it:
// quoted, or escaped in a URL.
func quotes(text, secret string) bool {
	for _, written := range []string{secret, strings.Trim(strconv.Quote(secret), `"`), url.QueryEscape(secret), url.PathEscape(secret)} {
		if strings.Contains(text, written) {
			return true
		}
	}
	return false
}

// hidden hides the text of an error that contains a secret.
type hidden struct {
	err  error
	what string
}

func (h *hidden) Error() string { return h.what + " failed (its error contains the password)" }

// Unwrap returns the error itself, which keeps its kind and its text for clients.
func (h *hidden) Unwrap() error { return h.err }
