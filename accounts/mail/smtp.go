package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	gomail "github.com/wneessen/go-mail"
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
	timeout  time.Duration
	tls      *tls.Config // for tests
}

// NewSMTP returns the mailer of a URL: smtp://USER:PASSWORD@HOST:PORT, which
// encrypts with STARTTLS and whose port is 587 if none is given; or smtps://…,
// which encrypts from the start and whose port is 465. A name or a password with
// characters that mean something in a URL has them percent-encoded. Parameters: tls=none sends in
// the clear (the default for loopback hosts), timeout=10s bounds a delivery.
func NewSMTP(rawURL, from string) (*SMTP, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error of url.Parse would show the password.
		return nil, errors.New("mail: the SMTP URL can't be parsed: characters such as # / ? @ : % in the name or the password have to be percent-encoded (%23 for #)")
	}
	if err := checkFrom(from); err != nil {
		return nil, err
	}
	s := &SMTP{host: u.Hostname(), from: from, implicit: u.Scheme == "smtps", timeout: 10 * time.Second}
	if s.host == "" || u.Scheme != "smtp" && u.Scheme != "smtps" {
		return nil, errors.New("mail: the SMTP URL must have the form smtp://USER:PASSWORD@HOST:PORT or smtps://USER:PASSWORD@HOST:PORT")
	}
	if u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return nil, errors.New("mail: the SMTP URL goes on after the host: a / or # in the name or the password has to be percent-encoded (%2F, %23)")
	}
	s.port = 587
	if s.implicit {
		s.port = 465
	}
	if p := u.Port(); p != "" {
		if s.port, err = strconv.Atoi(p); err != nil || s.port < 1 || s.port > 65535 {
			return nil, fmt.Errorf("mail: %s is no port", p)
		}
	}
	s.user = u.User.Username()
	s.password, _ = u.User.Password()
	s.plain = !s.implicit && isLoopback(s.host)
	for name, values := range u.Query() {
		switch value := values[0]; name {
		case "tls":
			switch value {
			case "none":
				s.plain = true
			case "required":
				s.plain = false
			default:
				return nil, fmt.Errorf("mail: tls=%s is neither none nor required", value)
			}
		case "timeout":
			if s.timeout, err = time.ParseDuration(value); err != nil || s.timeout <= 0 {
				return nil, fmt.Errorf("mail: timeout=%s is no time such as 10s", value)
			}
		default:
			return nil, fmt.Errorf("mail: the SMTP URL has an unknown parameter %q", name)
		}
	}
	if s.plain && s.implicit {
		return nil, errors.New("mail: smtps:// and tls=none contradict each other")
	}
	return s, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (s *SMTP) client() (*gomail.Client, error) {
	options := []gomail.Option{gomail.WithPort(s.port), gomail.WithTimeout(s.timeout)}
	switch {
	case s.implicit:
		options = append(options, gomail.WithSSL())
	case s.plain:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if s.tls != nil {
		options = append(options, gomail.WithTLSConfig(s.tls))
	}
	if s.user != "" {
		auth := gomail.SMTPAuthAutoDiscover
		if s.plain && !isLoopback(s.host) {
			auth = gomail.SMTPAuthPlainNoEnc
		}
		options = append(options, gomail.WithSMTPAuth(auth), gomail.WithUsername(s.user), gomail.WithPassword(s.password))
	}
	return gomail.NewClient(s.host, options...)
}

// Send implements [Mailer].
func (s *SMTP) Send(ctx context.Context, m Message) error {
	msg, err := compose(s.from, m, time.Now())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDelivery, err)
	}
	c, err := s.client()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDelivery, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := c.DialAndSendWithContext(ctx, msg); err != nil {
		return fmt.Errorf("%w: %w", ErrDelivery, s.explain(err))
	}
	return nil
}

// Check implements [Checker]: it connects, encrypts and logs in.
func (s *SMTP) Check(ctx context.Context) error {
	c, err := s.client()
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := c.DialWithContext(ctx); err != nil {
		return fmt.Errorf("mail: %w", s.explain(err))
	}
	return c.Close()
}

// String describes the mailer without its password.
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

// Failure is why an SMTP server did not take a message or a login.
type Failure struct {
	// Hint says what is probably wrong, and what to change.
	Hint string
	err  error
}

func (f *Failure) Error() string { return f.err.Error() + " (" + f.Hint + ")" }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.err }

// explain adds to an error what an operator can do about it.
func (s *SMTP) explain(err error) error {
	text := strings.ToLower(err.Error())
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	var dns *net.DNSError
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var deadline net.Error
	hint := ""
	switch {
	case errors.As(err, &dns):
		hint = fmt.Sprintf("the host name %s is not known to DNS: check its spelling", s.host)
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = fmt.Sprintf("nothing listens on port %d of %s: try 587 with smtp:// or 465 with smtps://", s.port, s.host)
	case errors.As(err, &name):
		hint = "the server's certificate is for another name: use the name that the provider documents"
	case errors.As(err, &authority):
		hint = "the server's certificate comes from an unknown authority"
	case errors.As(err, &record), has("first record does not look like a tls handshake"):
		hint = fmt.Sprintf("port %d doesn't encrypt from the start: use smtp:// (STARTTLS), usually on port 587", s.port)
	case has("starttls"):
		hint = "the server offers no STARTTLS here: use smtps:// on port 465, or tls=none on a network that you trust"
	case has("535", "534", "530", "authentication", "auth"):
		hint = "the server refused the name or the password: is it the SMTP password that the provider issued, and percent-encoded in the URL?"
	case has("550", "551", "553", "554", "501", "sender", "mail from"):
		hint = fmt.Sprintf("the server refused the sender %s or the recipient: providers only take senders that they have verified", s.from)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &deadline) && deadline.Timeout(), has("timeout", "deadline"):
		hint = fmt.Sprintf("no answer from %s on port %d in time: hosting providers often block ports 25, 465 and 587; "+
			"and a port that encrypts from the start (465) needs smtps://", s.host, s.port)
	case errors.Is(err, io.EOF), has("eof", "reset by peer"):
		hint = fmt.Sprintf("%s hung up: port 465 needs smtps://, port 587 smtp://", s.host)
	default:
		return err
	}
	return &Failure{hint, err}
}

// Try sends a test message, and reports each step and what is wrong to w. It is for
// operators.
func Try(ctx context.Context, m Mailer, to string, w io.Writer) error {
	if s, ok := m.(fmt.Stringer); ok {
		fmt.Fprintf(w, "mailer: %s\n", s)
	}
	if c, ok := m.(Checker); ok {
		if err := c.Check(ctx); err != nil {
			fmt.Fprintf(w, "connecting and logging in: FAILED\n  %v\n", err)
			return err
		}
		fmt.Fprintln(w, "connecting and logging in: ok")
	}
	err := m.Send(ctx, Message{To: to, Subject: "Test message", Text: "This is a test. E-mail from this server works.\n"})
	if err != nil {
		fmt.Fprintf(w, "sending to %s: FAILED\n  %v\n", to, err)
		return err
	}
	fmt.Fprintf(w, "sending to %s: ok, the message was accepted\n", to)
	return nil
}
