package storagetest_test

import (
	"testing"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/memory"
	"github.com/gatehouse-at/gatehouse/storage/storagetest"
)

// In the test of a backend, use its own Open in place of memory.New.
func ExampleRun() {
	_ = func(t *testing.T) {
		storagetest.Run(t, storagetest.Backend{
			Open: func(t *testing.T) storage.Store { return memory.New() },
		})
	}
}
