package main

import (
	"context"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/gatehouse-at/gatehouse"
)

// onlyGo are the fields of the configuration that only a program can fill in.
var onlyGo = []string{
	"AdminAuth", "RepoStatus", "PLCDirectory", "PLCSigner", "JWTKeys", "Keys", "AllowEmail", "HandleResolver", "DIDResolver",
	"Limiter", "Hooks", "Fallback", "Logger", "Now", "Rand",
}

// parse reads a command line as the program does.
func parse(t *testing.T, args ...string) *cli {
	t.Helper()
	var c cli
	parser, err := kong.New(&c, kong.DefaultEnvars("GATEHOUSE"), kong.Vars{"version": "test"}, kong.BindTo(context.Background(), (*context.Context)(nil)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(longFlags(args)); err != nil {
		t.Fatal(err)
	}
	return &c
}

// TestEveryFieldHasAFlag sets each field of the configuration by its flag and by its variable, and
// finds it there.
func TestEveryFieldHasAFlag(t *testing.T) {
	templates := t.TempDir()
	values := map[string]string{
		"Hostname": "pds.example.com", "HandleDomains": ".a.example.com,.b.example.com", "PublicURL": "https://example.com", "ServiceName": "Example",
		"AdminPassword": "secret", "Admins": "eve=pass word;bob=x", "ModService": "did:web:mod.example.com",
		"Invites": "true", "InviteInterval": "1h", "InviteEpoch": "2026-01-01T00:00:00Z",
		"DIDMethod": "web", "PLC": "http://127.0.0.1:1", "PLCRotationKey": "ab", "RecoveryKey": "did:key:x",
		"JWTSecret": "0123456789abcdef", "KeySecret": strings.Repeat("0f", 32),
		"MinPasswordLength": "9", "PasswordMemory": "64", "PasswordTime": "3", "PasswordThreads": "2", "PasswordWorkers": "4",
		"Mail": "log", "MailTemplates": templates, "MailTimeout": "3s",
		"RateLimits": "shared", "TrustedProxies": "10.0.0.0/8,::1", "EmailForAppPasswords": "true",
		"ContactEmail": "a@example.com", "PrivacyPolicyURL": "https://example.com/p", "TermsOfServiceURL": "https://example.com/t", "BlobUploadLimit": "5",
	}
	flag := func(field string) string {
		var b strings.Builder
		for i, c := range field {
			upper := c >= 'A' && c <= 'Z'
			before := i > 0 && field[i-1] >= 'a' // a word ends
			after := i > 0 && i+1 < len(field) && field[i+1] >= 'a' && field[i-1] < 'a'
			if upper && (before || after) {
				b.WriteByte('-')
			}
			b.WriteString(strings.ToLower(string(c)))
		}
		return b.String()
	}
	configOf := func(c *cli) reflect.Value {
		t.Helper()
		mailer, err := c.mailer()
		if err != nil {
			t.Fatal(err)
		}
		password, _, err := c.adminPassword()
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := c.config(mailer, c.logger(), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, password)
		if err != nil {
			t.Fatal(err)
		}
		return reflect.ValueOf(cfg)
	}
	data := []string{"-data", t.TempDir()}
	plain := configOf(parse(t, data...))
	for field := range reflect.TypeFor[gatehouse.Config]().Fields() {
		if slices.Contains(onlyGo, field.Name) {
			continue
		}
		value, ok := values[field.Name]
		if !ok {
			t.Errorf("%s has no flag in this test", field.Name)
			continue
		}
		byFlag := configOf(parse(t, append(slices.Clone(data), "-"+flag(field.Name)+"="+value)...)).FieldByIndex(field.Index).Interface()
		if reflect.DeepEqual(byFlag, plain.FieldByIndex(field.Index).Interface()) {
			t.Errorf("-%s=%s changes nothing", flag(field.Name), value)
		}
		name := "GATEHOUSE_" + strings.ToUpper(strings.ReplaceAll(flag(field.Name), "-", "_"))
		if err := os.Setenv(name, value); err != nil {
			t.Fatal(err)
		}
		byVariable := configOf(parse(t, data...)).FieldByIndex(field.Index).Interface()
		os.Unsetenv(name)
		if field.Name != "Mail" && !reflect.DeepEqual(byVariable, byFlag) {
			t.Errorf("%s=%s gives %v, the flag %v", name, value, byVariable, byFlag)
		}
	}
	if got := parse(t, "-admins", "eve=pass word;bob=x").Admins; got["eve"] != "pass word" || got["bob"] != "x" {
		t.Errorf("-admins: %v", got)
	}
	if _, err := parse(t, "-key-secret", "xyz").config(nil, nil, &net.TCPAddr{}, ""); err == nil || !strings.Contains(err.Error(), "-key-secret") {
		t.Errorf("-key-secret xyz: %v", err)
	}
}
