package postgres_test

import (
	"context"
	"fmt"
	"os"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/postgres"
)

type note struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

var notes = storage.NewCollection("notes", func(n *note) string { return n.ID })

func ExampleOpen() {
	ctx := context.Background()
	store, err := postgres.Open(ctx, os.Getenv("DATABASE_URL"), postgres.WithSchema("notes"), postgres.WithMaxConns(8))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	if err := storage.Define(ctx, store, notes); err != nil {
		fmt.Println(err)
		return
	}
	err = store.Update(ctx, func(tx storage.Tx) error { return notes.Put(tx, &note{ID: "1", Text: "kept"}) })
	fmt.Println(err)
}
