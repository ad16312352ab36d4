package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
	"github.com/gatehouse-at/gatehouse/storage"
)

func TestRoundTrips(t *testing.T) {
	s := open(t, pgcluster.URL(t))
	defer s.Close()
	ctx := context.Background()
	type note struct{ ID string }
	notes := storage.NewCollection("notes", func(n *note) string { return n.ID }) // without indexes
	if err := storage.Define(ctx, s, items, notes); err != nil {
		t.Fatal(err)
	}
	err := s.Update(ctx, func(tx storage.Tx) error {
		return errors.Join(items.Insert(tx, itemNo(1)), items.Insert(tx, itemNo(2)))
	})
	if err != nil {
		t.Fatal(err)
	}
	one, two, n := itemNo(1), itemNo(2), 2
	both := func(tx storage.Tx) error {
		if err := storage.Prefetch(tx, items.Ref(one.ID), items.RefBy("owner", two.Owner)); err != nil {
			return err
		}
		_, err1 := items.Get(tx, one.ID)
		_, err2 := items.GetBy(tx, "owner", two.Owner)
		_, err3 := items.Get(tx, two.ID) // known from the second
		return errors.Join(err1, err2, err3)
	}
	for _, c := range []struct {
		name string
		want uint64
		run  func() error
	}{
		{"a View of nothing", 0, func() error { return s.View(ctx, func(storage.Tx) error { return nil }) }},
		{"a View of two documents", 2, func() error { return s.View(ctx, both) }},
		{"a View of two documents that it declares", 1, func() error {
			return storage.ViewOf(ctx, s, []storage.Ref{items.Ref(one.ID), items.RefBy("owner", two.Owner)}, func(tx storage.Tx) error {
				_, err1 := items.Get(tx, one.ID)
				_, err2 := items.GetBy(tx, "owner", two.Owner)
				return errors.Join(err1, err2)
			})
		}},
		{"a View that declares nothing", 0, func() error {
			return storage.ViewOf(ctx, s, nil, func(storage.Tx) error { return nil })
		}},
		{"an Update that does nothing", 0, func() error { return s.Update(ctx, func(storage.Tx) error { return nil }) }},
		{"an Update that only inserts", 1, func() error {
			return s.Update(ctx, func(tx storage.Tx) error {
				n++
				return errors.Join(items.Insert(tx, itemNo(n)), notes.Put(tx, &note{"a"}), notes.Delete(tx, "b"))
			})
		}},
		{"an Update that replaces and deletes documents without having read them", 2, func() error {
			return s.Update(ctx, func(tx storage.Tx) error {
				return errors.Join(items.Put(tx, one), items.Put(tx, two), items.Delete(tx, "nothing"))
			})
		}},
		{"an Update that reads two documents and writes one", 2, func() error {
			return s.Update(ctx, func(tx storage.Tx) error { return errors.Join(both(tx), items.Put(tx, one)) })
		}},
		{"an Update that finds one after the other and writes", 3, func() error {
			return s.Update(ctx, func(tx storage.Tx) error {
				_, err1 := items.GetBy(tx, "owner", one.Owner)
				_, err2 := items.Get(tx, two.ID)
				return errors.Join(err1, err2, items.Put(tx, one))
			})
		}},
		{"an Update that is refused after one read", 2, func() error {
			err := s.Update(ctx, func(tx storage.Tx) error { return errors.Join(both(tx), errRefused) })
			if errors.Is(err, errRefused) {
				err = nil
			}
			return err
		}},
		{"a page of a scan", 2, func() error {
			return s.View(ctx, func(tx storage.Tx) error {
				page, _, err := items.Page(tx, storage.Range{Limit: 1})
				if len(page) != 1 {
					t.Errorf("the page has %d documents", len(page))
				}
				return err
			})
		}},
	} {
		least := ^uint64(0) // statements are prepared once, and an idle connection is checked
		for range 5 {
			before := s.Stats().RoundTrips
			if err := c.run(); err != nil {
				t.Fatal(err)
			}
			for s.Stats().Busy > 0 { // rolling back in the background
			}
			least = min(least, s.Stats().RoundTrips-before)
		}
		if least != c.want {
			t.Errorf("%s takes %d round trips, want %d", c.name, least, c.want)
		}
	}
}

var errRefused = errors.New("refused")
