package deliver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

const testFrom = "Gatehouse <noreply@pds.example.com>"

// mailer returns the mailer of a server. The query is the end of the URL.
func (s *server) mailer(t *testing.T, scheme, userinfo, query string) *SMTP {
	t.Helper()
	m, err := NewSMTP(scheme+"://"+userinfo+s.addr+query, testFrom)
	if err != nil {
		t.Fatal(err)
	}
	m.roots = s.roots
	return m
}

// login is the user info of a URL with the right name and password.
var login = url.UserPassword(serverUser, serverPassword).String() + "@"

var testMessage = mail.Message{To: "alice@example.org", Subject: "Grüße", Text: "Hello\n.\n..dots\nCODE1-CODE2\n", HTML: "<p>CODE1-CODE2</p>"}

func TestSMTPDelivers(t *testing.T) {
	for _, c := range []struct {
		name            string
		server          *server
		scheme, user    string
		query           string
		wantUser        string
		wantAuthCommand string
	}{
		{name: "plain on loopback", server: &server{}, scheme: "smtp"},
		{name: "plain, with a login", server: &server{auth: "PLAIN LOGIN", openAuth: true}, scheme: "smtp", user: login, query: "?tls=none", wantUser: serverUser, wantAuthCommand: "AUTH PLAIN"},
		{name: "STARTTLS", server: &server{starttls: true}, scheme: "smtp", query: "?tls=required"},
		{name: "STARTTLS and PLAIN", server: &server{starttls: true, auth: "CRAM-MD5 LOGIN PLAIN"}, scheme: "smtp", user: login, query: "?tls=required", wantUser: serverUser, wantAuthCommand: "AUTH PLAIN"},
		{name: "STARTTLS and LOGIN", server: &server{starttls: true, auth: "LOGIN XOAUTH2"}, scheme: "smtp", user: login, query: "?tls=required&timeout=20s", wantUser: serverUser, wantAuthCommand: "AUTH LOGIN"},
		{name: "TLS", server: &server{implicit: true}, scheme: "smtps"},
		{name: "TLS and PLAIN", server: &server{implicit: true, auth: "PLAIN"}, scheme: "smtps", user: login, wantUser: serverUser, wantAuthCommand: "AUTH PLAIN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.server.start(t)
			m := s.mailer(t, c.scheme, c.user, c.query)
			if err := m.Check(t.Context()); err != nil {
				t.Fatalf("Check: %v", err)
			}
			if len(s.received()) != 0 {
				t.Fatal("Check sent a mail")
			}
			if err := m.Send(t.Context(), testMessage); err != nil {
				t.Fatalf("Send: %v", err)
			}
			mails := s.received()
			if len(mails) != 1 {
				t.Fatalf("%d mails arrived", len(mails))
			}
			got := mails[0]
			if got.from != "FROM:<noreply@pds.example.com> BODY=8BITMIME" || got.to != "TO:<alice@example.org>" || got.user != c.wantUser {
				t.Errorf("from %q to %q as %q", got.from, got.to, got.user)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			commands := strings.Join(s.commands, "\n")
			if c.wantAuthCommand != "" && !strings.Contains(commands, c.wantAuthCommand) {
				t.Errorf("no %s in\n%s", c.wantAuthCommand, commands)
			}
			checkWire(t, got.data)
		})
	}
}

// checkWire parses testMessage as a mail program would.
func checkWire(t *testing.T, data string) {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != testMessage.Subject {
		t.Errorf("subject %q, %v", subject, err)
	}
	for name, want := range map[string]string{
		"From":           `"Gatehouse" <noreply@pds.example.com>`,
		"To":             "<alice@example.org>",
		"Auto-Submitted": "auto-generated",
		"Mime-Version":   "1.0",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %s; want %s", name, got, want)
		}
	}
	if _, err := m.Header.Date(); err != nil {
		t.Errorf("Date: %v", err)
	}
	if id := m.Header.Get("Message-Id"); !strings.HasSuffix(id, "@pds.example.com>") {
		t.Errorf("Message-ID: %s", id)
	}
	mediaType, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/alternative" {
		t.Fatalf("Content-Type %s, %v", m.Header.Get("Content-Type"), err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, want := range []struct{ contentType, body string }{
		{"text/plain; charset=UTF-8", testMessage.Text},
		{"text/html; charset=UTF-8", testMessage.HTML},
	} {
		p, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		var r io.Reader = p
		if p.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			r = quotedprintable.NewReader(p)
		}
		body, err := io.ReadAll(r)
		got := strings.TrimRight(strings.ReplaceAll(string(body), "\r\n", "\n"), "\n")
		if err != nil || p.Header.Get("Content-Type") != want.contentType || got != strings.TrimRight(want.body, "\n") {
			t.Errorf("part %s:\n%s\n%v; want %s:\n%s", p.Header.Get("Content-Type"), got, err, want.contentType, want.body)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("after the two parts: %v", err)
	}
}

