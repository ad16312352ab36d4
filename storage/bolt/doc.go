// Package bolt is a storage backend in one file of this machine, for servers that
// are one process: bbolt, an embedded B+ tree with ACID transactions.
//
// Updates that arrive while another is being written share the next transaction and so
// the next fsync; nobody waits for company. A closure that fails costs its neighbours nothing.
package bolt
