// Package storage defines what Gatehouse requires of a database, and the typed collections through
// which Gatehouse and the programs that embed it use one.
//
// A [Store] holds JSON documents in named tables. A document has one key and, in each index of its
// table, no value, one or several. The caller computes the values; the store keeps them, refuses
// duplicates in unique indexes, and scans in their order. All work happens in transactions, which
// are closures:
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
// Updates are serializable: whatever a closure has read is still true when its writes become
// visible. So a rule such as "a code can be used once" takes a read and a write in one closure, and
// no lock.
//
// Nobody handles bytes: a package declares a [Collection] of a struct type, and reads and writes
// through that. A program that embeds Gatehouse can declare its own collections beside those of
// Gatehouse, and change both in one transaction. Each table has an owner, so that two packages
// can't use one table by accident: see [Collection.OwnedBy].
//
// # Backends
//
// storage/memory and storage/bolt are embedded; storage/postgres serves several processes. To write
// another backend, implement [Store] and [Tx] as their comments say, and call storagetest.Run in a
// test: it checks every sentence of the contract. To recognize nested calls (see [ErrNested]), the
// backends of Gatehouse remember which goroutines are running a closure; the module
// github.com/petermattis/goid tells a goroutine's ID.
package storage
