package storage_test

import (
	"context"
	"errors"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

func TestAPreconditionIsReadInTheTransaction(t *testing.T) {
	type doc struct{ Name string }
	things := storage.NewCollection("things", func(d *doc) string { return d.Name })
	raw := memory.New()
	defer raw.Close()
	s := storage.Conditional(raw)
	if _, single := s.(storage.SingleProcess); !single {
		t.Error("the store is no longer known for that of a single process")
	}
	if _, single := storage.Conditional(struct{ storage.Store }{raw}).(storage.SingleProcess); single {
		t.Error("any store is taken for that of a single process")
	}
	if err := storage.Define(t.Context(), s, things); err != nil {
		t.Fatal(err)
	}
	errGone := errors.New("the pass is gone")
	ctx := storage.WithPrecondition(t.Context(), func(tx storage.Tx) error {
		_, err := things.Get(tx, "pass")
		if errors.Is(err, storage.ErrNotFound) {
			return errGone
		}
		return err
	})
	put := func(ctx context.Context, s storage.Store, name string) error {
		return s.Update(ctx, func(tx storage.Tx) error { return things.Put(tx, &doc{name}) })
	}
	if err := put(ctx, s, "early"); !errors.Is(err, errGone) {
		t.Errorf("without the pass: %v", err)
	}
	if err := put(t.Context(), s, "pass"); err != nil {
		t.Errorf("without a precondition: %v", err)
	}
	if err := put(ctx, s, "in time"); err != nil {
		t.Errorf("with the pass: %v", err)
	}
	if err := s.Update(t.Context(), func(tx storage.Tx) error { return things.Delete(tx, "pass") }); err != nil {
		t.Fatal(err)
	}
	if err := put(context.WithoutCancel(ctx), s, "late"); !errors.Is(err, errGone) {
		t.Errorf("after the pass was deleted: %v", err)
	}
	if err := put(storage.WithoutPrecondition(ctx), s, "later step"); err != nil {
		t.Errorf("a later step: %v", err)
	}
	if err := put(ctx, raw, "another store"); err != nil {
		t.Errorf("a store without preconditions: %v", err)
	}
	_ = raw.View(t.Context(), func(tx storage.Tx) error {
		for _, name := range []string{"early", "late"} {
			if _, err := things.Get(tx, name); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("%s was written", name)
			}
		}
		return nil
	})
}
