package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/domaintest"
)

// TestAnErrorOfAPolicyDoesNotShowThePassword, however it was written into the error.
func TestAnErrorOfAPolicyDoesNotShowThePassword(t *testing.T) {
	const password = "a \"b/c\" é&d"
	down := errors.New("down")
	for _, shown := range []string{password, fmt.Sprintf("%q", password), url.QueryEscape(password), url.PathEscape(password)} {
		s := domaintest.New(t, func(c *domaintest.Config) {
			c.Accounts.PasswordPolicy = func(context.Context, string, accounts.PasswordOwner) error {
				return fmt.Errorf("asking about %s: %w", shown, down)
			}
		})
		_, err := s.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: password})
		if !errors.Is(err, down) || err.Error() != "accounts: the password policy failed (its error contains the password)" {
			t.Errorf("%s: %v", shown, err)
		}
	}
}

// TestAPasswordPolicyThatPanics fails with an error that doesn't show the password.
func TestAPasswordPolicyThatPanics(t *testing.T) {
	for value, want := range map[string]string{
		"correct horse": "accounts: the password policy failed (its error contains the password)",
		"at the disco":  "accounts: the password policy panicked: at the disco\n",
	} {
		s := domaintest.New(t, func(c *domaintest.Config) {
			c.Accounts.PasswordPolicy = func(context.Context, string, accounts.PasswordOwner) error { panic(value) }
		})
		_, err := s.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", value, err)
		}
		if _, err := s.Accounts.Find(ctx, "alice.test"); !errors.Is(err, accounts.ErrNotFound) {
			t.Errorf("%s: the account: %v", value, err)
		}
	}
}
