// Package secrets keeps the server's own secrets in its store. Each is generated once, and is the
// same after a restart and for all processes that share the store.
package secrets

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/gatehouse-at/gatehouse/internal/k256"
	"github.com/gatehouse-at/gatehouse/storage"
)

type secret struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

var secrets = storage.NewCollection("secrets", func(s *secret) string { return s.Name }).OwnedBy(storage.OwnerGatehouse)

// Tables returns the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{secrets} }

// Load returns the secret of a name. If the store has none, Load calls generate and stores the
// result; if several calls do so at the same time, all return the secret of one of them.
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
			return nil, fmt.Errorf("generating secret %s: %w", name, gerr)
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
		return nil, fmt.Errorf("loading secret %s: %w", name, err)
	}
	return value, nil
}

// Random returns a generate function for [Load] that reads n bytes from rand.
func Random(rand io.Reader, n int) func() ([]byte, error) {
	return func() ([]byte, error) {
		b := make([]byte, n)
		_, err := io.ReadFull(rand, b)
		return b, err
	}
}

// K256 returns a generate function for [Load] that makes a private K-256 key from rand.
func K256(rand io.Reader) func() ([]byte, error) {
	return func() ([]byte, error) {
		key, err := k256.Generate(rand)
		if err != nil {
			return nil, err
		}
		return key.Bytes(), nil
	}
}
