package deliver

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"math/big"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// server is a mail server on loopback that accepts one kind of login and keeps the mails it gets.
type server struct {
	// How the server behaves, which is set before start.
	implicit bool              // TLS from the first byte
	starttls bool              // offers STARTTLS
	auth     string            // the methods it offers, once encrypted or if openAuth
	openAuth bool              // offers them unencrypted too
	names    []string          // of its certificate; default: 127.0.0.1
	expired  bool              // so is the certificate
	answers  map[string]string // in place of the usual answer to a command, by its first word; "": hang up; "hang": say nothing more
	greeting string            // in place of the usual one

	addr  string
	roots *x509.CertPool

	mu       sync.Mutex
	commands []string
	mails    []delivered
}

type delivered struct{ from, to, data, user string }

const (
	serverUser     = "apikey"
	serverPassword = "p@ss:w/rd?#%"
)

// start runs the server until the end of the test.
func (s *server) start(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	config := s.certificate(t)
	var wg sync.WaitGroup
	var open sync.Map
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(conn, true)
			wg.Go(func() {
				defer func() { conn.Close(); open.Delete(conn) }()
				s.serve(conn, config)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		open.Range(func(conn, _ any) bool { conn.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return s
}

func (s *server) certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, DNSNames: s.names,
	}
	if s.expired {
		template.NotAfter = time.Now().Add(-24 * time.Hour)
	}
	if s.names == nil {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s.roots = x509.NewCertPool()
	s.roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// received returns the mails so far.
func (s *server) received() []delivered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// serve is one conversation (source: RFC 5321).
func (s *server) serve(raw net.Conn, config *tls.Config) {
	conn := raw
	encrypted := s.implicit
	if encrypted {
		conn = tls.Server(raw, config)
	}
	text := textproto.NewConn(conn)
	say := func(line string) { _ = text.PrintfLine("%s", line) }
	if s.greeting == "hang" {
		_, _ = io.Copy(io.Discard, raw)
		return
	}
	if s.greeting != "" {
		say(s.greeting)
	} else {
		say("220 mail.example.com ESMTP")
	}
	var m delivered
	user := ""
	for {
		line, err := text.ReadLine()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.commands = append(s.commands, line)
		s.mu.Unlock()
		verb, rest, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		if answer, ok := s.answers[verb]; ok {
			switch answer {
			case "":
				return
			case "hang":
				_, _ = io.Copy(io.Discard, raw)
				return
			}
			say(answer)
			continue
		}
		switch verb {
		case "EHLO":
			say("250-mail.example.com")
			if s.starttls && !encrypted {
				say("250-STARTTLS")
			}
			if s.auth != "" && (encrypted || s.openAuth) {
				say("250-AUTH " + s.auth)
			}
			say("250-SMTPUTF8")
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go ahead")
			conn = tls.Server(raw, config)
			text = textproto.NewConn(conn)
			encrypted = true
		case "AUTH":
			if user = s.login(text, rest); user == "" {
				say("535 5.7.8 Authentication credentials invalid")
			} else {
				say("235 2.7.0 welcome")
			}
		case "MAIL":
			if s.auth != "" && user == "" {
				say("530 5.7.0 Authentication required")
				continue
			}
			m = delivered{from: rest, user: user}
			say("250 ok")
		case "RCPT":
			m.to = rest
			say("250 ok")
		case "DATA":
			say("354 go on")
			data, err := io.ReadAll(text.DotReader())
			if err != nil {
				return
			}
			if answer, ok := s.answers["."]; ok {
				say(answer)
				continue
			}
			m.data = string(data)
			s.mu.Lock()
			s.mails = append(s.mails, m)
			s.mu.Unlock()
			say("250 queued")
		case "QUIT":
			say("221 bye")
			return
		case "RSET", "NOOP":
			say("250 ok")
		default:
			say("502 what?")
		}
	}
}

// login returns the name of the user, or an empty string if the login fails.
func (s *server) login(text *textproto.Conn, rest string) string {
	method, initial, _ := strings.Cut(rest, " ")
	ask := func(challenge string) string {
		_ = text.PrintfLine("334 %s", base64.StdEncoding.EncodeToString([]byte(challenge)))
		line, _ := text.ReadLine()
		b, _ := base64.StdEncoding.DecodeString(line)
		return string(b)
	}
	switch method {
	case "PLAIN":
		b, _ := base64.StdEncoding.DecodeString(initial)
		if string(b) == "\x00"+serverUser+"\x00"+serverPassword {
			return serverUser
		}
	case "LOGIN":
		if user, password := ask("Username:"), ask("Password:"); user == serverUser && password == serverPassword {
			return serverUser
		}
	}
	return ""
}

// garbage runs a server that sends something other than SMTP and hangs up.
func garbage(t *testing.T, says string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if says != "" {
				_, _ = io.WriteString(conn, says)
				_, _ = bufio.NewReader(conn).ReadString('\n') // until the client gives up
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}
