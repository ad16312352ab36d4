package handle_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// A policy that refuses more than the default does.
func ExamplePolicy() {
	policy := func(ctx context.Context, c handle.Candidate) error {
		if c.Label == "mascot" {
			return accounts.Refuse(handle.ErrNotAvailable, "There is only one mascot")
		}
		return handle.DefaultPolicy(ctx, c)
	}

	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	srv, err := gatehouse.New(ctx, store, gatehouse.Config{Hostname: "localhost", HandleDomains: []string{".test"}, Handles: gatehouse.Handles{Policy: policy}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	for _, name := range []string{"mascot.test", "admin.test"} {
		_, err := srv.Accounts.Create(ctx, accounts.CreateParams{Handle: name, Email: "alice@example.com", Password: "correct horse"})
		fmt.Println(name, err)
	}
	a, err := srv.Accounts.Handles().Available(ctx, "mascot.test")
	fmt.Println(a.Available, a.Suggestions[0].Handle, err)
	// Output:
	// mascot.test There is only one mascot
	// admin.test Reserved handle
	// false mascot-1.test <nil>
}

// A policy with a changed list of words, and without one of slurs.
func ExampleNotReserved() {
	words := slices.DeleteFunc(handle.ReservedWords(), func(word string) bool { return word == "academy" })
	policy := handle.NotReserved(append(words, "our-brand")...)
	for _, label := range []string{"academy", "admin", "ourbrand"} {
		fmt.Println(label, policy(context.Background(), handle.Candidate{Label: label, Domain: ".test"}))
	}
	// Output:
	// academy <nil>
	// admin Reserved handle
	// ourbrand Reserved handle
}
