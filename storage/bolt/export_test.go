package bolt

import "go.etcd.io/bbolt"

// Interfere has functions called when a file has been opened and not yet locked, and before a compacted
// copy takes the place of a file. It returns a function that ends this.
func Interfere(whenOpened, whenReplacing func()) (end func()) {
	opened, replacing = whenOpened, whenReplacing
	return func() { opened, replacing = func() {}, func() {} }
}

// Commits returns a number that grows by one with each transaction that is written to the file.
func (s *Store) Commits() (id int) {
	_ = s.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil })
	return id
}

// Synced reports whether each commit is flushed to the disk before it is acknowledged.
func (s *Store) Synced() bool { return !s.db.NoSync && !s.db.NoGrowSync }

// HoldWriter blocks all writers until release is called.
func (s *Store) HoldWriter() (release func(), err error) {
	tx, err := s.db.Begin(true)
	if err != nil {
		return nil, err
	}
	return func() { _ = tx.Rollback() }, nil
}

// Fill returns which part of a bucket's leaf pages is in use.
func (s *Store) Fill(bucket string) (fill float64) {
	_ = s.db.View(func(tx *bbolt.Tx) error {
		stats := tx.Bucket([]byte(bucket)).Stats()
		fill = float64(stats.LeafInuse) / float64(stats.LeafAlloc)
		return nil
	})
	return fill
}

// Taken returns how many bytes of the file have ever been used. The file itself grows in steps of
// 16 MiB.
func (s *Store) Taken() (size int64) {
	_ = s.db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil })
	return size
}
