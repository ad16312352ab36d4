package bolt

import "go.etcd.io/bbolt"

// Commits returns a number that grows by one with each transaction written to the file.
func (s *Store) Commits() (id int) {
	_ = s.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil })
	return id
}
