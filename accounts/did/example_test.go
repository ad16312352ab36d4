package did_test

import (
	"context"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

func ExampleRegistrar() {
	ctx := context.Background()
	directory, err := did.NewLocal(ctx, memory.New(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	server, _ := atcrypto.GeneratePrivateKeyK256()
	account, _ := atcrypto.GeneratePrivateKeyK256()
	public, _ := account.PublicKey()
	registrar := &did.Registrar{Directory: directory, Signer: server, PublicURL: "https://pds.example.com"}

	id, genesis, _ := registrar.Mint(ctx, did.MintParams{Handle: "alice.example.com", SigningKey: public.DIDKey()})
	fmt.Println(registrar.Submit(ctx, id, genesis))
	fmt.Println(registrar.Change(ctx, id, func(op *did.Operation) { op.SetHandle("alice2.example.com") }))
	data, _ := registrar.Data(ctx, id)
	fmt.Println(data.Handle())
	// Output:
	// <nil>
	// <nil>
	// alice2.example.com
}
