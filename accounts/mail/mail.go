package mail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// ErrDelivery says that an e-mail was not delivered. What it wraps says why, and
// is for operators, not for clients.
var ErrDelivery = errors.New("mail: not delivered")

// Message is one e-mail.
type Message struct {
	// Kind is what the message is for, as [Templates.Render] made it. It isn't part of what is
	// delivered.
	Kind Kind
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