// unused returns a loopback address where nothing listens until the test ends: its port is taken by
// the client of a connection.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}

func TestDiagnoses(t *testing.T) {
	withAddr := func(addr string) *server { return &server{addr: addr} }
	for _, c := range []struct {
		name                string
		server              *server // with addr: none is started
		scheme, user, query string
		stage               string
		hint                string // a part of it
		sendOnly            bool   // Check has nothing to say
	}{
		{name: "unknown host", server: withAddr("no..host:587"), scheme: "smtp", stage: stageConnect, hint: "DNS"},
		{name: "refused", server: withAddr(unused(t)), scheme: "smtp", stage: stageConnect, hint: "nothing listens on port"},
		{name: "smtp:// to a TLS port that hangs up", server: withAddr(garbage(t, "")), scheme: "smtp", stage: stageGreeting, hint: "needs smtps://"},
		{name: "smtps:// to a STARTTLS port", server: &server{starttls: true}, scheme: "smtps", stage: stageEncrypt, hint: "use smtp:// (STARTTLS)"},
		{name: "not SMTP", server: withAddr(garbage(t, "HTTP/1.1 400 Bad Request\r\n")), scheme: "smtp", stage: stageGreeting, hint: "doesn't speak SMTP"},
		{name: "block list", server: &server{greeting: "554 5.7.1 go away"}, scheme: "smtp", stage: stageGreeting, hint: "block list"},
		{name: "disliked name", server: &server{answers: map[string]string{"EHLO": "550 who?", "HELO": "550 who?"}}, scheme: "smtp", stage: stageGreeting, hint: "hello=NAME"},
		{name: "no STARTTLS", server: &server{}, scheme: "smtp", query: "?tls=required", stage: stageEncrypt, hint: "try smtps:// on port 465"},
		{name: "other name in the certificate", server: &server{implicit: true, names: []string{"mail.example.com"}}, scheme: "smtps", stage: stageEncrypt, hint: "is for mail.example.com, not for 127.0.0.1"},
		{name: "other name, STARTTLS", server: &server{starttls: true, names: []string{"mail.example.com"}}, scheme: "smtp", query: "?tls=required", stage: stageEncrypt, hint: "is for mail.example.com, not for 127.0.0.1"},
		{name: "expired certificate", server: &server{implicit: true, expired: true}, scheme: "smtps", stage: stageEncrypt, hint: "has expired"},
		{name: "self-signed certificate", server: &server{starttls: true}, scheme: "smtp", query: "?tls=required", stage: stageEncrypt, hint: "self-signed"},
		{name: "wrong password", server: &server{implicit: true, auth: "PLAIN"}, scheme: "smtps", user: "apikey:wrong@", stage: stageLogin, hint: "percent-encoded"},
		{name: "wrong password, LOGIN", server: &server{starttls: true, auth: "LOGIN"}, scheme: "smtp", user: "apikey:wrong@", query: "?tls=required", stage: stageLogin, hint: "percent-encoded"},
		{name: "temporary trouble at login", server: &server{implicit: true, auth: "PLAIN", answers: map[string]string{"AUTH": "454 4.7.0 later"}}, scheme: "smtps", user: login, stage: stageLogin, hint: "temporary"},
		{name: "no login offered", server: &server{implicit: true}, scheme: "smtps", user: login, stage: stageLogin, hint: "submission port"},
		{name: "no login offered in the clear", server: &server{starttls: true, auth: "PLAIN"}, scheme: "smtp", user: login, stage: stageLogin, hint: "leave tls=none away"},
		{name: "no known login", server: &server{implicit: true, auth: "GSSAPI"}, scheme: "smtps", user: login, stage: stageLogin, hint: "submission port"},
		{name: "hangs up at login", server: &server{implicit: true, auth: "PLAIN", answers: map[string]string{"AUTH": ""}}, scheme: "smtps", user: login, stage: stageLogin, hint: "hung up"},
		{name: "login missing", server: &server{implicit: true, auth: "PLAIN"}, scheme: "smtps", stage: stageSender, hint: "USER:PASSWORD@"},
		{name: "sender refused", server: &server{answers: map[string]string{"MAIL": "553 5.7.1 not yours"}}, scheme: "smtp", stage: stageSender, hint: "doesn't take mail from " + testFrom},
		{name: "sender greylisted", server: &server{answers: map[string]string{"MAIL": "451 4.7.1 later"}}, scheme: "smtp", stage: stageSender, hint: "temporary"},
		{name: "recipient refused", server: &server{answers: map[string]string{"RCPT": "550-5.1.1 no such\r\n550 5.1.1 user"}}, scheme: "smtp", stage: stageRecipient, hint: "mistyped", sendOnly: true},
		{name: "message refused", server: &server{answers: map[string]string{"DATA": "554 no"}}, scheme: "smtp", stage: stageContent, hint: "spam", sendOnly: true},
		{name: "message refused at its end", server: &server{answers: map[string]string{".": "554 spam"}}, scheme: "smtp", stage: stageContent, hint: "spam", sendOnly: true},
		{name: "hangs up at the message", server: &server{answers: map[string]string{"DATA": ""}}, scheme: "smtp", stage: stageContent, hint: "hung up", sendOnly: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.server
			if s.addr == "" {
				s.start(t)
			}
			m := s.mailer(t, c.scheme, c.user, c.query)
			if c.hint == "self-signed" {
				m.roots = nil // as it is on any other machine
			}
			check := m.Check(t.Context())
			if c.sendOnly {
				if check != nil {
					t.Errorf("Check: %v", check)
				}
			} else {
				checkFailure(t, check, c.stage, c.hint)
			}
			send := m.Send(t.Context(), testMessage)
			if !errors.Is(send, mail.ErrDelivery) {
				t.Errorf("Send: %v isn't ErrDelivery", send)
			}
			checkFailure(t, send, c.stage, c.hint)
			if len(s.received()) > 0 {
				t.Error("a mail arrived all the same")
			}
		})
	}
}

