package storage_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

type cachedDoc struct {
	ID   string   `json:"id"`
	N    int      `json:"n"`
	Tags []string `json:"tags,omitempty"`
}

// TestCache checks that a cache answers what the store holds, whatever it has seen before.
func TestCache(t *testing.T) {
	ctx := context.Background()
	docs := storage.NewCollection("docs", func(d *cachedDoc) string { return d.ID })
	s := memory.New()
	defer s.Close()
	if err := storage.Define(ctx, s, docs); err != nil {
		t.Fatal(err)
	}
	cache := storage.NewCache(docs, 2)
	put := func(d *cachedDoc) {
		t.Helper()
		if err := s.Update(ctx, func(tx storage.Tx) error { return docs.Put(tx, d) }); err != nil {
			t.Fatal(err)
		}
	}
	get := func(id string) (d *cachedDoc, err error) {
		return d, errors.Join(s.View(ctx, func(tx storage.Tx) error {
			d, err = cache.Get(tx, id)
			return nil
		}), err)
	}
	if _, err := get("a"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("before there is one: %v", err)
	}
	for n := range 3 { // a is written again, and pushed out by the others
		put(&cachedDoc{ID: "a", N: n, Tags: []string{"x"}})
		for range 2 {
			d, err := get("a")
			if err != nil || d.N != n || len(d.Tags) != 1 {
				t.Fatalf("after %d was written: %+v, %v", n, d, err)
			}
			d.N, d.Tags = -1, nil // the copy is the caller's own
		}
		for i := range n {
			other := "other" + strconv.Itoa(i)
			put(&cachedDoc{ID: other, N: i})
			if d, err := get(other); err != nil || d.N != i {
				t.Errorf("%s: %+v, %v", other, d, err)
			}
		}
	}
	// What a transaction has written itself is read in it, and not remembered if it fails.
	failed := errors.New("failed")
	err := s.Update(ctx, func(tx storage.Tx) error {
		if err := docs.Put(tx, &cachedDoc{ID: "a", N: 99}); err != nil {
			return err
		}
		if d, err := cache.Get(tx, "a"); err != nil || d.N != 99 {
			t.Errorf("inside the transaction: %+v, %v", d, err)
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if d, err := get("a"); err != nil || d.N != 2 {
		t.Errorf("after the transaction failed: %+v, %v", d, err)
	}
	if err := s.Update(ctx, func(tx storage.Tx) error { return docs.Delete(tx, "a") }); err != nil {
		t.Fatal(err)
	}
	if d, err := get("a"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("after it was deleted: %+v, %v", d, err)
	}
	if err := s.Update(ctx, func(tx storage.Tx) error {
		return tx.Put("docs", storage.Document{Key: "a", Value: []byte(`{"_v":7,"id":"a"}`)})
	}); err != nil {
		t.Fatal(err)
	}
	if d, err := get("a"); err == nil {
		t.Errorf("a document of a later version: %+v", d)
	}
}
