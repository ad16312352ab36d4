// Package secrets keeps the server's own keys in its store: made once, found
// again after a restart, and the same for every process on one database.
package secrets

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/gatehouse-at/gatehouse/storage"
)

type secret struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

var secrets = storage.NewCollection("secrets", func(s *secret) string { return s.Name }).OwnedBy(storage.OwnerGatehouse)

// Tables are the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{secrets} }

// Load returns the secret of a name. The first call ever makes it with the given
// function and stores it; of several first calls one wins.
func Load(ctx context.Context, store storage.Store, name string, generate func() ([]byte, error)) ([]byte, error) {
	var value []byte
	find := func(tx storage.Tx) error {
		s, err := secrets.Get(tx, name)
		if err == nil {
			value = s.Value
		}
		return err
	}
	err := store.View(ctx, find)
	if errors.Is(err, storage.ErrNotFound) {
		fresh, gerr := generate()
		if gerr != nil {
			return nil, fmt.Errorf("making the secret %s: %w", name, gerr)
		}
		err = store.Update(ctx, func(tx storage.Tx) error {
			if err := find(tx); !errors.Is(err, storage.ErrNotFound) {
				return err
			}
			value = fresh
			return secrets.Insert(tx, &secret{name, fresh})
		})
	}
	if err != nil {
		return nil, fmt.Errorf("loading the secret %s: %w", name, err)
	}
	return value, nil
}

// Random is a generate function for Load: n random bytes.
func Random(rand io.Reader, n int) func() ([]byte, error) {
	return func() ([]byte, error) {
		b := make([]byte, n)
		_, err := io.ReadFull(rand, b)
		return b, err
	}
}
