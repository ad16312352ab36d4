package mail

import (
	"fmt"
	"net/url"
	"strings"
)

// CheckPage returns an error if a URL can't be that of the page where people enter the codes of a
// kind of e-mail. The kind must have a code, and the URL must be of the form http(s)://HOST, with
// an optional path and query. It must not have a user, nor a fragment, which is where [Data.Link]
// puts the code. Characters other than printable ASCII must be percent-encoded, since the URL is
// shown in texts.
func CheckPage(kind Kind, page string) error {
	if !kind.HasCode() {
		return fmt.Errorf("e-mails of the kind %q have no code, and so no page; the kinds with a code are %q", kind, codes)
	}
	u, err := url.Parse(page)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil:
		return fmt.Errorf("the page of %s is not of the form https://HOST/PATH", kind) // without the URL, which may have a password in it
	case strings.Contains(page, "#"):
		return fmt.Errorf("the page of %s, %s, has a fragment, which is where the code goes", kind, page)
	case strings.ContainsFunc(page, needsEscape):
		return fmt.Errorf("the page of %s, %q, has a character that has to be percent-encoded", kind, page)
	}
	return nil
}

// needsEscape reports whether a character would end a URL in a text or hide a part of it.
func needsEscape(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"<>\^`+"`{|}", r)
}

// Link returns Page with the code in its fragment, as in #code=CODE, or an empty string without a
// Page. Browsers don't send fragments to servers, so the code isn't in any log or Referer header.
func (d Data) Link() string {
	if d.Page == "" {
		return ""
	}
	return d.Page + "#code=" + url.QueryEscape(d.Code)
}
