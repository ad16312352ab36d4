package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
	"unicode/utf8"
)

// Errors that every backend returns. Test for them with [errors.Is]. An HTTP client is answered 503
// ServiceUnavailable for ErrUnavailable and ErrClosed; for the others, which a domain package has
// failed to handle, it is answered 500 InternalServerError.
var (
	// ErrNotFound is returned when no document has the key, or the value in the unique index.
	ErrNotFound = errors.New("storage: not found")

	// ErrConflict is returned when a write collides with another document: the key of an Insert
	// exists, or another document has the same value in a unique index. The error is a
	// [*ConflictError], which names the table and the index.
	ErrConflict = errors.New("storage: conflict")

	// ErrReadOnly is returned by writes inside a View.
	ErrReadOnly = errors.New("storage: read-only transaction")

	// ErrClosed is returned by a store that has been closed, and by a transaction that has ended.
	ErrClosed = errors.New("storage: closed")

	// ErrNested is returned by every method of a [Store] that is called inside a View or an Update
	// of the same store. The call has no effect, and the transaction can go on.
	ErrNested = errors.New("storage: nested call inside a transaction of the same store")

	// ErrInvalid is returned when the call itself is wrong: a table or an index that is not
	// defined, a table of another owner, a key that breaks the rules, a document that is not JSON.
	ErrInvalid = errors.New("storage: invalid argument")

	// ErrUnavailable is returned when the backend can't be reached or can't finish the transaction
	// now (a database fail-over, too many retries, a full disk). The caller may try again later. If
	// an Update was being committed, it is unknown whether it took effect.
	ErrUnavailable = errors.New("storage: unavailable")
)

// A ConflictError is an [ErrConflict] that says where the write collided.
type ConflictError struct {
	Table string // the table that was written to
	Index string // the unique index whose value is taken; empty if it is the key
}

// Error returns where the write collided, for logs.
func (e *ConflictError) Error() string {
	if e.Index == "" {
		return fmt.Sprintf("storage: conflict: %s: key exists", e.Table)
	}
	return fmt.Sprintf("storage: conflict: %s: unique index %s", e.Table, e.Index)
}

// Is reports whether target is [ErrConflict].
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Store is what a backend implements: a transactional store of JSON documents in named tables with
// secondary indexes. It knows tables, keys, index entries and bytes, and nothing of what they mean.
// All methods are safe for concurrent use.
//
// No method may be called inside a View or an Update of the same store. In the goroutine that runs
// fn, every method returns [ErrNested] at once, whatever its context; the transaction can go on. A
// backend can't recognize a call from another goroutine that fn waits for: there, a View works, and
// a call that has to wait for the transaction waits until its context is done (Close has none and
// waits forever). Transactions of different stores may be nested.
type Store interface {
	// Define declares tables and creates what is missing: tables, indexes, and the columns behind
	// them. It is idempotent, safe to call from several processes at once, and required before the
	// first transaction that uses a table. A table that exists keeps its indexes and gains the new
	// ones; these don't hold the documents that are already there until they are written again (see
	// [Collection.Rebuild]). Redeclaring an index with another Unique or Multi is an [ErrInvalid],
	// and so is defining a table of another owner. Definitions are durable, owners included.
	Define(ctx context.Context, tables ...Table) error

	// Tables returns all tables ever defined, by any process, sorted by name.
	Tables(ctx context.Context) ([]Table, error)

	// View runs fn on a consistent snapshot that includes every Update that returned before View
	// was called, and returns fn's error. Views don't block Updates, and Updates don't block Views.
	View(ctx context.Context, fn func(Tx) error) error

	// Update runs fn in a serializable, atomic, read-write transaction. When Update returns nil,
	// the writes are durable; when it returns an error, none of them happened (but see
	// [ErrUnavailable]). When fn returns an error, Update rolls back and returns that error; when
	// fn panics, Update rolls back and the panic continues in the caller's goroutine.
	//
	// fn may run more than once (a serialization failure, a group commit that has to be taken
	// apart), so it must have no effects outside the Tx, and a second run has to overwrite what the
	// first left in captured variables. It may run in another goroutine than the caller's, but
	// never in two at once.
	//
	// An Update that waits for its turn returns when its context is done.
	Update(ctx context.Context, fn func(Tx) error) error

	// Close waits for running transactions, then releases everything. Later calls return
	// [ErrClosed]. A second Close returns nil.
	Close() error
}

