package deliver

import (
	"crypto/rand"
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// compose makes the message in the Internet Message Format (source: RFC 5322).
func compose(from string, m mail.Message, date time.Time) (*gomail.Msg, error) {
	sender, err := netmail.ParseAddress(from)
	if err != nil {
		return nil, fmt.Errorf("the sender's address: %w", err)
	}
	recipient, err := netmail.ParseAddress(m.To)
	if err != nil {
		return nil, fmt.Errorf("the recipient's address: %w", err)
	}
	if strings.ContainsFunc(m.Subject, unicode.IsControl) {
		return nil, errors.New("the subject has a line break or another control character")
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(sender)
	msg.ToMailAddress(recipient)
	msg.Subject(m.Subject)
	msg.SetDateWithValue(date)
	// The sender's domain is used, so that the message doesn't show the name of this machine.
	_, domain, _ := strings.Cut(sender.Address, "@")
	msg.SetMessageIDWithValue(rand.Text() + "@" + domain)
	// Tells out-of-office programs not to answer (source: RFC 3834).
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return msg, nil
}

// checkFrom returns an error if a sender's address is invalid.
func checkFrom(from string) error {
	if _, err := netmail.ParseAddress(from); err != nil {
		return fmt.Errorf("deliver: the sender's address %q: %w", from, err)
	}
	return nil
}
