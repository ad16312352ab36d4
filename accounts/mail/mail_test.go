package mail

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

var testMessage = Message{To: "alice@example.org", Subject: "Grüße", Text: "Hello\nCODE1-CODE2\n", HTML: "<p>CODE1-CODE2</p>"}

func TestEveryMailerHonoursTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, m := range []Mailer{NewMemory(), NewLog(slog.New(slog.DiscardHandler))} {
		if err := m.Send(ctx, testMessage); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrDelivery) {
			t.Errorf("%T: %v", m, err)
		}
	}
}

func TestMemoryKeepsMails(t *testing.T) {
	m := NewMemory()
	if _, ok := m.Last("alice@example.org"); ok {
		t.Error("a mail out of nowhere")
	}
	for i, to := range []string{"alice@example.org", "bob@example.org", "alice@example.org"} {
		if err := m.Send(t.Context(), Message{To: to, Code: string(rune('0' + i))}); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := m.Last("Alice@Example.org"); !ok || got.Code != "2" {
		t.Errorf("last to alice: %v, %t", got, ok)
	}
	if got, err := m.Take(t.Context(), "alice@example.org"); err != nil || got.Code != "2" {
		t.Errorf("taken for alice: %v, %v", got, err)
	}
	if all := m.Messages(); len(all) != 1 || all[0].To != "bob@example.org" {
		t.Errorf("left: %v", all)
	}
}

func TestMemoryWaitsForMails(t *testing.T) {
	m := NewMemory()
	got := make(chan string)
	go func() {
		msg, err := m.Take(t.Context(), "alice@example.org")
		if err != nil {
			t.Error(err)
		}
		got <- msg.Code
	}()
	for _, msg := range []Message{{To: "bob@example.org", Code: "no"}, {To: "alice@example.org", Code: "yes"}} {
		if err := m.Send(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	if code := <-got; code != "yes" {
		t.Errorf("waited for %q", code)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Take(ctx, "alice@example.org"); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with an ended context: %v", err)
	}
}

func TestMemoryFails(t *testing.T) {
	m := NewMemory()
	cause := errors.New("out of stamps")
	m.Fail(cause)
	if err := m.Send(t.Context(), testMessage); !errors.Is(err, cause) || !errors.Is(err, ErrDelivery) {
		t.Error(err)
	}
	m.Fail(nil)
	if err := m.Send(t.Context(), testMessage); err != nil {
		t.Error(err)
	}
	if n := len(m.Messages()); n != 1 {
		t.Errorf("%d mails kept", n)
	}
}

func TestLogShowsTheMail(t *testing.T) {
	var out bytes.Buffer
	if err := NewLog(slog.New(slog.NewTextHandler(&out, nil))).Send(t.Context(), testMessage); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"alice@example.org", "CODE1-CODE2"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %q in %s", part, out.String())
		}
	}
}

func TestUnconfiguredSaysSo(t *testing.T) {
	if err := (Unconfigured{}).Send(t.Context(), testMessage); !errors.Is(err, ErrDelivery) || !strings.Contains(err.Error(), "no mailer") {
		t.Error(err)
	}
}
