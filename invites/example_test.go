package invites_test

import (
	"context"
	"fmt"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// A code with one use lets in one account.
func ExampleService_Create() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{
		Hostname: "localhost", HandleDomains: []string{".test"}, SignUp: gatehouse.SignUp{Mode: gatehouse.SignUpInvites},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	made, err := srv.Invites.Create(ctx, 1, 1) // one code with one use
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, label := range []string{"alice", "bob"} {
		_, err := srv.Accounts.Create(ctx, accounts.CreateParams{
			Handle: label + ".test", Email: label + "@example.com", Password: "correct horse", Ticket: made[0].Codes[0],
		})
		fmt.Println(label, err)
	}
	// Output:
	// alice <nil>
	// bob Provided invite code not available
}