// Tx is one transaction. It is bound to the context given to View or Update: once that is done,
// every method returns the context's error. A Tx is for one goroutine. After fn has returned, its
// methods return [ErrClosed].
//
// A write that fails dooms the transaction: even if fn ignores the error, Update rolls back and
// returns an error that matches it. A backend may report a conflict at the write or, if it defers
// writes, at a later read or at the end of Update; to act on a conflict, examine the error of
// Update.
//
// The caller may keep the documents that a Tx returns, but must not modify them; documents that are
// passed in must not be modified afterwards.
type Tx interface {
	// Get returns the document of a key, or [ErrNotFound].
	Get(table, key string) ([]byte, error)

	// GetBy returns the document that has the value in a unique index, or [ErrNotFound]. If the
	// index is not unique it returns [ErrInvalid].
	GetBy(table, index, value string) ([]byte, error)

	// Put writes a document and its index entries, replacing the document with the same key and its
	// entries. If another document has one of its values in a unique index, the error is a
	// [*ConflictError].
	Put(table string, doc Document) error

	// Insert is like Put, but returns a [*ConflictError] if the key exists.
	Insert(table string, doc Document) error

	// Delete removes a document, if it exists, and its index entries.
	Delete(table, key string) error

	// Scan yields the documents of a range, in order. It includes the writes that the transaction
	// made before the scan began; writing to the table during the scan is allowed and doesn't
	// change what the scan yields. An error ends the sequence. Breaking out of the loop early costs
	// nothing; a scan without a limit must not hold the whole range in memory, except for what the
	// transaction itself wrote.
	Scan(table string, r Range) iter.Seq2[Record, error]

	// Owner returns the owner of a table, by which a [Collection] recognizes the table of somebody
	// else that has the same name. It is empty if the table is not defined or has no owner.
	Owner(table string) string
}

// Document is a document as it is written.
type Document struct {
	// Key is 1 to [MaxKey] bytes of valid UTF-8 without NUL.
	Key string
	// Value is one JSON object. A backend may reformat it (white space, order of properties,
	// notation of numbers), but never changes the value of a number. Text that some backends can't
	// hold is an [ErrInvalid] in all of them: bytes that are not UTF-8, and the escapes of NUL
	// (\u0000) and of half a surrogate pair (\ud800).
	Value []byte
	// Entries are the values under which the table's indexes hold the document. An index that has
	// no entry here doesn't hold it.
	Entries []Entry
}

// Entry is one value of a document in an index.
type Entry struct {
	Index string
	// Value follows the rules of a key.
	Value string
}

// MaxKey is the maximum length of a key or an index value, in bytes.
const MaxKey = 1024

// Table declares a table.
type Table struct {
	// Name is 1 to 40 characters of a-z, 0-9 and _, starting with a letter.
	Name string `json:"name"`
	// Owner names who may define the table: the first owner that defines it. It follows the rules
	// of a table's name. A declaration without an owner claims nothing and is accepted for every
	// table; it is meant for tools that define what they found in a store.
	Owner   string  `json:"owner,omitempty"`
	Indexes []Index `json:"indexes,omitempty"`
}

// Owners of tables.
const (
	// OwnerApp owns the tables of programs that embed Gatehouse. It is the owner of every
	// collection, unless [Collection.OwnedBy] names another.
	OwnerApp = "app"
	// OwnerGatehouse owns the tables of Gatehouse itself. Other packages must not use it.
	OwnerGatehouse = "gatehouse"
)

// Index declares a secondary index: documents ordered by value, then by key, both bytewise.
type Index struct {
	// Name follows the rules of a table's name; "key" and "doc" are reserved.
	Name string `json:"name"`
	// Unique allows each value to at most one document.
	Unique bool `json:"unique,omitempty"`
	// Multi allows a document several values. Without it a second value is an [ErrInvalid].
	Multi bool `json:"multi,omitempty"`
}

