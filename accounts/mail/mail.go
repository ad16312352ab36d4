package mail

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"
)

// ErrDelivery says that an e-mail was not delivered. What it wraps says why, and
// is for operators, not for clients.
var ErrDelivery = errors.New("mail: not delivered")

// Message is one e-mail.
type Message struct {
	// To is the address of the one recipient.
	To      string
	Subject string
	Text    string
	HTML    string
	// Code is the code that the message carries, for tests. Mailers don't look at it.
	Code string
}

// Mailer delivers messages. Its methods are safe for concurrent use.
type Mailer interface {
	// Send delivers a message, or returns an [ErrDelivery], also when the context ends first.
	Send(ctx context.Context, m Message) error
}

// Checker is implemented by mailers that can find out whether they would work.
type Checker interface {
	// Check tries everything but sending. Its error says what is wrong, and what
	// might help.
	Check(ctx context.Context) error
}

// Open returns the mailer of a specification: "dir:PATH", "smtp://…", "smtps://…"
// (see [NewSMTP]) or "log". From is the sender's address, which may carry a name.
func Open(spec, from string) (Mailer, error) {
	path, isDir := strings.CutPrefix(spec, "dir:")
	switch {
	case isDir:
		d, err := NewDir(path, from)
		if err != nil {
			return nil, err // not d: a nil *Dir is a Mailer that isn't nil
		}
		return d, nil
	case strings.HasPrefix(spec, "smtp://"), strings.HasPrefix(spec, "smtps://"):
		s, err := NewSMTP(spec, from)
		if err != nil {
			return nil, err
		}
		return s, nil
	case spec == "log":
		return NewLog(nil), nil
	}
	if strings.HasPrefix(spec, `"`) || strings.HasPrefix(spec, "'") {
		return nil, errors.New("mail: the specification begins with a quotation mark: in files that no shell reads, leave the quotation marks away")
	}
	return nil, fmt.Errorf("mail: %q is none of dir:PATH, smtp://USER:PASSWORD@HOST:PORT, smtps://…, log", redact(spec))
}

// redact leaves the scheme of what might hold a password.
func redact(spec string) string {
	if scheme, _, ok := strings.Cut(spec, ":"); ok {
		return scheme + ":…"
	}
	return spec
}

// Unconfigured is the mailer of a server that was given none: each Send is an
// [ErrDelivery] that says so.
type Unconfigured struct{}

// Send implements [Mailer].
func (Unconfigured) Send(context.Context, Message) error {
	return fmt.Errorf("%w: no mailer is configured", ErrDelivery)
}

// Log is a mailer for development that writes messages, codes included, to a log.
type Log struct{ logger *slog.Logger }

// NewLog returns a Log; a nil logger is the default one. Whoever reads that log can
// take over accounts.
func NewLog(logger *slog.Logger) *Log {
	if logger == nil {
		logger = slog.Default()
	}
	return &Log{logger}
}

// String says where messages go.
func (l *Log) String() string { return "the log, which reaches nobody" }

// Send implements [Mailer].
func (l *Log) Send(ctx context.Context, m Message) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrDelivery, err)
	}
	l.logger.InfoContext(ctx, "e-mail", "to", m.To, "subject", m.Subject, "text", m.Text)
	return nil
}

// compose makes the message as it goes over the wire (source: RFC 5322).
func compose(from string, m Message, date time.Time) (*gomail.Msg, error) {
	sender, err := mail.ParseAddress(from)
	if err != nil {
		return nil, fmt.Errorf("the sender's address: %w", err)
	}
	recipient, err := mail.ParseAddress(m.To)
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
	// In the sender's domain, so as not to tell this machine's name.
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

// checkFrom refuses a sender's address that no message could have.
func checkFrom(from string) error {
	if _, err := mail.ParseAddress(from); err != nil {
		return fmt.Errorf("mail: the sender's address %q: %w", from, err)
	}
	return nil
}