func checkFailure(t *testing.T, err error, stage string, hint string) {
	t.Helper()
	var f *Failure
	if !errors.As(err, &f) {
		t.Errorf("%v is not a Failure", err)
		return
	}
	if f.Stage != stage || !strings.Contains(f.Hint, hint) {
		t.Errorf("%v: stage %q; want %q, and a hint of %q", err, f.Stage, stage, hint)
	}
	if strings.Contains(err.Error(), serverPassword) || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error shows the password or goes over several lines: %v", err)
	}
}

func TestAcceptedMailCountsAsDelivered(t *testing.T) {
	s := (&server{answers: map[string]string{"QUIT": "", "RSET": "451 no"}}).start(t)
	if err := s.mailer(t, "smtp", "", "").Send(t.Context(), testMessage); err != nil {
		t.Error(err)
	}
}

func TestSMTPUTF8IsUsedOnlyWhereNeeded(t *testing.T) {
	s := (&server{}).start(t)
	m := s.mailer(t, "smtp", "", "")
	for _, to := range []string{"alice@example.org", "ålice@example.org"} {
		if err := m.Send(t.Context(), mail.Message{To: to, Subject: "s", Text: "t"}); err != nil {
			t.Fatal(err)
		}
	}
	mails := s.received()
	if strings.Contains(mails[0].from, "SMTPUTF8") || !strings.Contains(mails[1].from, "SMTPUTF8") {
		t.Errorf("%q and %q", mails[0].from, mails[1].from)
	}
}

// deadline is a context whose deadline passes when a test says so.
type deadline struct {
	context.Context
	passed chan struct{}
}

