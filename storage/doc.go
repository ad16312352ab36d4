// Package storage is the contract between the domains of Gatehouse and the
// database underneath, and the typed collections through which the domains use it.
//
// A [Store] holds JSON documents in named tables. A document has one key and, for
// each index that its table declares, no value, one or several. The domain
// computes the values; the store keeps them, refuses duplicates in unique indexes,
// and scans in their order. All work happens in transactions, as closures:
//
//	err := store.Update(ctx, func(tx storage.Tx) error {
//		a, err := accounts.Get(tx, did)
//		if err != nil {
//			return err
//		}
//		a.Email = email
//		return accounts.Put(tx, a)
//	})
//
// Update is serializable: whatever a closure read is still true when its writes
// become visible. So a rule such as "a code with one use is used once" is a read
// and a write in one closure, with no lock anywhere.
//
// A domain never handles keys or bytes: it declares a [Collection] of a struct
// type, and reads and writes through that. Anything may declare collections: a
// program that embeds Gatehouse can keep its own beside those of the library and
// change both in one transaction.
//
// # Backends
//
// storage/memory and storage/bolt are embedded; storage/postgres serves several
// processes. To write another, implement [Store] and [Tx] as their comments say,
// and run storagetest.Run in a test of yours: it checks every sentence of the
// contract.
package storage
