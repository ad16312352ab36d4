// Package storagetest tests whether a storage backend fulfills the contract of package storage,
// sentence by sentence. All backends of Gatehouse are tested with it, and others should be:
//
//	func TestContract(t *testing.T) {
//		storagetest.Run(t, storagetest.Backend{
//			Open: func(t *testing.T) storage.Store { return mybackend.New() },
//		})
//	}
package storagetest
