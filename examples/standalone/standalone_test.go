package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

var quiet = slog.New(slog.DiscardHandler)

// values has a valid value for each flag.
var values = map[string]string{
	"addr": "127.0.0.1:1", "data": "d", "store": "memory", "hostname": "pds.test", "handle-domains": ".a.test,.b.test",
	"public-url": "http://pds.test", "service-name": "S", "admin-password": "a long password", "admins": "bob=another long one", "mod-service": "did:web:mod.test",
	"sign-up": "migrations", "verification-required": "true", "invite-interval": "168h", "invite-epoch": "2026-01-01T00:00:00Z", "mail": "log", "mail-from": "a@b.test",
	"mail-templates": ".", "mail-pages": "reset_password=https://pds.test/reset?lang=en&x=1;sign_in=https://pds.test/in", "mail-timeout": "3s", "mute-notices": "keys_changed,factor_changed", "plc": "local", "plc-rotation-key": strings.Repeat("01", 32), "recovery-key": "did:key:z",
	"did-method": "web", "jwt-secret": "0123456789abcdef", "key-secret": strings.Repeat("02", 32), "min-password-length": "9",
	"password-memory": "8", "password-time": "1", "password-threads": "2", "password-workers": "3", "password-queue": "5", "allow-punycode-handles": "true", "handle-hold": "-1ns", "handle-hold-after-deletion": "24h", "min-deletion-delay": "96h", "email-for-app-passwords": "true",
	"rate-limits": "off", "trusted-proxies": "10.0.0.0/8,::1", "contact-email": "c@d.test", "privacy-policy-url": "https://p.test",
	"terms-of-service-url": "https://t.test", "blob-upload-limit": "7", "log-format": "json",
	"extra-hostnames": "a.pds.test,b.pds.test", "handle-host-redirect": "https://r.test/{handle}", "show-version": "true",
	"oauth-issuer": "https://entryway.test", "oauth-resources": "did:web:a.test,did:web:b.test", "oauth-trusted-clients": "https://app.test/client.json",
	"oauth-refused-clients": "evil.test", "oauth-introspectors": "feeds=a long password indeed",
	"page-templates": ".", "page-assets": ".", "page-texts": ".",
}

func TestEveryFlagIsAVariableAndSetsAField(t *testing.T) {
	var flags, variables cli
	args := []string{"serve"}
	for name, value := range values {
		args = append(args, "-"+name+"="+value)
	}
	if _, err := readFlags(t.Context(), &flags, args); err != nil {
		t.Fatal(err)
	}
	for name, value := range values {
		t.Setenv("GATEHOUSE_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")), value)
	}
	t.Setenv("GATEHOUSE_VERSION", "true") // has no effect
	if _, err := readFlags(t.Context(), &variables, nil); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(flags.Settings, variables.Settings) {
		t.Errorf("flags:     %+v\nvariables: %+v", flags.Settings, variables.Settings)
	}
	set := reflect.ValueOf(flags.Settings)
	if set.NumField() != len(values) {
		t.Errorf("there are %d flags, but %d are tested", set.NumField(), len(values))
	}
	cfg, err := flags.config(t.Context(), memory.New(), mail.Unconfigured{}, quiet, &net.TCPAddr{}, flags.AdminPassword)
	if err != nil {
		t.Fatal(err)
	}
	pages := map[mail.Kind]string{mail.ResetPassword: "https://pds.test/reset?lang=en&x=1", mail.SignIn: "https://pds.test/in"}
	if !maps.Equal(cfg.Mail.Pages, pages) {
		t.Errorf("-mail-pages is %v; want %v", cfg.Mail.Pages, pages)
	}
	for i := range set.NumField() {
		if set.Field(i).IsZero() {
			t.Errorf("%s was not set", set.Type().Field(i).Name)
		}
	}
	// A flag sets each field of the configuration, unless text can't express it.
	unset := map[string]bool{}
	unsetFields(reflect.ValueOf(cfg), "", unset)
	for _, code := range []string{
		"SignUp.Check", "SignIn.Ways", "SignIn.Factors", "SignIn.NoAccountPasswords", "Handles.Resolver", "DIDs.Resolver", "Handles.Policy", "Passwords.Policy", "Mail.EmailPolicy", "RepoStatus", "Hooks", "Fallback", "LeaveToFallback", "NoMaintenance", "Now", "Rand", "Keys.OAuth", "OAuth.Paths", "Pages.AccountPath", "Pages.AssetPath", "OAuth.Documents", "OAuth.PermissionSets",
	} {
		if !unset[code] {
			t.Errorf("Config.%s is set", code)
		}
		delete(unset, code)
	}
	for field := range unset {
		t.Errorf("no flag sets Config.%s", field)
	}
}

