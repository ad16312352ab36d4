// Package bolt is a storage backend that keeps everything in one local file, for servers that run
// as one process. It is based on bbolt, an embedded B+ tree with ACID transactions.
//
// An Update returns when its writes are on disk. Updates that arrive while others are being written
// share the next transaction, and so the next fsync; there is no artificial delay. A closure that
// fails doesn't affect the others. When the file can't be written, such as on a full disk, all
// Updates that share the transaction return [storage.ErrUnavailable]; the store works again once
// the file can be written.
//
// The file is locked while it is open: to other processes, [Open] returns [ErrLocked].
// [Store.Snapshot] writes a consistent copy of it while it is in use, for a backup.
//
// The space of what was deleted is used again, but the file doesn't get smaller. [Compact] replaces a
// file that isn't in use by one without unused space.
package bolt
