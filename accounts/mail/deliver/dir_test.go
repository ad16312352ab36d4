package deliver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "mail")
	for spec, want := range map[string]func(mail.Mailer) bool{
		"dir:" + dir:                       func(m mail.Mailer) bool { _, ok := m.(*Dir); return ok },
		"log":                              func(m mail.Mailer) bool { _, ok := m.(*mail.Log); return ok },
		"smtp://mail.example.com":          func(m mail.Mailer) bool { s, ok := m.(*SMTP); return ok && !s.implicit },
		"smtps://u:p@mail.example.com:465": func(m mail.Mailer) bool { s, ok := m.(*SMTP); return ok && s.implicit },
	} {
		if m, err := Open(spec, testFrom); err != nil || !want(m) {
			t.Errorf("%s: %T, %v", spec, m, err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info, err)
	}
	for spec, hint := range map[string]string{
		"":                                 "none of",
		"dir:":                             "path",
		"sendmail":                         "none of",
		"http://me:secret@host":            "none of",
		`"smtp://me:secret@host:587"`:      "quotation mark",
		`'smtp://me:secret@host:587'`:      "quotation mark",
		"smtp://me:secret@host:x":          "percent-encoded",
		"smtp//me:secret@mail.example.com": "none of",
	} {
		m, err := Open(spec, testFrom)
		if err == nil || m != nil || !strings.Contains(err.Error(), hint) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, %v; want a word on %q", spec, m, err, hint)
		}
	}
}

func TestDirWritesReadableMails(t *testing.T) {
	path := t.TempDir()
	d, err := NewDir(path, testFrom)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	d.now = func() time.Time { return now }
	if err := d.Send(t.Context(), testMessage); err != nil {
		t.Fatal(err)
	}
	other := mail.Message{To: "bob@example.org", Subject: "Later", Text: "x"}
	if err := d.Send(t.Context(), other); err != nil { // in the same millisecond
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	other.To = "a/b" + strings.Repeat("x", 300) + "@example.org"
	if err := d.Send(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil || len(entries) != 3 {
		t.Fatalf("%v, %v", entries, err)
	}
	if got, want := entries[0].Name(), "20260102T030405.006-000001-alice@example.org.eml"; got != want {
		t.Errorf("the first file is %s; want %s", got, want)
	}
	if !strings.HasSuffix(entries[1].Name(), "-bob@example.org.eml") || !strings.HasPrefix(entries[2].Name(), "20260102T040405.006-") {
		t.Errorf("then come %s and %s", entries[1].Name(), entries[2].Name())
	}
	data, err := os.ReadFile(filepath.Join(path, entries[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	checkWire(t, string(data))
}

func TestDirShowsOnlyWholeMails(t *testing.T) {
	path := t.TempDir()
	d, err := NewDir(path, testFrom)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := d.Send(t.Context(), testMessage); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) != 20 {
		t.Errorf("%d files, %v; want 20", len(entries), err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := d.Send(t.Context(), testMessage); !errors.Is(err, mail.ErrDelivery) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without its directory: %v", err)
	}
}

func TestInvalidMails(t *testing.T) {
	path := t.TempDir()
	d, err := NewDir(path, testFrom)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]mail.Message{
		"no recipient":             {Subject: "s", Text: "t"},
		"two recipients":           {To: "a@example.org, b@example.org", Subject: "s", Text: "t"},
		"a recipient of two lines": {To: "a@example.org\r\nBcc: b@example.org", Subject: "s", Text: "t"},
		"a subject of two lines":   {To: "a@example.org", Subject: "s\r\nBcc: b@example.org", Text: "t"},
		"a subject with a zero":    {To: "a@example.org", Subject: "s\x00", Text: "t"},
	} {
		if err := d.Send(t.Context(), m); !errors.Is(err, mail.ErrDelivery) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if entries, _ := os.ReadDir(path); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestFileNamesAreHarmless(t *testing.T) {
	for in, want := range map[string]string{
		"alice+x@example.org": "alice+x@example.org",
		"../../etc/passwd":    ".._.._etc_passwd",
		"a b\x00c\\d:e":       "a_b_c_d_e",
		"å@example.org":       "_@example.org",
	} {
		if got := fileName(in); got != want {
			t.Errorf("%q becomes %q; want %q", in, got, want)
		}
	}
	if got := fileName(strings.Repeat("å", 200)); len(got) > 64 {
		t.Errorf("%d bytes long", len(got))
	}
}

func TestDirHonorsTheContext(t *testing.T) {
	d, err := NewDir(t.TempDir(), testFrom)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Send(ctx, testMessage); !errors.Is(err, context.Canceled) || !errors.Is(err, mail.ErrDelivery) {
		t.Error(err)
	}
}