// unsetFields collects the fields of a struct, and of its groups, that have their zero values.
func unsetFields(v reflect.Value, prefix string, zero map[string]bool) {
	for i := range v.NumField() {
		field, name := v.Field(i), prefix+v.Type().Field(i).Name
		switch {
		case field.Kind() == reflect.Struct && field.Type().PkgPath() == v.Type().PkgPath():
			unsetFields(field, name+".", zero)
		case field.IsZero():
			zero[name] = true
		}
	}
}

// TestZeroSwitchesHoldsOff: 0 is the default in the Config, but not for the flag.
func TestZeroSwitchesHoldsOff(t *testing.T) {
	for args, want := range map[string]time.Duration{"serve": 30 * 24 * time.Hour, "serve -handle-hold=2h": 2 * time.Hour, "serve -handle-hold 0": -1, "serve -handle-hold=-5m": -5 * time.Minute} {
		var flags cli
		if _, err := readFlags(t.Context(), &flags, strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		cfg, err := flags.config(t.Context(), memory.New(), mail.Unconfigured{}, quiet, &net.TCPAddr{}, "")
		if err != nil || cfg.Handles.Hold != want {
			t.Errorf("%s: %v, %v; want %v", args, cfg.Handles.Hold, err, want)
		}
	}
}

func TestPublicURL(t *testing.T) {
	for _, c := range []struct{ hostname, given, want string }{
		{"localhost", "", "http://localhost:2583"},
		{"LocalHost", "", "http://LocalHost:2583"},
		{"pds.test", "", "http://pds.test:2583"},
		{"pds.example", "", "http://pds.example:2583"},
		{"127.0.0.1", "", "http://127.0.0.1:2583"},
		{" localhost.\n", "", "http://localhost.:2583"}, // which Config normalizes
		{"localhost:3000", "", ""},                      // the default of Config: http://localhost:3000
		{"localhost:80", "", ""},
		{"PDS.example.com.", "", ""},
		{"pds.example.com", "", ""},
		{"localhost", "https://tunnel.example.com", "https://tunnel.example.com"},
	} {
		s := &Settings{Hostname: c.hostname, PublicURL: c.given}
		if got := s.publicURL(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2583}); got != c.want {
			t.Errorf("%s: %q, want %q", c.hostname, got, c.want)
		}
	}
}

func TestTheAdminPasswordIsKept(t *testing.T) {
	s := &Settings{Data: filepath.Join(t.TempDir(), "data"), Store: "bolt"}
	first, _, err := s.adminPassword()
	if err != nil || len(first) < 20 {
		t.Fatalf("%q, %v", first, err)
	}
	if again, _, err := s.adminPassword(); again != first || err != nil {
		t.Errorf("%q, %v, want %q", again, err, first)
	}
	path := filepath.Join(s.Data, "admin-password")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.adminPassword(); got == "" || err != nil {
		t.Errorf("with an empty file: %q, %v", got, err)
	}
}

