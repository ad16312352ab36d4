package apppasswords_test

import (
	"context"
	"fmt"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/signin"
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
	a, _ := srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"})
	_, password, _ := srv.AppPasswords.Create(ctx, a.DID, "phone", false)
	login := signin.Attempt{Identifier: "alice.test", Password: password}
	tokens, err := srv.SignIn.SignIn(ctx, login)
	fmt.Println(tokens.Session.Scope, err)
	_ = srv.AppPasswords.Revoke(ctx, a.DID, "phone")
	_, err = srv.SignIn.SignIn(ctx, login)
	fmt.Println(err)
	// Output:
	// com.atproto.appPass <nil>
	// Invalid identifier or password
}
