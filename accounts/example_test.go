package accounts_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
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
	fmt.Println(errors.Is(err, accounts.ErrHandleNotAvailable), err)
	// Output:
	// alice.test alice@example.com plc <nil>
	// true Handle already taken: alice.test
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
