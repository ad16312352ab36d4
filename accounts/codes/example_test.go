package codes_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// A code is issued and redeemed in transactions of the caller. What it allows happens in the
// transaction that uses it up.
func Example() {
	ctx, store := context.Background(), memory.New()
	defer store.Close()
	if err := storage.Define(ctx, store, codes.Tables()...); err != nil {
		fmt.Println(err)
		return
	}
	book, err := codes.New(codes.Config{Secret: make([]byte, 32)}) // a secret of your own
	if err != nil {
		fmt.Println(err)
		return
	}
	const alice = syntax.DID("did:plc:alice")

	nonce, err := book.Nonce()
	if err != nil {
		fmt.Println(err)
		return
	}
	var issued codes.Issued
	err = store.Update(ctx, func(tx storage.Tx) (err error) {
		issued, err = book.Issue(tx, alice, codes.DeleteAccount, nonce)
		return err
	})
	fmt.Println("good for", issued.Left, err)

	remove := func(typed string) error {
		code, err := codes.Parse(typed)
		if err != nil {
			return err
		}
		return storage.Decide(ctx, store, func(tx storage.Tx) (refusal, err error) {
			if refusal, err := book.Redeem(tx, alice, codes.DeleteAccount, code); refusal != nil || err != nil {
				return refusal, err
			}
			fmt.Println("deleting the account") // an error here would leave the code as it was
			return nil, codes.Void(tx, alice)
		})
	}
	fmt.Println(remove("Your code: " + string(issued.Code)))
	fmt.Println(errors.Is(remove(string(issued.Code)), codes.ErrInvalid))
	// Output:
	// good for 15m0s <nil>
	// deleting the account
	// <nil>
	// true
}