func (d deadline) Done() <-chan struct{} { return d.passed }

func (d deadline) Err() error {
	select {
	case <-d.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestDiagnosesOfSilence(t *testing.T) {
	for _, c := range []struct {
		name        string
		server      *server
		scheme      string
		after, then string // the time is over once the first is passed
		hint        string
	}{
		{"smtp:// to a TLS port", &server{implicit: true}, "smtp", stageConnect, stageGreeting, "needs smtps://"},
		{"smtps:// to a port that is silent", &server{greeting: "hang"}, "smtps", stageConnect, stageEncrypt, "stopped answering"},
		{"silent after the greeting", &server{answers: map[string]string{"MAIL": "hang"}}, "smtp", stageGreeting, stageSender, "stopped answering"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := deadline{t.Context(), make(chan struct{})}
			m := c.server.start(t).mailer(t, c.scheme, "", "")
			err := m.check(ctx, func(s string) {
				if s == c.after {
					close(ctx.passed)
				}
			})
			checkFailure(t, err, c.then, c.hint)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v isn't context.DeadlineExceeded", err)
			}
		})
	}
}

func TestTheURLsTimeoutCounts(t *testing.T) {
	s := (&server{greeting: "hang"}).start(t)
	if err := s.mailer(t, "smtp", "", "?timeout=1ms").Send(t.Context(), testMessage); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestSMTPEndsWithTheContext(t *testing.T) {
	s := (&server{answers: map[string]string{"MAIL": "hang"}}).start(t)
	m := s.mailer(t, "smtp", "", "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := m.check(ctx, func(passed string) {
		if passed == stageGreeting {
			cancel()
		}
	})
	var f *Failure
	if !errors.Is(err, context.Canceled) || !errors.As(err, &f) || f.Stage != stageSender || f.Hint != "" {
		t.Errorf("%v", err)
	}
	if err := m.Send(ctx, testMessage); !errors.Is(err, context.Canceled) || !errors.Is(err, mail.ErrDelivery) {
		t.Errorf("Send with an ended context: %v", err)
	}
}

func TestSMTPURLs(t *testing.T) {
	for _, c := range []struct {
		url, want      string
		user, password string
	}{
		{"smtp://mail.example.com", "SMTP to mail.example.com:587 with STARTTLS", "", ""},
		{"smtps://mail.example.com", "SMTP to mail.example.com:465 with TLS", "", ""},
		{"smtp://mail.example.com:2525/", "SMTP to mail.example.com:2525 with STARTTLS", "", ""},
		{"smtp://mail.example.com?tls=none", "SMTP to mail.example.com:587 with no encryption", "", ""},
		{"smtp://LocalHost:1025", "SMTP to LocalHost:1025 with no encryption", "", ""},
		{"smtp://localhost:1025", "SMTP to localhost:1025 with no encryption", "", ""},
		{"smtp://[::1]:1025", "SMTP to [::1]:1025 with no encryption", "", ""},
		{"smtp://127.0.0.1?tls=required", "SMTP to 127.0.0.1:587 with STARTTLS", "", ""},
		{"smtps://apikey:secret@mail.example.com", "SMTP to mail.example.com:465 with TLS, as apikey", "apikey", "secret"},
		{"smtps://me%40example.com:p%40ss%3Aw%2Frd%3F%23%25@mail.example.com", "SMTP to mail.example.com:465 with TLS, as me@example.com", "me@example.com", serverPassword},
		{"smtps://me:p@ss@mail.example.com", "SMTP to mail.example.com:465 with TLS, as me", "me", "p@ss"},
	} {
		m, err := NewSMTP(c.url, testFrom)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if m.String() != c.want || m.user != c.user || m.password != c.password {
			t.Errorf("%s: %s, as %q with %q", c.url, m, m.user, m.password)
		}
	}
}

