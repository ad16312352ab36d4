package did_test

import (
	"context"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

func ExamplePLC() {
	ctx := context.Background()
	directory, err := did.NewLocal(ctx, memory.New(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	server, _ := atcrypto.GeneratePrivateKeyK256()
	account, _ := atcrypto.GeneratePrivateKeyK256()
	public, _ := account.PublicKey()
	plc := &did.PLC{Directory: directory, Signer: server, Endpoint: "https://pds.example.com"}

	minted, _ := plc.Mint(ctx, did.MintParams{Handle: "alice.example.com", SigningKey: public.DIDKey()})
	fmt.Println(plc.Submit(ctx, minted.DID, minted.Operation))
	fmt.Println(plc.Change(ctx, minted.DID, func(op *did.Operation) { op.SetHandle("alice2.example.com") }))
	data, _ := plc.Data(ctx, minted.DID)
	fmt.Println(data.Handle())
	// Output:
	// <nil>
	// <nil>
	// alice2.example.com
}
