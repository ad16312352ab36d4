// Package storagetest checks that a storage backend keeps the contract of package
// storage, sentence by sentence. Every backend of Gatehouse runs it; a backend of
// your own should too:
//
//	func TestContract(t *testing.T) {
//		storagetest.Run(t, storagetest.Backend{
//			Open: func(t *testing.T) storage.Store { return mybackend.New() },
//		})
//	}
package storagetest
