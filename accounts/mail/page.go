package mail

import (
	"fmt"
	"net/url"
	"strings"
)

// CheckPage refuses what can't be the page on which people type the codes of a kind of e-mail: one
// for a kind without a code, and what is not http(s)://HOST, with a path and a query if need be. It
// may have no fragment, where [Data.Link] puts the code, and no user; and since it is shown in
// texts, what isn't printable ASCII has to be percent-encoded.
func CheckPage(kind Kind, page string) error {
	if !kind.HasCode() {
		return fmt.Errorf("e-mails of the kind %q have no code, and so no page; those are %q", kind, codes)
	}
	u, err := url.Parse(page)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil:
		return fmt.Errorf("the page of %s is not of the form https://HOST/PATH", kind) // it may have a password in it
	case strings.Contains(page, "#"):
		return fmt.Errorf("the page of %s, %s, has a fragment, which is where the code goes", kind, page)
	case strings.ContainsFunc(page, needsEscape):
		return fmt.Errorf("the page of %s, %q, has a character that has to be percent-encoded", kind, page)
	}
	return nil
}

// needsEscape reports whether a character would end a URL, or hide a part of it, where it stands in a
// text.
func needsEscape(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"<>\^`+"`{|}", r)
}

// Link is Page with the code in its fragment, as #code=CODE, or empty without a Page. Browsers don't
// send a fragment to the server, so that the code is in no log and no Referer header.
func (d Data) Link() string {
	if d.Page == "" {
		return ""
	}
	return d.Page + "#code=" + url.QueryEscape(d.Code)
}
