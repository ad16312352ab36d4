package accounts

import (
	_ "embed"
	"errors"
	"regexp"
	"strings"
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/typed"
)

// ErrInvalidEmail says that an e-mail address is malformed, or one that the server
// doesn't accept.
var ErrInvalidEmail = errors.New("accounts: invalid e-mail address")

var errUnsupportedEmail = refusal.New(ErrInvalidEmail, "This email address is not supported, please use a different email.")

// The longest address and local part, in bytes (source: RFC 5321, section 4.5.3.1).
const (
	maxEmail     = 254
	maxEmailUser = 64
)

// emailUser is the dot-atom of RFC 5322, section 3.2.3. The quoted form, with spaces and the like
// in it, is left out: nobody has such an address, and relays mangle it.
var emailUser = regexp.MustCompile("^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$")

// NormalizeEmail returns an e-mail address in lower case, as it is stored and compared, without
// spaces and invisible characters around it. It is an [ErrInvalidEmail] if it isn't exactly one
// address of the form user@domain in ASCII, or is one of a service that gives out throw-away
// addresses. An internationalised domain is written in its ASCII form (xn--…); an
// internationalised user part is refused, since mail to it is lost on the many servers that can't
// handle it.
func NormalizeEmail(address string) (string, error) {
	address = typed.Lower(typed.Trim(address))
	user, domain, ok := strings.Cut(address, "@")
	if !ok || len(address) > maxEmail || len(user) > maxEmailUser || !emailUser.MatchString(user) {
		return "", errUnsupportedEmail
	}
	// A handle is a domain name with at least one dot, and so is this.
	if _, err := syntax.ParseHandle(domain); err != nil || disposable(domain) {
		return "", errUnsupportedEmail
	}
	return address, nil
}

// disposable.txt lists domains of services that give out throw-away addresses, one on each line,
// sorted. Theirs come and go by the thousand: this is to stop the
// obvious ones, and [Config.AllowEmail] can know better.
//
//go:embed disposable.txt
var disposableList string

var disposableDomains = sync.OnceValue(func() map[string]bool { return wordSet(disposableList) })

// disposable reports whether a domain in lower case, or one that it is under, is listed.
func disposable(domain string) bool {
	for ok := true; ok; _, domain, ok = strings.Cut(domain, ".") {
		if disposableDomains()[domain] {
			return true
		}
	}
	return false
}
