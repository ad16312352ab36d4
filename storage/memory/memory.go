package memory

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"

	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/storage/internal/kv"
	"github.com/gatehouse-at/gatehouse/storage/internal/nested"
)

// Store is a store in memory. It implements [storage.Store].
type Store struct {
	nested *nested.Guard
	state  atomic.Pointer[state]
	writer chan struct{} // holds a token while nobody writes
	closed chan struct{}
	once   sync.Once
	views  sync.WaitGroup
	mu     sync.RWMutex // guards views.Add against Close
}

// state is one version of the store's contents. It is immutable.
type state struct {
	tables  kv.Tables
	numbers map[string]int // of the buckets, which differ only after a Define
	trees   []*tree        // by the number of the bucket; nil if nothing was written to it
}

type tree = btree.Map[string, []byte]

// New returns an empty store.
func New() *Store {
	s := &Store{nested: nested.New(), writer: make(chan struct{}, 1), closed: make(chan struct{})}
	s.writer <- struct{}{}
	s.state.Store(&state{})
	return s
}

// lock waits until nobody writes. The caller may write until it calls unlock.
func (s *Store) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.closed:
		return storage.ErrClosed
	default:
	}
	select {
	case <-s.writer:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed:
		return storage.ErrClosed
	}
}

func (s *Store) unlock() { s.writer <- struct{}{} }

// Define implements [storage.Store].
func (s *Store) Define(ctx context.Context, tables ...storage.Table) error {
	if err := s.nested.Check(); err != nil {
		return err
	}
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	old := s.state.Load()
	if old.tables.Include(tables) {
		return nil
	}
	defs, err := old.tables.Define(tables...)
	if err != nil {
		return err
	}
	s.state.Store(old.define(defs, old.tables.Changes(defs)))
	return nil
}

// define returns the state with other definitions, of which some have changed.
func (st *state) define(defs kv.Tables, changed []storage.Table) *state {
	n := len(st.numbers)
	for _, t := range changed {
		n += 1 + len(t.Indexes)
	}
	numbers := make(map[string]int, n)
	maps.Copy(numbers, st.numbers)
	for _, t := range changed {
		for _, b := range kv.Buckets(t) {
			if _, ok := numbers[b]; !ok {
				numbers[b] = len(numbers)
			}
		}
	}
	trees := make([]*tree, len(numbers))
	copy(trees, st.trees)
	return &state{tables: defs, numbers: numbers, trees: trees}
}

// Tables implements [storage.Store].
func (s *Store) Tables(ctx context.Context) ([]storage.Table, error) {
	if err := s.nested.Check(); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.views.Done()
	return s.state.Load().tables.List(), nil
}

// begin adds a reader, for which Close will wait.
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
	s.views.Add(1)
	return nil
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
	defer s.views.Done()
	st := s.state.Load()
	tx := kv.NewTx(ctx, st.tables, st, false)
	defer tx.Finish() //nolint:errcheck // ends it on a panic too
	return fn(tx)
}

// Update implements [storage.Store].
func (s *Store) Update(ctx context.Context, fn func(storage.Tx) error) error {
	id, err := s.nested.Enter()
	if err != nil {
		return err
	}
	defer s.nested.Leave(id)
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	st := s.state.Load()
	tx := kv.NewTx(ctx, st.tables, st, true)
	defer tx.Finish() //nolint:errcheck // ends it on a panic too
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Finish(); err != nil {
		return err
	}
	if tx.Dirty() {
		s.state.Store(st.with(tx))
	}
	return nil
}

// with returns the state after a transaction. Trees to which the transaction didn't write are
// shared.
func (st *state) with(tx *kv.Tx) *state {
	next := &state{tables: st.tables, numbers: st.numbers, trees: slices.Clone(st.trees)}
	for bucket, writes := range tx.Writes() {
		t := new(tree)
		if old := st.tree(bucket); old != nil {
			t = old.Copy()
		}
		for k, v := range kv.Ascend(writes, "") {
			if v == nil {
				t.Delete(k)
			} else {
				t.Set(k, v)
			}
		}
		next.trees[st.numbers[bucket]] = t
	}
	return next
}

// tree returns the tree of a bucket, or nil if it is empty.
func (st *state) tree(bucket string) *tree {
	n, ok := st.numbers[bucket]
	if !ok {
		return nil
	}
	return st.trees[n]
}

// Get implements [kv.Reader].
func (st *state) Get(bucket, key string) ([]byte, bool) {
	t := st.tree(bucket)
	if t == nil {
		return nil, false
	}
	return t.Get(key)
}

// Ascend implements [kv.Reader].
func (st *state) Ascend(bucket, from string) iter.Seq2[string, []byte] {
	t := st.tree(bucket)
	if t == nil {
		return nothing
	}
	return kv.Ascend(t, from)
}

// Descend implements [kv.Reader].
func (st *state) Descend(bucket, before string) iter.Seq2[string, []byte] {
	t := st.tree(bucket)
	if t == nil {
		return nothing
	}
	return kv.Descend(t, before)
}

// nothing yields the contents of an empty bucket.
func nothing(func(string, []byte) bool) {}

// SingleProcess implements [storage.SingleProcess].
func (s *Store) SingleProcess() {}

// Close implements [storage.Store].
func (s *Store) Close() error {
	if err := s.nested.Check(); err != nil {
		return err
	}
	s.once.Do(func() {
		<-s.writer // wait for the writer, and let no other begin
		s.mu.Lock()
		close(s.closed)
		s.mu.Unlock()
		s.views.Wait()
		s.state.Store(&state{})
	})
	return nil
}
