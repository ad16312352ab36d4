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

// The stages of a conversation with a mail server, in their order. Encryption comes after the
// greeting with STARTTLS.
const (
	stageConnect   = "connecting"
	stageEncrypt   = "encrypting"
	stageGreeting  = "greeting"
	stageLogin     = "logging in"
	stageSender    = "naming the sender"
	stageRecipient = "naming the recipient"
	stageContent   = "handing over the message"
)

// conversation is one connection to the server. It doesn't use the Client of go-mail, which doesn't
// say at which stage it failed, ignores the context once it is connected, and returns an error if
// the server fails after it has accepted a message.
type conversation struct {
	*SMTP
	conn   net.Conn
	client *smtp.Client
	passed func(string)
}

// converse connects, logs in, calls do and ends the connection. It returns when ctx ends or the
// mailer's timeout is reached. Errors are of type [Failure].
func (s *SMTP) converse(ctx context.Context, passed func(string), do func(*conversation) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	c := &conversation{SMTP: s, passed: passed}
	err := c.open(ctx)
	if err == nil {
		err = do(c)
	}
	if err == nil {
		_ = c.client.Quit() // an error doesn't matter, since the work is done
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

// ended returns the error with which the context ended, or nil if it didn't. A dialer has its own
// timer for the deadline of the context, which may fire first.
func ended(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return nil
}

// step calls do for a stage. Its error is a [Failure].
func (c *conversation) step(stage string, do func() error) error {
	if err := do(); err != nil {
		return &Failure{Stage: stage, Hint: c.hint(stage, err), err: err}
	}
	c.passed(stage)
	return nil
}

// open connects, encrypts and logs in, so that a message can be sent.
func (c *conversation) open(ctx context.Context) error {
	err := c.step(stageConnect, func() (err error) {
		c.conn, err = new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(c.host, strconv.Itoa(c.port)))
		return err
	})
	if err != nil {
		return err
	}
	// When the context ends, reads and writes end too.
	raw := c.conn
	context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })

	config := &tls.Config{ServerName: c.host, RootCAs: c.roots, MinVersion: tls.VersionTLS12}
	if c.implicit {
		err := c.step(stageEncrypt, func() error {
			encrypted := tls.Client(c.conn, config)
			c.conn = encrypted
			return encrypted.HandshakeContext(ctx)
		})
		if err != nil {
			return err
		}
	}
	err = c.step(stageGreeting, func() (err error) {
		if c.client, err = smtp.NewClient(c.conn, c.host); err != nil {
			return err
		}
		return c.client.Hello(c.hello)
	})
	if err != nil {
		return err
	}
	if !c.implicit && !c.plain {
		err := c.step(stageEncrypt, func() error {
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
	return c.step(stageLogin, c.login)
}

var (
	errNoSTARTTLS = errors.New("the server doesn't offer STARTTLS")
	errNoAuth     = errors.New("the server doesn't offer AUTH")
)

// login uses the first method in our order that the server offers. On an encrypted connection the
// methods that work everywhere come first, since servers advertise others that were never set up.
// On an unencrypted one the methods that don't reveal the password come first.
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

// trySender finds out whether the server accepts messages from the sender.
func (c *conversation) trySender() error {
	if err := c.nameSender(""); err != nil {
		return err
	}
	_ = c.client.Reset() // no message follows
	return nil
}

// nameSender begins a message to a recipient.
func (c *conversation) nameSender(to string) error {
	return c.step(stageSender, func() error {
		sender, err := netmail.ParseAddress(c.from)
		if err != nil {
			return err
		}
		// Relays without SMTPUTF8 don't pass on a message that is marked so, therefore only
		// messages that need it are marked.
		c.client.SkipSMTPUTF8(isASCII(sender.Address + to))
		return c.client.Mail("<" + sender.Address + ">")
	})
}

// deliver sends a message. When it returns nil, the server has accepted the message.
func (c *conversation) deliver(msg *gomail.Msg) error {
	to := msg.GetTo()[0].Address
	if err := c.nameSender(to); err != nil {
		return err
	}
	if err := c.step(stageRecipient, func() error { return c.client.Rcpt("<" + to + ">") }); err != nil {
		return err
	}
	return c.step(stageContent, func() error {
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