func TestMessagesShowNoPasswords(t *testing.T) {
	for spec, want := range map[string]string{
		"bolt":          "bolt",
		"bolt:/a/b.db":  "bolt:/a/b.db",
		"sqlite":        "sqlite",
		"postgres://db": "postgres://db",
		"postgres://u:sesame@a,b:5433/x?password=sesame": "postgres://u:xxxxx@a,b:5433/x",
		"postgres://u:ses%zzame@host/x":                  "…",
		"host=db password=sesame":                        "…",
		"postgres:u:sesame@host":                         "…",
	} {
		if got := redacted(spec); got != want {
			t.Errorf("%s: %s, want %s", spec, got, want)
		}
	}
	for _, args := range [][]string{
		{"-store", "host=db password=sesame"}, {"-mail", "smtp:u:sesame@host"}, {"-mail", "smtp://u:ses#ame@host"},
		{"-jwt-secret", "sesame"}, {"-key-secret", "sesame"}, {"-plc-rotation-key", "sesame"}, {"-admins", "a:b=sesame"},
	} {
		args = append([]string{"-addr", "127.0.0.1:0", "-data", t.TempDir(), "-hostname", "localhost"}, args...)
		if err := run(t.Context(), args); err == nil || strings.Contains(err.Error(), "sesame") || strings.Contains(err.Error(), "ame@") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestToolsCreateNoStores(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "typo.db")
	for _, args := range [][]string{
		{"check", "-store", "bolt:" + missing},
		{"check", "-data", filepath.Join(dir, "typo")},
		{"copy", "bolt:" + missing, "memory"},
		{"compact", "-store", "bolt:" + missing},
	} {
		if err := run(t.Context(), args); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v: %v", args, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	// A store that exists.
	there := filepath.Join(dir, "there.db")
	store, err := bolt.Open(there)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := gatehouse.New(t.Context(), store, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(srv.Close(), store.Close()); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"check", "-store", "bolt:" + there},
		{"copy", "bolt:" + there, "bolt:" + filepath.Join(dir, "copy.db")},
		{"check", "-store", "bolt:" + filepath.Join(dir, "copy.db")},
		{"compact", "-store", "bolt:" + there},
		{"check", "-store", "bolt:" + there},
	} {
		if err := run(t.Context(), args); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestCompactSaysWhyItCannot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "there.db")
	store, err := bolt.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := run(t.Context(), []string{"compact", "-store", "bolt:" + path}); !errors.Is(err, bolt.ErrLocked) || !strings.Contains(err.Error(), "stop the server") {
		t.Errorf("a file in use: %v", err)
	}
	for _, spec := range []string{"memory", "postgres://user:secret@localhost/db"} {
		err := run(t.Context(), []string{"compact", "-store", spec})
		if err == nil || !strings.Contains(err.Error(), "bbolt") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

func TestMistakesNameTheFlag(t *testing.T) {
	for flag, value := range map[string]string{
		"addr": "nowhere", "store": "sqlite", "mail": "pigeon", "mail-from": "nobody", "mail-templates": "/no/such/directory",
		"hostname": "https://pds.test", "key-secret": "xyz", "invite-interval": "often", "rate-limits": "maybe", "invite-epoch": "yesterday", "sign-up": "maybe",
		"plc": "ftp://x", "plc-rotation-key": "xyz", "trusted-proxies": "proxy", "admins": "admin=long enough password",
	} {
		args := []string{"-data", filepath.Join(t.TempDir(), "data"), "-addr=127.0.0.1:0", "-" + flag + "=" + value}
		err := run(t.Context(), args)
		if want, _, _ := strings.Cut(flag, "-from"); err == nil || !strings.Contains(err.Error(), "-"+want) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// TestAnOldVariableDoesNotOpenAServer: with GATEHOUSE_INVITES the server doesn't start, but says
// what replaced it. To ignore the variable would let everybody sign up.
func TestAnOldVariableDoesNotOpenAServer(t *testing.T) {
	t.Setenv("GATEHOUSE_INVITES", "true")
	err := run(t.Context(), []string{"-data", filepath.Join(t.TempDir(), "data"), "-addr=127.0.0.1:0", "-hostname=nowhere/"})
	if err == nil || !strings.Contains(err.Error(), "GATEHOUSE_SIGN_UP=invites") {
		t.Errorf("%v", err)
	}
	t.Setenv("GATEHOUSE_INVITES", "")
	if err := run(t.Context(), []string{"-invites"}); err == nil || !strings.Contains(err.Error(), "-invites") {
		t.Errorf("the old flag: %v", err)
	}
}

func TestShutdown(t *testing.T) {
	for name, patience := range map[string]time.Duration{"waits for requests": time.Minute, "cuts off requests that don't end": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			entered, leave := make(chan struct{}), make(chan struct{})
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(entered)
				select {
				case <-leave:
					_, _ = io.WriteString(w, "done")
				case <-r.Context().Done():
				}
			})}
			want := ""
			if patience == time.Minute {
				want = "done"
				server.RegisterOnShutdown(func() { close(leave) }) // the server is waiting for requests by then
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ended, got := make(chan error, 1), make(chan string, 1)
			go func() { ended <- serveUntil(ctx, server, l, quiet, patience) }()
			go func() {
				resp, err := http.Get("http://" + l.Addr().String())
				if err != nil {
					got <- ""
					return
				}
				defer resp.Body.Close()
				body, _ := io.ReadAll(resp.Body)
				got <- string(body)
			}()
			<-entered
			stop()
			if body := <-got; body != want {
				t.Errorf("the request was answered %q, want %q", body, want)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// checker is a mailer whose check fails.
type checker struct{ mail.Unconfigured }

func (checker) Check(context.Context) error { return errors.New("the port is wrong") }

func TestMailIsCheckedAtStart(t *testing.T) {
	for _, c := range []struct {
		hostname string
		mailer   mail.Mailer
		want     string
	}{
		{"pds.example.com", checker{}, "the port is wrong"},
		{"localhost", checker{}, "the port is wrong"},
		{"pds.example.com", mail.NewLog(quiet), "e-mails reach nobody"},
		{"localhost", mail.NewLog(quiet), ""},
	} {
		var log strings.Builder
		s := &Settings{Hostname: c.hostname, Mail: "log"}
		s.checkMail(t.Context(), c.mailer, slog.New(slog.NewTextHandler(&log, nil)))
		if got := log.String(); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s, %T: %q", c.hostname, c.mailer, got)
		}
	}
}

func TestTheDefaultSender(t *testing.T) {
	for hostname, want := range map[string]string{
		"pds.example.com": "noreply@pds.example.com", "PDS.Example.com.": "noreply@pds.example.com", "pds.example.com:443": "noreply@pds.example.com",
		"LocalHost:2583": "noreply@localhost.localdomain", "localhost.": "noreply@localhost.localdomain", "127.0.0.1:2583": "noreply@127.0.0.1",
		"[::1]:2583":      "noreply@localhost.localdomain",
		"pds.münchen.com": "noreply@pds.xn--mnchen-3ya.com", " pds.test\n": "noreply@pds.test",
	} {
		dir := t.TempDir()
		s := &Settings{Hostname: hostname, Mail: "dir:" + dir}
		m, err := s.mailer()
		if err != nil {
			t.Errorf("%q: %v", hostname, err)
			continue
		}
		if err := m.Send(t.Context(), mail.Message{To: "alice@example.com", Subject: "Hello", Text: "Hello\n"}); err != nil {
			t.Fatal(err)
		}
		sent, err := filepath.Glob(filepath.Join(dir, "*.eml"))
		if err != nil || len(sent) != 1 {
			t.Fatalf("%q, %v", sent, err)
		}
		b, err := os.ReadFile(sent[0])
		if err != nil || !strings.Contains(string(b), "From: <"+want+">") {
			t.Errorf("%q: %v; want %s in\n%s", hostname, err, want, b)
		}
	}
}

// TestNamesAsTyped: a server starts with names in any spelling, and normalizes them.
func TestNamesAsTyped(t *testing.T) {
	for _, c := range []struct{ hostname, publicURL, did, endpoint string }{
		{"LocalHost", "", "did:web:localhost", "http://localhost:2583"},
		{"localhost.", "", "did:web:localhost", "http://localhost:2583"},
		{"localhost:80", "", "did:web:localhost", "http://localhost"},
		{"PDS.example.com.", "", "did:web:pds.example.com", "https://pds.example.com"},
		{"pds.münchen.com:443", "", "did:web:pds.xn--mnchen-3ya.com", "https://pds.xn--mnchen-3ya.com"},
		{"pds.example.com", "https://PDS.example.com:443/", "did:web:pds.example.com", "https://pds.example.com"},
	} {
		store := memory.New()
		s := &Settings{PLC: "local", Hostname: c.hostname, PublicURL: c.publicURL, HandleDomains: []string{"Example.COM."}, Store: "memory", Mail: "dir:" + t.TempDir()}
		mailer, err := s.mailer()
		if err != nil {
			t.Errorf("%s: %v", c.hostname, err)
			continue
		}
		cfg, err := s.config(t.Context(), store, mailer, quiet, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2583}, "a long password")
		if err != nil {
			t.Fatal(err)
		}
		srv, err := gatehouse.New(t.Context(), store, cfg)
		if err != nil {
			t.Errorf("%s: %v", c.hostname, err)
			continue
		}
		if srv.ServiceDID() != c.did || srv.Accounts.PublicURL() != c.endpoint || srv.Accounts.Handles().Domains()[0] != ".example.com" {
			t.Errorf("%s: %s, %s, %q", c.hostname, srv.ServiceDID(), srv.Accounts.PublicURL(), srv.Accounts.Handles().Domains())
		}
		if err := errors.Join(srv.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	}
}
