package apppasswords_test

import (
	"context"
	"fmt"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// A session of an app password ends when the app password is revoked.
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
	alice, err := srv.Accounts.Create(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, password, err := srv.AppPasswords.Create(ctx, alice.DID, "phone", false)
	if err != nil {
		fmt.Println(err)
		return
	}
	attempt := signin.Attempt{Identifier: "alice.test", Password: password}
	tokens, err := srv.SignIn.SignIn(ctx, attempt)
	fmt.Println(tokens.Session.Scope, err)

	if err := srv.AppPasswords.Revoke(ctx, alice.DID, "phone"); err != nil {
		fmt.Println(err)
		return
	}
	_, err = srv.Sessions.Verify(ctx, sessions.Bearer(tokens.AccessJWT))
	fmt.Println(err)
	_, err = srv.SignIn.SignIn(ctx, attempt)
	fmt.Println(err)
	// Output:
	// com.atproto.appPass <nil>
	// Token has been revoked
	// Invalid identifier or password
}