func TestBadSMTPURLs(t *testing.T) {
	const secret = "12secret"
	for _, c := range []struct{ url, hint string }{
		{"smtp://", "form"},
		{"smtp:mail.example.com", "form"},
		{"http://mail.example.com", "form"},
		{"smtp://me:" + secret + "/x@mail.example.com", "percent-encoded"},
		{"smtp://me:" + secret + "#x@mail.example.com", "percent-encoded"},
		{"smtp://me:" + secret + "?x@mail.example.com", "percent-encoded"},
		{"smtp://me:" + secret + "%zz@mail.example.com", "percent-encoded"},
		{"smtp://me:12/secret@mail.example.com", "percent-encoded"},
		{"smtp://me:12#secret@mail.example.com", "percent-encoded"},
		{"smtp://me:12?secret@mail.example.com", "percent-encoded"},
		{"smtp://me:12?%zzsecret@mail.example.com", "percent-encoded"},
		{"smtp://mail.example.com:99999", "port"},
		{"smtp://mail.example.com:0", "port"},
		{"smtp://:secret@mail.example.com", "no name"},
		{"smtp://mail.example.com?tls=maybe", "tls="},
		{"smtp://mail.example.com?timeout=10", "timeout="},
		{"smtp://mail.example.com?timeout=-1s", "timeout="},
		{"smtps://mail.example.com?tls=none", "contradict"},
	} {
		_, err := NewSMTP(c.url, testFrom)
		if err == nil || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("%s: %v; want a word on %q", c.url, err, c.hint)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the password: %v", c.url, err)
		}
	}
	for _, from := range []string{"", "noreply", "a@b.c, d@e.f", "x <a@b.c>\r\nBcc: d@e.f"} {
		if _, err := NewSMTP("smtp://mail.example.com", from); err == nil {
			t.Errorf("sender %q is accepted", from)
		}
	}
}

func TestTryReportsEachStep(t *testing.T) {
	for _, c := range []struct {
		name   string
		server *server
		want   []string
		fails  bool
	}{
		{"all well", &server{implicit: true, auth: "PLAIN"}, []string{
			"mailer: SMTP to ", "ok     connecting", "ok     encrypting", "ok     greeting", "ok     logging in", "ok     naming the sender", "ok     sending to alice@example.org",
		}, false},
		{"login refused", &server{implicit: true, auth: "PLAIN", answers: map[string]string{"AUTH": "535 no"}}, []string{
			"mailer: SMTP to ", "ok     connecting", "ok     encrypting", "ok     greeting", "FAILED logging in: the server says 535 no: the server refused the name",
		}, true},
		{"recipient refused", &server{implicit: true, auth: "PLAIN", answers: map[string]string{"RCPT": "550 no"}}, []string{
			"mailer: SMTP to ", "ok     connecting", "ok     encrypting", "ok     greeting", "ok     logging in", "ok     naming the sender", "FAILED sending to alice@example.org: ",
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.server.start(t)
			var report bytes.Buffer
			err := Try(t.Context(), s.mailer(t, "smtps", login, ""), "alice@example.org", &report)
			if (err != nil) != c.fails || (len(s.received()) == 1) == c.fails {
				t.Errorf("error %v, %d mails", err, len(s.received()))
			}
			lines := strings.Split(strings.TrimSuffix(report.String(), "\n"), "\n")
			if len(lines) != len(c.want) {
				t.Fatalf("the report is\n%s", report.String())
			}
			for i := range lines {
				if !strings.HasPrefix(lines[i], c.want[i]) {
					t.Errorf("line %d is %q; want %q", i, lines[i], c.want[i])
				}
			}
		})
	}
}

func TestTryWithoutStages(t *testing.T) {
	var report bytes.Buffer
	m := mail.NewMemory()
	if err := Try(t.Context(), m, "alice@example.org", &report); err != nil || report.String() != "ok     sending to alice@example.org: the message was accepted\n" {
		t.Errorf("%v\n%s", err, report.String())
	}
	if _, ok := m.Last("alice@example.org"); !ok {
		t.Error("nothing was sent")
	}
	d, err := NewDir(t.TempDir(), testFrom)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []mail.Mailer{d, mail.NewLog(slog.New(slog.DiscardHandler))} {
		report.Reset()
		if err := Try(t.Context(), m, "alice@example.org", &report); err != nil || !strings.Contains(report.String(), "nobody\n") {
			t.Errorf("%T: %v\n%s", m, err, report.String())
		}
	}
}
