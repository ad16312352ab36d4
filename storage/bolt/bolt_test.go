package bolt_test

import (
	"path/filepath"
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/bolt"
	"github.com/gatehouse-at/gatehouse/storage/storagetest"
)

func open(t *testing.T, path string) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	paths := map[storage.Store]string{}
	storagetest.Run(t, storagetest.Backend{
		Open: func(t *testing.T) storage.Store {
			path := filepath.Join(t.TempDir(), "store.db")
			s := open(t, path)
			paths[s] = path
			return s
		},
		Reopen: func(t *testing.T, s storage.Store) storage.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, paths[s])
		},
	})
}
