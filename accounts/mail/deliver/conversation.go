package deliver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"os"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// Stage is a step of a conversation with a mail server.
type Stage string

// The stages, in the order in which they are passed.
const (
	StageConnect   Stage = "connecting"
	StageEncrypt   Stage = "encrypting"
	StageGreeting  Stage = "greeting"
	StageLogin     Stage = "logging in"
	StageSender    Stage = "naming the sender"
	StageRecipient Stage = "naming the recipient"
	StageContent   Stage = "handing over the message"
)

// conversation is one connection to the server. go-mail's own Client isn't used
// since it doesn't tell at which stage it failed, stops listening to the context once it is
// connected, and calls a message undelivered if the server stumbles after taking it.
type conversation struct {
	*SMTP
	conn   net.Conn
	client *smtp.Client
	passed func(Stage)
}

// converse connects, logs in, does something and says good-bye. It is over when ctx ends
// or the mailer's time-out is reached. Errors are of type [Failure].
func (s *SMTP) converse(ctx context.Context, passed func(Stage), do func(*conversation) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	c := &conversation{SMTP: s, passed: passed}
	err := c.open(ctx)
	if err == nil {
		err = do(c)
	}
	if err == nil {
		_ = c.client.Quit() // whatever the server thinks of that, the work is done
	}
	if c.conn != nil {
		_ = c.conn.Close()
	}
	if f := (*Failure)(nil); errors.As(err, &f) {
		if ended := ended(ctx, err); ended != nil {
			f.err = fmt.Errorf("%w: %w", ended, f.err)
		}
		if errors.Is(err, context.Canceled) {
			f.Hint = "" // the server is not to blame
		}
	}
	return err
}

// ended says how the context ended, if it did. A dialer meets the context's
// deadline by a timer of its own, which may be the first to fire.
func ended(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return nil
}

// step does what a stage is about.
func (c *conversation) step(stage Stage, do func() error) error {
	if err := do(); err != nil {
		return &Failure{Stage: stage, Hint: c.hint(stage, err), err: err}
	}
	c.passed(stage)
	return nil
}

// open gets to where messages can be handed over.
func (c *conversation) open(ctx context.Context) error {
	err := c.step(StageConnect, func() (err error) {
		c.conn, err = new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(c.host, strconv.Itoa(c.port)))
		return err
	})
	if err != nil {
		return err
	}
	// The end of the context ends every read and write.
	raw := c.conn
	context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })

	config := &tls.Config{ServerName: c.host, RootCAs: c.roots, MinVersion: tls.VersionTLS12}
	if c.implicit {
		err := c.step(StageEncrypt, func() error {
			encrypted := tls.Client(c.conn, config)
			c.conn = encrypted
			return encrypted.HandshakeContext(ctx)
		})
		if err != nil {
			return err
		}
	}
	err = c.step(StageGreeting, func() (err error) {
		if c.client, err = smtp.NewClient(c.conn, c.host); err != nil {
			return err
		}
		return c.client.Hello(c.hello)
	})
	if err != nil {
		return err
	}
	if !c.implicit && !c.plain {
		err := c.step(StageEncrypt, func() error {
			if offered, _ := c.client.Extension("STARTTLS"); !offered {
				return errNoSTARTTLS
			}
			return c.client.StartTLS(config)
		})
		if err != nil {
			return err
		}
	}
	if c.user == "" {
		return nil
	}
	return c.step(StageLogin, c.login)
}

var (
	errNoSTARTTLS = errors.New("the server doesn't offer STARTTLS")
	errNoAuth     = errors.New("the server doesn't offer AUTH")
)

// login uses the first method that the server offers. On an encrypted connection those that work
// everywhere come first: servers advertise others that they were never set up for. On an open one
// those come first that don't show the password.
func (c *conversation) login() error {
	_, offered := c.client.Extension("AUTH")
	methods := map[string]smtp.Auth{
		"PLAIN":         smtp.PlainAuth("", c.user, c.password, c.host, c.plain),
		"LOGIN":         smtp.LoginAuth(c.user, c.password, c.host, c.plain),
		"SCRAM-SHA-256": smtp.ScramSHA256Auth(c.user, c.password),
		"SCRAM-SHA-1":   smtp.ScramSHA1Auth(c.user, c.password),
		"CRAM-MD5":      smtp.CRAMMD5Auth(c.user, c.password),
	}
	order := "PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5"
	if c.plain {
		order = "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN"
	}
	for method := range strings.FieldsSeq(order) {
		for o := range strings.FieldsSeq(offered) {
			if strings.EqualFold(o, method) {
				return c.client.Auth(methods[method])
			}
		}
	}
	if offered != "" {
		return fmt.Errorf("%w of a kind known here (%s), only %s", errNoAuth, order, offered)
	}
	return errNoAuth
}

// trySender asks whether the server would take a message from the sender.
func (c *conversation) trySender() error {
	if err := c.nameSender(""); err != nil {
		return err
	}
	_ = c.client.Reset() // no message follows
	return nil
}

// nameSender begins a message.
func (c *conversation) nameSender(to string) error {
	return c.step(StageSender, func() error {
		sender, err := netmail.ParseAddress(c.from)
		if err != nil {
			return err
		}
		// A message marked as SMTPUTF8 gets stuck at relays that can't do that, so mark
		// only those that need it.
		c.client.SkipSMTPUTF8(isASCII(sender.Address + to))
		return c.client.Mail("<" + sender.Address + ">")
	})
}

// deliver hands over a message. When it returns nil, the server has taken it.
func (c *conversation) deliver(msg *gomail.Msg) error {
	to := msg.GetTo()[0].Address
	if err := c.nameSender(to); err != nil {
		return err
	}
	if err := c.step(StageRecipient, func() error { return c.client.Rcpt("<" + to + ">") }); err != nil {
		return err
	}
	return c.step(StageContent, func() error {
		w, err := c.client.Data()
		if err != nil {
			return err
		}
		if _, err := msg.WriteTo(w); err != nil {
			return err
		}
		return w.Close()
	})
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e })
}
