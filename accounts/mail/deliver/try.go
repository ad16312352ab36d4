package deliver

import (
	"context"
	"fmt"
	"io"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// Try sends a test message to an address, and writes a report of each step and of the error to w.
// It is meant for operators who set a server up.
func Try(ctx context.Context, m mail.Mailer, to string, w io.Writer) error {
	if s, ok := m.(fmt.Stringer); ok {
		fmt.Fprintf(w, "mailer: %s\n", s)
	}
	if err := tryCheck(ctx, m, w); err != nil {
		fmt.Fprintf(w, "FAILED %v\n", err)
		return err
	}
	err := m.Send(ctx, mail.Message{To: to, Subject: "Test message", Text: "This is a test. E-mail from this server works.\n"})
	if err != nil {
		fmt.Fprintf(w, "FAILED sending to %s: %v\n", to, err)
		return err
	}
	fmt.Fprintf(w, "ok     sending to %s: the message was accepted\n", to)
	return nil
}

// tryCheck checks a mailer if it can be checked, and reports the stages of an SMTP.
func tryCheck(ctx context.Context, m mail.Mailer, w io.Writer) error {
	switch m := m.(type) {
	case *SMTP:
		return m.check(ctx, func(passed string) { fmt.Fprintf(w, "ok     %s\n", passed) })
	case mail.Checker:
		return m.Check(ctx)
	}
	return nil
}
