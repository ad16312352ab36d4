// Package storagetest tests whether a storage backend fulfills the contract of package storage,
// sentence by sentence. All backends of Gatehouse are tested with it, and others should be:
//
//	func TestContract(t *testing.T) {
//		storagetest.Run(t, storagetest.Backend{
//			Open: func(t *testing.T) storage.Store { return mybackend.New() },
//		})
//	}
//
// A backend that runs Updates at the same time should say so in [Backend.Concurrent]: then the suite
// runs them in the middle of each other, at the points where one could miss what the other does.
package storagetest
