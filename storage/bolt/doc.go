// Package bolt is a storage backend in one file of this machine, for servers that
// are one process: bbolt, an embedded B+ tree with ACID transactions.
//
// An Update returns when its writes are on the disk. Updates that arrive while
// others are being written share the next transaction and so the next fsync; nobody
// waits for company. A closure that fails costs its neighbours nothing. When the
// file can't be written, as on a full disk, all that shared the transaction get an
// error that is [storage.ErrUnavailable], and the store goes on once it can.
//
// The file is locked while it is open: other processes get [ErrLocked]. To back it
// up while it is in use, [Store.Snapshot] writes a consistent copy.
package bolt
