package oauth_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// A program lists the applications that have access to an account, and ends the access of one.
func Example() {
	ctx := context.Background()
	srv, err := gatehouse.New(ctx, memory.New(), gatehouse.Config{
		Hostname: "localhost", HandleDomains: []string{".test"}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	alice, err := srv.SignIn.SignUp(ctx, accounts.CreateParams{Handle: "alice.test", Email: "alice@example.com", Password: "correct horse"})
	if err != nil {
		log.Fatal(err)
	}
	apps, err := srv.OAuth.Applications(ctx, alice.Account.DID)
	if err != nil {
		log.Fatal(err)
	}
	for _, app := range apps {
		fmt.Println(app.Host, app.Scope, app.LastUsedAt)
	}
	if err := srv.OAuth.EndApplication(ctx, alice.Account.DID, "https://app.example.com/client.json"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(apps), "applications")
	// Output: 0 applications
}
