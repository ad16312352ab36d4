package bolt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/internal/kv"
	"github.com/gatehouse-at/gatehouse/storage/internal/nested"
)

// ErrLocked is returned by [Open] when another process, or another store of this one, has the file
// open.
var ErrLocked = errors.New("bolt: file is in use by another process")

// metaBucket holds the definitions of the tables by name. No table can have this name.
const metaBucket = "_tables"

// Store is a store in one file. It implements [storage.Store].
type Store struct {
	db     *bbolt.DB
	nested *nested.Guard
	tables atomic.Pointer[kv.Tables]

	define  chan struct{} // holds a token while no Define runs
	queue   chan *update
	mu      sync.RWMutex // guards running.Add against Close
	running sync.WaitGroup
	closed  chan struct{}
	stopped chan struct{}
}

// Open opens the file at a path, and creates the file (mode 0600) and its directory if they don't
// exist. It returns [ErrLocked], without waiting, if the file is open already.
func Open(path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("bolt: %w", err)
	}
	// Each commit writes the list of free pages. bbolt's other kind of list sorts it for that, which
	// takes longer than all else once there are some thousands.
	db, err := openFile(path, &bbolt.Options{FreelistType: bbolt.FreelistArrayType, InitialMmapSize: reserve(path)})
	if err != nil {
		return nil, err
	}
	s := &Store{
		db: db, nested: nested.New(), define: make(chan struct{}, 1),
		queue: make(chan *update), closed: make(chan struct{}), stopped: make(chan struct{}),
	}
	s.define <- struct{}{}
	tables, err := loadTables(db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.tables.Store(&tables)
	go s.commit()
	return s, nil
}

// reserve returns how much address space to map for the file. When a file outgrows its map, writers
// wait for all readers before it is mapped again, so the map is twice as large as the file is now,
// and at least a gigabyte. This costs no memory.
func reserve(path string) int {
	if runtime.GOOS == "windows" || strconv.IntSize < 64 {
		return 0 // Windows makes the file as large as the map, and 32 bits have no address space to spare
	}
	var size int64
	if info, err := os.Stat(path); err == nil {
		size = info.Size()
	}
	return int(max(1<<30, 2*size))
}

func loadTables(db *bbolt.DB) (kv.Tables, error) {
	tables := kv.Tables{}
	err := db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket([]byte(metaBucket))
		if meta == nil {
			return nil
		}
		return meta.ForEach(func(name, def []byte) error {
			var t storage.Table
			if err := json.Unmarshal(def, &t); err != nil {
				return fmt.Errorf("bolt: the definition of table %s is damaged: %w", name, err)
			}
			tables[t.Name] = t
			return nil
		})
	})
	return tables, err
}

// begin adds a caller, for which Close will wait.
func (s *Store) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	select {
	case <-s.closed:
		return storage.ErrClosed
	default:
	}
	s.running.Add(1)
	return nil
}