// Range selects documents for a scan.
type Range struct {
	// Index is the index whose values order and bound the scan; if it is empty, keys do.
	Index string
	// From (inclusive) and To (exclusive) bound the keys or values; empty means unbounded. They and
	// Prefix need not be whole keys, but if they are not UTF-8, or contain NUL, the scan yields
	// [ErrInvalid].
	From, To string
	// Prefix limits the scan to the keys or values that start with it.
	Prefix string
	// Reverse scans from the end.
	Reverse bool
	// After is the [Record.Cursor] of the record after which to resume, in the direction of the
	// scan. A cursor is opaque, valid for scans of the same Index, survives restarts, and may be
	// that of a record that no longer exists. The scan yields [ErrInvalid] for a cursor that it
	// can't read.
	After string
	// Limit is the maximum number of records to yield; 0 means all.
	Limit int
	// Entries asks for [Record.Entries], at some cost in some backends.
	Entries bool
	// KeysOnly asks for records without [Record.Value], which is cheaper: the documents are not
	// read, and an Update that only scanned keys doesn't depend on what else is in the documents.
	// Together with Entries it is an [ErrInvalid].
	KeysOnly bool
}

// Exactly returns the range of the documents that have exactly this value in an index.
func Exactly(index, value string) Range {
	return Range{Index: index, From: value, To: value + "\x01"}
}

// Under returns the range of the documents whose value in an index begins with the given parts and
// has at least one more, all joined by [Join]. If the index is empty, keys take the place of
// values. Without parts, it is the range of the whole index.
func Under(index string, parts ...string) Range {
	if len(parts) == 0 {
		return Range{Index: index}
	}
	return Range{Index: index, Prefix: Join(parts...) + " "}
}

// Record is one document of a scan.
type Record struct {
	Key   string
	Value []byte // nil if the Range asked for keys only
	// Cursor resumes a scan after this record: see [Range.After].
	Cursor string
	// Entries are all index entries of the document, sorted by index, then by value, if the Range
	// asked for them.
	Entries []Entry
}

// Ref refers to a document for [Prefetch] and [ViewOf]: by its key if Index is empty, otherwise by
// its value in a unique index.
type Ref struct {
	Table, Index, Value string
}

// Prefetcher is implemented by transactions of backends for which a round trip is expensive.
type Prefetcher interface {
	// Prefetch reads the documents in one round trip and keeps them for later calls of Get and
	// GetBy in the same transaction.
	Prefetch(refs ...Ref) error
}

// Prefetch tells the backend which documents the transaction is about to read, so that it can fetch
// them at once. It doesn't change any result; backends that are not a [Prefetcher] ignore it.
func Prefetch(tx Tx, refs ...Ref) error {
	if p, ok := tx.(Prefetcher); ok {
		return p.Prefetch(refs...)
	}
	return nil
}

// Join joins several parts into one key or index value that sorts as the tuple of its parts. All
// parts but the last must be free of spaces and control characters, as DIDs, handles, hashes, UUIDs
// and [TimeKey] are.
func Join(parts ...string) string { return strings.Join(parts, " ") }

// TimeKey formats a time as a key that sorts by time: UTC, RFC 3339 with exactly three decimals.
func TimeKey(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// ValidRange checks what a [Range] asks for, and returns an [ErrInvalid] if it contradicts itself.
func ValidRange(r Range) error {
	if r.KeysOnly && r.Entries {
		return fmt.Errorf("%w: a scan for keys only has no index entries", ErrInvalid)
	}
	return nil
}

// ValidKey checks a key or an index value, and returns an [ErrInvalid] if it breaks the rules.
func ValidKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: empty key", ErrInvalid)
	case len(key) > MaxKey:
		return fmt.Errorf("%w: key of %d bytes, over %d", ErrInvalid, len(key), MaxKey)
	case !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0:
		return fmt.Errorf("%w: key is not UTF-8 or contains NUL", ErrInvalid)
	}
	return nil
}

// Text returns s without what a document can't hold: it removes NUL, and replaces bytes that are
// not UTF-8.
func Text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// ValidTable checks a declaration, and returns an [ErrInvalid] if it breaks the rules.
func ValidTable(t Table) error {
	if !validName(t.Name) {
		return fmt.Errorf("%w: bad table name %q", ErrInvalid, t.Name)
	}
	if t.Owner != "" && !validName(t.Owner) {
		return fmt.Errorf("%w: bad owner %q of table %s", ErrInvalid, t.Owner, t.Name)
	}
	seen := map[string]bool{"key": true, "doc": true}
	for _, ix := range t.Indexes {
		if !validName(ix.Name) || seen[ix.Name] {
			return fmt.Errorf("%w: bad index name %q of table %s", ErrInvalid, ix.Name, t.Name)
		}
		seen[ix.Name] = true
	}
	return nil
}

func validName(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 40
}
