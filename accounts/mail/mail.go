package mail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// ErrDelivery is returned when an e-mail was not delivered. It wraps the reason, which is for
// operators and not for clients. Clients are answered 502 UpstreamFailure.
var ErrDelivery = errors.New("mail: not delivered")

// Message is one e-mail.
type Message struct {
	// Kind is the kind of the message, which [Templates.Render] sets. It is not delivered.
	Kind Kind
	// To is the address of the recipient.
	To      string
	Subject string
	Text    string
	HTML    string
	// Code is the code in the message, for tests. Mailers ignore it.
	Code string
}

// Mailer delivers messages. Its methods are safe for concurrent use.
type Mailer interface {
	// Send delivers a message. Error: [ErrDelivery], also if the context ends first.
	Send(ctx context.Context, m Message) error
}

// Checker is implemented by mailers that can check their configuration.
type Checker interface {
	// Check does everything that Send does except sending. Its error says what is wrong, and what
	// may help.
	Check(ctx context.Context) error
}

// Unconfigured is the mailer of a server that was configured with none. Its Send always returns an
// [ErrDelivery] that says so.
type Unconfigured struct{}

// Send implements [Mailer].
func (Unconfigured) Send(context.Context, Message) error {
	return fmt.Errorf("%w: no mailer is configured", ErrDelivery)
}

// Log is a mailer for development that logs messages, including their codes.
type Log struct{ logger *slog.Logger }

// NewLog returns a Log. If logger is nil, it uses [slog.Default]. Anybody who can read the log can
// take over accounts.
func NewLog(logger *slog.Logger) *Log {
	if logger == nil {
		logger = slog.Default()
	}
	return &Log{logger}
}

// String describes where messages go.
func (l *Log) String() string { return "the log, which reaches nobody" }

// Send implements [Mailer].
func (l *Log) Send(ctx context.Context, m Message) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrDelivery, err)
	}
	l.logger.InfoContext(ctx, "e-mail", "to", m.To, "subject", m.Subject, "text", m.Text)
	return nil
}
