package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

func ExampleService_Create() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	p := accounts.CreateParams{Handle: "Alice.test", Email: "Alice@example.com", Password: "correct horse"}
	a, err := srv.Accounts.Create(ctx, p)
	fmt.Println(a.Handle, a.Email, a.DID.Method(), err)
	_, err = srv.Accounts.Create(ctx, p)
	fmt.Println(errors.Is(err, handle.ErrNotAvailable), err)
	// Output:
	// alice.test alice@example.com plc <nil>
	// true Handle already taken: alice.test
}

// A policy that refuses passwords that are easy to guess.
func ExamplePasswordPolicy() {
	policy := func(_ context.Context, password string, owner accounts.PasswordOwner) error {
		user, _, _ := strings.Cut(owner.Email, "@")
		if p := strings.ToLower(password); strings.Contains(p, user) || strings.Contains(p, owner.Handle.String()) {
			return accounts.Refuse(accounts.ErrInvalidPassword, "A password must not contain your name")
		}
		return nil
	}

	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}, Passwords: gatehouse.Passwords{Policy: policy}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	_, err = srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "al.test", Email: "alice@example.com", Password: "Alice1234"})
	fmt.Println(err)
	_, err = srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "Alice1234"})
	fmt.Println(errors.Is(err, accounts.ErrInvalidPassword), err)
	// Output:
	// Handle too short
	// true A password must not contain your name
}

// A policy that accepts the addresses of one company.
func ExampleEmailPolicy() {
	var policy accounts.EmailPolicy = func(_ context.Context, address string) error {
		if !strings.HasSuffix(address, "@example.com") {
			return accounts.Refuse(accounts.ErrInvalidEmail, "Use your address at Example")
		}
		return nil
	}
	for _, address := range []string{"alice@example.com", "alice@example.org"} {
		fmt.Println(policy(context.Background(), address))
	}
	// Output:
	// <nil>
	// Use your address at Example
}

func ExampleNormalizeIdentifier() {
	for _, pasted := range []string{"@Alice.test", "https://bsky.app/profile/alice.test", "\u202Aalice.test\u202C", " Alice@Example.com"} {
		fmt.Println(accounts.NormalizeIdentifier(pasted))
	}
	// Output:
	// alice.test
	// alice.test
	// alice.test
	// alice@example.com
}
