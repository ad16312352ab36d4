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

// Errors that every backend returns. Test for them with [errors.Is].
var (
	// ErrNotFound says that no document has the key or unique index value asked for.
	ErrNotFound = errors.New("storage: not found")

	// ErrConflict says that a write met a document that is already there: an
	// insert found its key taken, or a unique index value belongs to another
	// document. The error is a [*ConflictError], which names the place.
	ErrConflict = errors.New("storage: conflict")

	// ErrReadOnly says that a write was tried inside View.
	ErrReadOnly = errors.New("storage: read-only transaction")

	// ErrClosed says that the store, or the transaction, has ended.
	ErrClosed = errors.New("storage: closed")

	// ErrNested is returned by every method of a [Store] that is called inside the closure of a View
	// or an Update of the same store. Nothing has happened, and the transaction can go on.
	ErrNested = errors.New("storage: a call of the store inside a transaction of it")

	// ErrInvalid says that the call itself is wrong: a table or an index that
	// was never defined, a key that breaks the rules, a document that is not JSON.
	ErrInvalid = errors.New("storage: invalid argument")

	// ErrUnavailable says that the backend can't be reached or can't finish the
	// transaction now (a database fail-over, too many retries, a full disk). The caller may try
	// again later; whether an Update took effect is unknown if it was under way.
	ErrUnavailable = errors.New("storage: unavailable")
)

// A ConflictError is the [ErrConflict] of one write.
type ConflictError struct {
	Table string // the table written to
	Index string // the unique index that refused; empty for the key itself
}

