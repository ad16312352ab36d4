package memory_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/storage/storagetest"
)

func TestContract(t *testing.T) {
	storagetest.Run(t, storagetest.Backend{
		Open: func(t *testing.T) storage.Store { return memory.New() },
	})
}

type note struct {
	ID, Text string
}

var notes = storage.NewCollection("notes", func(n *note) string { return n.ID })

func ExampleNew() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	if err := storage.Define(ctx, store, notes); err != nil {
		fmt.Println(err)
	}
	err := store.Update(ctx, func(tx storage.Tx) error {
		return notes.Put(tx, &note{ID: "1", Text: "kept until the program ends"})
	})
	fmt.Println(err)
	err = store.View(ctx, func(tx storage.Tx) error {
		n, err := notes.Get(tx, "1")
		if err == nil {
			fmt.Println(n.Text)
		}
		return err
	})
	fmt.Println(err)
	// Output:
	// <nil>
	// kept until the program ends
	// <nil>
}
