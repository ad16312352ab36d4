package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
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
