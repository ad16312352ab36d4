package deliver

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/hostname"
)

// SMTP delivers messages to a mail server (source: RFC 5321).
type SMTP struct {
	host     string
	port     int
	user     string
	password string
	from     string
	implicit bool // TLS from the first byte
	plain    bool // no TLS at all
	hello    string
	timeout  time.Duration
	roots    *x509.CertPool // nil for those of the system; set by tests
}

// NewSMTP returns the mailer that a URL describes. With smtp://USER:PASSWORD@HOST:PORT the
// connection is encrypted by STARTTLS, and the default port is 587; with
// smtps://USER:PASSWORD@HOST:PORT it is encrypted from the start, and the default port is 465.
// Reserved characters in the user name and the password have to be percent-encoded. Parameters:
// tls=none disables encryption (the default for loopback hosts) and tls=required enables it;
// timeout=10s bounds a delivery; hello=NAME is how this machine introduces itself (default: its
// host name). The sender's address, from, may include a name.
func NewSMTP(rawURL, from string) (*SMTP, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error of url.Parse would show the password.
		return nil, errors.New("deliver: the SMTP URL can't be parsed: characters such as # / ? @ : % in the name or the password have to be percent-encoded (%23 for #)")
	}
	if err := checkFrom(from); err != nil {
		return nil, err
	}
	s := &SMTP{host: u.Hostname(), from: from, implicit: u.Scheme == "smtps", timeout: 10 * time.Second}
	if s.host == "" || u.Scheme != "smtp" && u.Scheme != "smtps" {
		return nil, errors.New("deliver: the SMTP URL must have the form smtp://USER:PASSWORD@HOST:PORT or smtps://USER:PASSWORD@HOST:PORT")
	}
	if u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return nil, errors.New("deliver: the SMTP URL goes on after the host: a / or # in the name or the password has to be percent-encoded (%2F, %23)")
	}
	s.port = 587
	if s.implicit {
		s.port = 465
	}
	if p := u.Port(); p != "" {
		if s.port, err = strconv.Atoi(p); err != nil || s.port < 1 || s.port > 65535 {
			return nil, errors.New("deliver: the SMTP URL's port isn't a number from 1 to 65535") // it could be a part of the password
		}
	}
	s.user = u.User.Username()
	s.password, _ = u.User.Password()
	if s.user == "" && s.password != "" {
		return nil, errors.New("deliver: the SMTP URL has a password and no name before it: smtp://USER:PASSWORD@HOST:PORT")
	}
	s.plain = !s.implicit && hostname.IsLoopback(s.host)
	if s.hello, err = os.Hostname(); err != nil {
		s.hello = "localhost"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("deliver: the SMTP URL's parameters can't be parsed: a ? in the name or the password has to be percent-encoded (%3F)")
	}
	for name, values := range query {
		switch value := values[0]; name {
		case "tls":
			switch value {
			case "none":
				s.plain = true
			case "required":
				s.plain = false
			default:
				return nil, fmt.Errorf("deliver: tls=%s is neither none nor required", value)
			}
		case "timeout":
			if s.timeout, err = time.ParseDuration(value); err != nil || s.timeout <= 0 {
				return nil, fmt.Errorf("deliver: timeout=%s is not a duration such as 10s", value)
			}
		case "hello":
			s.hello = value
		default:
			// The name isn't shown, since it could be a part of the password.
			return nil, errors.New("deliver: the SMTP URL has a parameter that is none of tls, timeout, hello; a ? in the name or the password has to be percent-encoded (%3F)")
		}
	}
	if s.plain && s.implicit {
		return nil, errors.New("deliver: smtps:// and tls=none contradict each other")
	}
	return s, nil
}

// Send implements [mail.Mailer]. The [mail.ErrDelivery] wraps a [Failure].
func (s *SMTP) Send(ctx context.Context, m mail.Message) error {
	msg, err := compose(s.from, m, time.Now())
	if err != nil {
		return fmt.Errorf("%w: %w", mail.ErrDelivery, err)
	}
	err = s.converse(ctx, func(string) {}, func(c *conversation) error { return c.deliver(msg) })
	if err != nil {
		return fmt.Errorf("%w: %w", mail.ErrDelivery, err)
	}
	return nil
}

// Check implements [mail.Checker]: it connects, encrypts, logs in and finds out whether the server
// accepts messages from the sender. Its error is a [Failure].
func (s *SMTP) Check(ctx context.Context) error { return s.check(ctx, func(string) {}) }

// check is like Check, and calls passed after each stage.
func (s *SMTP) check(ctx context.Context, passed func(string)) error {
	return s.converse(ctx, passed, func(c *conversation) error { return c.trySender() })
}

// String describes the mailer, without the password.
func (s *SMTP) String() string {
	encryption := "STARTTLS"
	if s.implicit {
		encryption = "TLS"
	} else if s.plain {
		encryption = "no encryption"
	}
	user := ""
	if s.user != "" {
		user = ", as " + s.user
	}
	return fmt.Sprintf("SMTP to %s with %s%s", net.JoinHostPort(s.host, strconv.Itoa(s.port)), encryption, user)
}
