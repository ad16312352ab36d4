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

func TestMailersHonorTheContext(t *testing.T) {
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
		t.Error("an empty Memory has a message")
	}
	for i, to := range []string{"alice@example.org", "bob@example.org", "alice@example.org"} {
		if err := m.Send(t.Context(), Message{To: to, Code: string(rune('0' + i))}); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := m.Last("Alice@Example.org"); !ok || got.Code != "2" {
		t.Errorf("last to alice: %v, %t", got, ok)
	}
	if got, err := m.TakeCode(t.Context(), "alice@example.org"); err != nil || got.Code != "2" {
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
		msg, err := m.TakeCode(t.Context(), "alice@example.org")
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
	if _, err := m.TakeCode(ctx, "alice@example.org"); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with an ended context: %v", err)
	}
}

// TestMemoryDistinguishesCodesFromNotices sends a notice after a code. TakeCode returns the code,
// and keeps the notice.
func TestMemoryDistinguishesCodesFromNotices(t *testing.T) {
	m := NewMemory()
	for _, msg := range []Message{
		{Kind: SignIn, Code: "1"},
		{Kind: AppPasswordCreated, Text: "first"},
		{Kind: SignIn, Code: "2"},
		{Kind: SignIn, Code: "3", To: "bob@example.org"},
		{Kind: AppPasswordCreated, Text: "second"},
		{Kind: KeysChanged},
	} {
		if msg.To == "" {
			msg.To = "alice@example.org"
		}
		if err := m.Send(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := m.TakeCode(t.Context(), "Alice@example.org"); err != nil || got.Code != "2" {
		t.Errorf("the code: %v, %v", got, err)
	}
	if got := m.Of(AppPasswordCreated, "Alice@example.org"); len(got) != 2 || got[0].Text != "first" || got[1].Text != "second" {
		t.Errorf("the notices: %v", got)
	}
	if got := m.Of(SignIn, "alice@example.org"); len(got) != 0 {
		t.Errorf("codes that were not forgotten: %v", got)
	}
	for _, want := range []string{"first", "second"} {
		if got, err := m.TakeOf(t.Context(), AppPasswordCreated, "Alice@example.org"); err != nil || got.Text != want {
			t.Errorf("the %s notice: %v, %v", want, got, err)
		}
	}
	if all := m.Messages(); len(all) != 2 || all[0].Code != "3" || all[1].Kind != KeysChanged {
		t.Errorf("left: %v", all)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := m.TakeCode(ctx, "alice@example.org"); !errors.Is(err, context.Canceled) {
		t.Errorf("a code of a notice: %v, %v", got, err)
	}
	if got, err := m.TakeOf(ctx, KeysChanged, "bob@example.org"); !errors.Is(err, context.Canceled) {
		t.Errorf("a notice to somebody else: %v, %v", got, err)
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
