package deliver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"unicode"
)

// Failure is returned when a message can't be sent or a check fails. It says at which stage, why,
// and what may help. Its text is for operators, and doesn't contain the password.
type Failure struct {
	// Stage is the step that failed, such as "logging in".
	Stage string
	// Hint says what is probably wrong and what to change. It may be empty.
	Hint string
	err  error
}

// Error returns the stage, the cause and the hint.
func (f *Failure) Error() string {
	cause := f.err.Error()
	var answer *textproto.Error
	if errors.As(f.err, &answer) {
		cause = fmt.Sprintf("the server says %d %s", answer.Code, answer.Msg)
	}
	// The answer may have several lines.
	cause = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, cause)
	text := f.Stage + ": " + cause
	if f.Hint != "" {
		text += ": " + f.Hint
	}
	return text
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.err }

// hint returns what an operator can do about an error.
func (s *SMTP) hint(stage string, err error) string {
	var answer *textproto.Error
	refused := errors.As(err, &answer)
	if refused && answer.Code/100 == 4 && stage != stageGreeting {
		return "this is temporary: try again later, and ask the provider if it stays"
	}
	switch stage {
	case stageConnect:
		return s.connectHint(err)
	case stageEncrypt:
		return s.encryptHint(err)
	case stageGreeting:
		return s.greetingHint(err, refused)
	case stageLogin:
		return s.loginHint(err, refused)
	}
	switch {
	case refused && answer.Code == 530:
		return "the server wants a login first (or encryption): give the name and the password in the URL, as in smtp://USER:PASSWORD@HOST:PORT"
	case refused && stage == stageSender:
		return fmt.Sprintf("the server doesn't take mail from %s: use a sender that the provider has verified, in a domain that belongs to your account there", s.from)
	case refused && stage == stageRecipient:
		return "the server doesn't deliver to this recipient: the address may be mistyped; or it relays only for those who log in; " +
			"or the provider's account is still on trial and limited to verified recipients"
	case refused:
		return "the server refused the message itself, often as spam: check SPF, DKIM and DMARC of the sender's domain, and that the provider has verified it"
	}
	return lost(err, s.host)
}

func (s *SMTP) connectHint(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("DNS knows no host named %s: check its spelling", s.host)
	case errors.As(err, &dns):
		return "this machine gets no answer from DNS: check its resolver"
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens on port %d of %s: the usual ports are 587 with smtp:// and 465 with smtps://", s.port, s.host)
	case isTimeout(err):
		return fmt.Sprintf("no answer from %s on port %d: a firewall drops the connection. Many hosting providers block ports 25, 465 and 587: "+
			"ask yours to open one, or use another port that the mail provider offers, such as 2525", s.host, s.port)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Sprintf("this machine has no route to %s: check its network", s.host)
	}
	return ""
}

func (s *SMTP) encryptHint(err error) string {
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, errNoSTARTTLS):
		return "try smtps:// on port 465, which encrypts from the start; tls=none does without encryption, for networks that you trust"
	case errors.As(err, &name):
		return fmt.Sprintf("the server's certificate is for %s, not for %s: use the host name that the provider documents",
			strings.Join(name.Certificate.DNSNames, ", "), s.host)
	case errors.As(err, &authority):
		return "the server's certificate is self-signed or from an authority that this machine doesn't know: " +
			"install the authority's certificate here (SSL_CERT_FILE names a file of them), or give the server a public one"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate has expired, or this machine's clock is wrong"
	case errors.As(err, &record):
		return fmt.Sprintf("port %d doesn't encrypt from the start: use smtp:// (STARTTLS), usually with port 587", s.port)
	}
	return lost(err, s.host)
}

func (s *SMTP) greetingHint(err error, refused bool) string {
	var garbage textproto.ProtocolError
	switch {
	case refused:
		return "the server doesn't talk to this machine: its address may be on a block list, or the server be busy. " +
			"If it dislikes this machine's name, hello=NAME in the URL sets another"
	case errors.As(err, &garbage):
		return fmt.Sprintf("what listens on port %d of %s doesn't speak SMTP: check host and port", s.port, s.host)
	case s.implicit:
		return lost(err, s.host)
	case isTimeout(err):
		return fmt.Sprintf("%s accepts connections on port %d and then says nothing: a port that encrypts from the start, such as 465, needs smtps://", s.host, s.port)
	case isClosed(err):
		return fmt.Sprintf("%s hung up at once: a port that encrypts from the start, such as 465, needs smtps://", s.host)
	}
	return ""
}

func (s *SMTP) loginHint(err error, refused bool) string {
	switch {
	case errors.Is(err, errNoAuth) && s.plain:
		return "servers often offer it only on encrypted connections: leave tls=none away, or leave the name and the password away if none are needed"
	case errors.Is(err, errNoAuth):
		return "leave the name and the password away if none are needed here; if they are, use the provider's submission port, usually 587 or 465"
	case refused:
		return fmt.Sprintf("the server refused the name %q or its password. It is the SMTP name and password (or API key) that the provider issued, which need not be "+
			"those of its web site; some want an app password. In the URL, characters such as @ : / ? # %% have to be percent-encoded (%%40 for @); "+
			"in a shell, the whole URL belongs in single quotes", s.user)
	}
	return lost(err, s.host)
}

// lost returns the hint for a connection that was lost.
func lost(err error, host string) string {
	switch {
	case isTimeout(err):
		return fmt.Sprintf("%s stopped answering: try again; if it is only slow, timeout=30s in the URL gives it more time", host)
	case isClosed(err):
		return fmt.Sprintf("%s hung up: try again, and ask the provider if it stays", host)
	}
	return ""
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