// Define implements [storage.Store]. It waits for its turn like an Update, and can share a
// transaction with Updates.
func (s *Store) Define(ctx context.Context, tables ...storage.Table) error {
	if err := s.nested.Check(); err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.running.Done()
	select {
	case <-s.define:
		defer func() { s.define <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	old := *s.tables.Load()
	if old.Include(tables) {
		return nil
	}
	defs, err := old.Define(tables...)
	if err != nil {
		return err
	}
	changed := old.Changes(defs)
	err = s.inTurn(ctx, func(btx *bbolt.Tx) (outcome, error) {
		return outcome{dirty: true, broken: writeTables(btx, changed)}, nil
	})
	if err == nil {
		s.tables.Store(&defs)
	}
	return err
}

// writeTables creates the buckets of tables and stores their definitions.
func writeTables(btx *bbolt.Tx, tables []storage.Table) error {
	meta, err := btx.CreateBucketIfNotExists([]byte(metaBucket))
	if err != nil {
		return unavailable("defining tables", err)
	}
	for _, t := range tables {
		def, err := json.Marshal(t)
		if err != nil {
			return err
		}
		err = meta.Put([]byte(t.Name), def)
		for _, b := range kv.Buckets(t) {
			if err == nil {
				_, err = btx.CreateBucketIfNotExists([]byte(b))
			}
		}
		if err != nil {
			return unavailable("defining tables", err)
		}
	}
	return nil
}

// Tables implements [storage.Store].
func (s *Store) Tables(ctx context.Context) ([]storage.Table, error) {
	if err := s.nested.Check(); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.running.Done()
	return s.tables.Load().List(), nil
}

// View implements [storage.Store].
func (s *Store) View(ctx context.Context, fn func(storage.Tx) error) error {
	id, err := s.nested.Enter()
	if err != nil {
		return err
	}
	defer s.nested.Leave(id)
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.running.Done()
	tables := *s.tables.Load() // before the snapshot, so that it has their buckets
	btx, err := s.db.Begin(false)
	if err != nil {
		return fmt.Errorf("bolt: %w", err)
	}
	defer btx.Rollback() //nolint:errcheck // a read transaction has nothing to lose
	tx := kv.NewTx(ctx, tables, reader{btx}, false)
	defer tx.Finish() //nolint:errcheck // ends it on a panic too
	return fn(tx)
}

// Snapshot writes a consistent copy of the file to w while the store is in use. The copy can be
// opened with [Open]. Updates continue meanwhile, but the pages that they replace are kept until
// Snapshot returns, so that a slow w makes the file grow. Inside a transaction of the store,
// Snapshot returns [storage.ErrNested].
func (s *Store) Snapshot(ctx context.Context, w io.Writer) error {
	if err := s.nested.Check(); err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.running.Done()
	out := &snapshotWriter{ctx: ctx, w: w}
	err := s.db.View(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(out)
		return err
	})
	if out.err != nil {
		err = out.err
	}
	if err != nil {
		return fmt.Errorf("bolt: snapshot: %w", err)
	}
	return nil
}

// snapshotWriter writes until a context is done. It keeps the error, since bbolt returns only its
// text.
type snapshotWriter struct {
	ctx context.Context
	w   io.Writer
	err error
}

func (s *snapshotWriter) Write(b []byte) (n int, err error) {
	if err = s.ctx.Err(); err == nil {
		n, err = s.w.Write(b)
	}
	s.err = err
	return n, err
}

// SingleProcess implements [storage.SingleProcess].
func (s *Store) SingleProcess() {}

// Close implements [storage.Store].
func (s *Store) Close() error {
	if err := s.nested.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	select {
	case <-s.closed:
		s.mu.Unlock()
		return nil
	default:
	}
	close(s.closed)
	s.mu.Unlock()
	s.running.Wait()
	close(s.queue)
	<-s.stopped
	return s.db.Close()
}

// reader implements [kv.Reader] with a bbolt transaction. It copies what bbolt returns, which is
// valid only until the transaction ends.
type reader struct{ tx *bbolt.Tx }

func (r reader) Get(bucket, key string) ([]byte, bool) {
	v := r.tx.Bucket([]byte(bucket)).Get([]byte(key))
	return bytes.Clone(v), v != nil
}

func (r reader) Ascend(bucket, from string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		c := r.tx.Bucket([]byte(bucket)).Cursor()
		for k, v := c.Seek([]byte(from)); k != nil; k, v = c.Next() {
			if !yield(string(k), bytes.Clone(v)) {
				return
			}
		}
	}
}

func (r reader) Descend(bucket, before string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		c := backward{Cursor: r.tx.Bucket([]byte(bucket)).Cursor()}
		for k, v := c.seek(before); k != nil; k, v = c.prev() {
			if !yield(string(k), bytes.Clone(v)) {
				return
			}
		}
	}
}

// backward is a cursor that moves towards the beginning of a bucket. An Update can share a
// transaction with others that have deleted all keys of a page, which stays until the commit. There,
// bbolt's own Prev returns nothing, as if it had come to the beginning, and Last may never return.
type backward struct {
	*bbolt.Cursor
	bound []byte // the keys at and behind it are done
}

// seek returns the last key before another one; the last of all if that is empty.
func (c *backward) seek(before string) (k, v []byte) {
	c.bound = []byte(before)
	if before == "" {
		c.bound = []byte{0xff} // which is behind all keys, since they are UTF-8
	}
	c.Seek(c.bound)
	return c.prev()
}

// prev returns the key before the last one that was returned.
func (c *backward) prev() (k, v []byte) {
	k, v = c.Prev()
	if k == nil {
		first, _ := c.Bucket().Cursor().First() // which passes by empty pages
		for k == nil && first != nil && bytes.Compare(first, c.bound) < 0 {
			k, v = c.Prev()
		}
	}
	c.bound = k
	return k, v
}