func (e *ConflictError) Error() string {
	if e.Index == "" {
		return fmt.Sprintf("storage: conflict: %s: key exists", e.Table)
	}
	return fmt.Sprintf("storage: conflict: %s: unique index %s", e.Table, e.Index)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Store is what a backend implements: a transactional store of JSON documents in
// named tables with secondary indexes. It knows tables, keys, index entries and
// bytes, and nothing of what they mean. All methods are safe for concurrent use.
//
// No method may be called inside a View or an Update of the same store: in the goroutine that runs
// fn, every method returns [ErrNested] at once, whatever its context, and the transaction can go
// on. Nothing reveals a call from another goroutine for which fn waits: there View works, and what
// has to wait for the transaction ends with its context (a Close would wait forever). Transactions
// of different stores nest freely.
type Store interface {
	// Define declares tables, creating what is missing: tables, indexes, and the
	// columns behind them. It is idempotent, safe to call from several processes
	// at once, and has to come before the first transaction that names a table.
	// A table that exists with other indexes gains the new ones, which stay empty
	// for the documents already there until those are written again (see
	// [Collection.Rebuild]), and loses none. It is an [ErrInvalid] to redeclare an index with
	// another Unique or Multi, and to define a table that belongs to another owner. Definitions,
	// owners included, are durable.
	Define(ctx context.Context, tables ...Table) error

	// Tables lists all tables ever defined, those of earlier processes included,
	// sorted by name.
	Tables(ctx context.Context) ([]Table, error)

	// View runs fn on a consistent snapshot that sees every Update which returned
	// before View was called. Views don't block Updates, nor the reverse. View
	// returns fn's error.
	View(ctx context.Context, fn func(Tx) error) error

	// Update runs fn in a serializable, atomic, read-write transaction. When it
	// returns nil the writes are durable; when it returns an error none of them
	// happened (but see [ErrUnavailable]). When fn returns an error Update rolls
	// back and returns that error; when fn panics Update rolls back and the panic
	// goes on in the caller's goroutine.
	//
	// fn may run more than once (a serialization retry, a group commit that had to
	// be taken apart), so it must have no effect outside the Tx, and results that
	// it leaves in captured variables have to be overwritten by a second run.
	// It may run in another goroutine than the caller's, never in two at once.
	//
	// An Update that waits for its turn stops waiting when its context is done.
	Update(ctx context.Context, fn func(Tx) error) error

	// Close waits for running transactions, then releases everything. Later calls
	// return [ErrClosed]. A second Close returns nil.
	Close() error
}

// Tx is one transaction. It is bound to the context given to View or Update:
// once that is done, every method returns the context's error. A Tx is for one
// goroutine, and returns [ErrClosed] after fn has returned.
//
// An error of a write dooms the transaction: Update rolls back and returns an
// error that matches it even if fn ignores it. A backend may report a conflict
// at the write or, if it defers writes, at a later read or at the end of Update;
// callers that want to act on a conflict look at the error of Update.
//
// Documents that a Tx returns are the caller's to keep but not to change, and
// documents that are passed in must not be changed afterwards.
type Tx interface {
	// Get returns the document of a key, or [ErrNotFound].
	Get(table, key string) ([]byte, error)

	// GetBy returns the document to which the unique index gives this value, or
	// [ErrNotFound]. On an index that isn't unique it is [ErrInvalid].
	GetBy(table, index, value string) ([]byte, error)

	// Put writes a document, in place of the one with its key if there is one.
	// Its index entries replace those of the old document.
	// A unique index value that another document holds is a [*ConflictError].
	Put(table string, doc Document) error

	// Insert is Put, but a key that exists is a [*ConflictError].
	Insert(table string, doc Document) error

	// Delete removes a document and its index entries, if it is there.
	Delete(table, key string) error

	// Scan yields the documents of a range, in order. It sees the transaction's own
	// writes made before the scan began; writing to the table during its scan is allowed and
	// does not change what the scan yields. An error ends the sequence. Breaking off early costs
	// nothing; a scan without limit must not hold the whole range in memory unless the
	// transaction itself wrote it.
	Scan(table string, r Range) iter.Seq2[Record, error]
}

// Document is what is written under a key.
type Document struct {
	// Key is 1 to [MaxKey] bytes of valid UTF-8 without NUL.
	Key string
	// Value is one JSON object. A backend may reformat it (white space, order of
	// properties, notation of numbers; never a number's value). What not every
	// backend could hold is an [ErrInvalid] in all of them: text that is not UTF-8,
	// and the escapes of NUL (\u0000) and of half a surrogate pair (\ud800).
	Value []byte
	// Entries are the values under which the table's indexes find the document.
	// An index without an entry does not hold the document.
	Entries []Entry
}

// Entry is one index value of a document.
type Entry struct {
	Index string
	// Value follows the rules of a key.
	Value string
}

// MaxKey is the longest key or index value, in bytes.
const MaxKey = 1024

// Table declares a table.
type Table struct {
	// Name is 1 to 40 characters of a-z, 0-9 and _, starting with a letter.
	Name string `json:"name"`
	// Owner names who may define the table, by the rules of a table's name. A table belongs to the
	// first owner that defines it. A declaration without an owner claims nothing and is open to
	// everyone: that is for tools which define what they have found, such as [Copy].
	Owner   string  `json:"owner,omitempty"`
	Indexes []Index `json:"indexes,omitempty"`
}

// Owners of tables.
const (
	// OwnerApp owns the tables of a program that embeds Gatehouse: every [NewCollection] has it, if
	// [Collection.OwnedBy] doesn't name another.
	OwnerApp = "app"
	// OwnerGatehouse owns the tables of Gatehouse. Nobody else should use it.
	OwnerGatehouse = "gatehouse"
)

// Index declares a secondary index: documents ordered by value, then by key,
// both bytewise.
type Index struct {
	// Name follows the rules of a table's name; "key" and "doc" are reserved.
	Name string `json:"name"`
	// Unique lets at most one document have a value.
	Unique bool `json:"unique,omitempty"`
	// Multi lets a document have several values. Without it a second value is [ErrInvalid].
	Multi bool `json:"multi,omitempty"`
}

// Range selects documents for a scan.
type Range struct {
	// Index orders and bounds by an index's values; empty means by key.
	Index string
	// From (inclusive) and To (exclusive) bound the keys or values; empty is unbounded.
	// They and Prefix need not be whole keys, but they are UTF-8 without NUL, else
	// the scan is an [ErrInvalid].
	From, To string
	// Prefix, if not empty, keeps only keys or values that start with it.
	Prefix string
	// Reverse scans from the end.
	Reverse bool
	// After resumes behind the record that carried this cursor, in the scan's direction. A cursor
	// is opaque, valid for the same Index, survives restarts, and may name a record that is gone. A
	// cursor that no backend of this kind made is [ErrInvalid].
	After string
	// Limit is the most records to yield; 0 means all.
	Limit int
	// Entries asks for [Record.Entries], which costs some backends extra.
	Entries bool
}

// Exactly is the range of the documents to which an index gives exactly this value.
func Exactly(index, value string) Range {
	return Range{Index: index, From: value, To: value + "\x01"}
}

// Under is the range of the documents whose index value (or key, if index is empty) begins with
// these parts, joined as by [Join], and has at least one part more. A value of exactly these parts is
// not in it. Without parts it is the whole index.
func Under(index string, parts ...string) Range {
	if len(parts) == 0 {
		return Range{Index: index}
	}
	return Range{Index: index, Prefix: Join(parts...) + " "}
}

// Record is one document of a scan.
type Record struct {
	Key   string
	Value []byte
	// Cursor resumes a scan behind this record.
	Cursor string
	// Entries are all index entries of the document, if the Range asked for them, sorted by index,
	// then value.
	Entries []Entry
}

// Ref names a document for [Prefetch]: by key if Index is empty, else by a unique index value.
type Ref struct {
	Table, Index, Value string
}

// Prefetcher is implemented by transactions to which a round trip is dear.
type Prefetcher interface {
	// Prefetch reads the documents in one round trip and keeps them for the Get
	// and GetBy that follow in this transaction.
	Prefetch(refs ...Ref) error
}

// Prefetch tells a backend which documents the transaction is about to read, so
// that it can fetch them at once. It changes no result; most backends ignore it.
func Prefetch(tx Tx, refs ...Ref) error {
	if p, ok := tx.(Prefetcher); ok {
		return p.Prefetch(refs...)
	}
	return nil
}

// Join makes one key or index value of several parts, ordered as the tuple of the parts is.
// The parts before the last must not contain spaces or control characters; DIDs,
// handles, hashes, UUIDs and [TimeKey] don't.
func Join(parts ...string) string { return strings.Join(parts, " ") }

// TimeKey formats a time as a key that sorts by time: UTC, RFC 3339 with exactly three decimals.
func TimeKey(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// ValidKey checks a key or index value. Its error is an [ErrInvalid].
func ValidKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: empty key", ErrInvalid)
	case len(key) > MaxKey:
		return fmt.Errorf("%w: key of %d bytes, over %d", ErrInvalid, len(key), MaxKey)
	case !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0:
		return fmt.Errorf("%w: key is not UTF-8 or holds a NUL", ErrInvalid)
	}
	return nil
}

// Text returns what a document can hold of a text from anywhere: all but NUL and bytes that aren't
// UTF-8.
func Text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// ValidTable checks a declaration. Its error is an [ErrInvalid].
func ValidTable(t Table) error {
	if !validName(t.Name) {
		return fmt.Errorf("%w: table name %q", ErrInvalid, t.Name)
	}
	if t.Owner != "" && !validName(t.Owner) {
		return fmt.Errorf("%w: owner %q of table %s", ErrInvalid, t.Owner, t.Name)
	}
	seen := map[string]bool{"key": true, "doc": true}
	for _, ix := range t.Indexes {
		if !validName(ix.Name) || seen[ix.Name] {
			return fmt.Errorf("%w: index name %q of table %s", ErrInvalid, ix.Name, t.Name)
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
