package accounts

import (
	"context"
	_ "embed"
	"errors"
	"regexp"
	"strings"
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/typed"
)

// ErrInvalidEmail is returned when an e-mail address is malformed, or when the [EmailPolicy]
// refuses it. Clients are answered 400 InvalidRequest.
var ErrInvalidEmail = errors.New("accounts: invalid e-mail address")

var errUnsupportedEmail = refusal.New(ErrInvalidEmail, "This email address is not supported, please use a different email.")

// The longest address and local part, in bytes (source: RFC 5321, section 4.5.3.1).
const (
	maxEmail     = 254
	maxEmailUser = 64
)

// emailUser is the dot-atom of RFC 5322, section 3.2.3. The quoted form, which allows spaces and
// the like, is refused: nobody uses such an address, and relays mangle it.
var emailUser = regexp.MustCompile("^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$")

// NormalizeEmail returns an e-mail address as it is stored and compared: in lower case, without
// spaces and invisible characters around it. It returns an [ErrInvalidEmail] if the text isn't
// exactly one address of the form user@domain in ASCII. An internationalized domain must be in its
// ASCII form (xn--…). An internationalized user part is refused, since many servers can't deliver
// mail to it. The [EmailPolicy] decides whether accounts may have the address.
func NormalizeEmail(address string) (string, error) {
	address = typed.Lower(typed.Trim(address))
	user, domain, ok := strings.Cut(address, "@")
	if !ok || len(address) > maxEmail || len(user) > maxEmailUser || !emailUser.MatchString(user) {
		return "", errUnsupportedEmail
	}
	// A handle is a domain name with at least one dot, and so is this.
	if _, err := syntax.ParseHandle(domain); err != nil {
		return "", errUnsupportedEmail
	}
	return address, nil
}

// Emails deals with the e-mail addresses of accounts, and with e-mails to their owners. Its methods
// are safe for concurrent use.
type Emails struct{ s *Service }

// Emails returns the part of the service that deals with e-mail.
func (s *Service) Emails() *Emails { return &Emails{s} }

// Check normalizes an address as [NormalizeEmail] does, and returns it if accounts may have it. It
// doesn't check whether an account has it already. Errors: [ErrInvalidEmail], those of the
// [EmailPolicy].
func (e *Emails) Check(ctx context.Context, address string) (string, error) {
	email, err := NormalizeEmail(address)
	if err != nil {
		return "", err
	}
	if err := e.s.cfg.EmailPolicy(ctx, email); err != nil {
		return "", err
	}
	return email, nil
}

// DefaultEmailPolicy is the [EmailPolicy] of a server that has none of its own. It refuses
// addresses at well-known services that give out disposable addresses.
func DefaultEmailPolicy(_ context.Context, address string) error {
	if _, domain, _ := strings.Cut(address, "@"); disposable(domain) {
		return errUnsupportedEmail
	}
	return nil
}

// disposable.txt lists domains of services that give out disposable addresses, one on each line,
// sorted. There are thousands of such services, and they change often: the list only has well-known
// ones, and an [EmailPolicy] can know more.
//
//go:embed disposable.txt
var disposableList string

var disposableDomains = sync.OnceValue(func() map[string]bool {
	domains := make(map[string]bool)
	for domain := range strings.FieldsSeq(disposableList) {
		domains[domain] = true
	}
	return domains
})

// disposable reports whether a domain in lower case, or a parent of it, is in the list.
func disposable(domain string) bool {
	for ok := true; ok; _, domain, ok = strings.Cut(domain, ".") {
		if disposableDomains()[domain] {
			return true
		}
	}
	return false
}
