package audit

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Entry is one action. It is written before the action, so that none can go unnoticed, and
// completed after it.
type Entry struct {
	// ID is a UUIDv7.
	ID string    `json:"id"`
	At time.Time `json:"at"`
	// Admin names who acted: an admin, or the DID of a moderation service.
	Admin string `json:"admin"`
	// Action is the NSID of the method.
	Action string `json:"action"`
	// Subject is what was acted on: a DID, a handle, codes.
	Subject string `json:"subject,omitempty"`
	// Outcome is empty while the action is under way (or was cut short), "ok", or the name of an error.
	Outcome string `json:"outcome,omitempty"`
}

var table = storage.NewCollection("audit_log",
	func(e *Entry) string { return e.ID },
	storage.Ordered("at", func(e *Entry) string { return storage.TimeKey(e.At) }),
	storage.Ordered("subject", func(e *Entry) string { return e.Subject }),
)

// Tables are the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{table} }

// Log is the log of a server. Its methods are safe for concurrent use.
type Log struct {
	store storage.Store
	now   func() time.Time
}

// New returns the log in a store, whose table it defines. A nil now is [time.Now].
func New(ctx context.Context, s storage.Store, now func() time.Time) (*Log, error) {
	if now == nil {
		now = time.Now
	}
	if err := storage.Define(ctx, s, Tables()...); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return &Log{s, now}, nil
}

// maxSubject is how much of a subject is kept, in bytes.
const maxSubject = 512

// Do logs an action, takes it, and logs what came of it: outcome turns its error
// into a word. If the action can't be logged it isn't taken.
func (l *Log) Do(ctx context.Context, admin, action, subject string, outcome func(error) string, act func() error) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	subject = storage.Text(subject)
	if len(subject) > maxSubject { // a list of codes can be of any length
		subject = strings.ToValidUTF8(subject[:maxSubject], "")
	}
	e := &Entry{ID: id.String(), At: l.now().UTC().Truncate(time.Millisecond), Admin: admin, Action: action, Subject: subject}
	write := func(ctx context.Context) error {
		return l.store.Update(ctx, func(tx storage.Tx) error { return table.Put(tx, e) })
	}
	if err := write(ctx); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	acted := act()
	e.Outcome = outcome(acted)
	if err := write(context.WithoutCancel(ctx)); err != nil && acted == nil {
		return fmt.Errorf("audit: the action was taken, and its outcome not logged: %w", err)
	}
	return acted
}

// Page is one page of the log.
type Page struct {
	Entries []*Entry
	// Cursor begins the next page; empty at the end.
	Cursor string
}

// List returns entries, newest first, up to limit (1 to 500); with a subject only those about it.
func (l *Log) List(ctx context.Context, subject, cursor string, limit int) (Page, error) {
	r := storage.Range{Index: "at", Reverse: true, After: cursor, Limit: min(max(limit, 1), 500)}
	if subject != "" {
		by := storage.Exactly("subject", subject)
		r.Index, r.From, r.To = by.Index, by.From, by.To
	}
	var p Page
	err := l.store.View(ctx, func(tx storage.Tx) (err error) {
		p.Entries, p.Cursor, err = table.Page(tx, r)
		return err
	})
	return p, err
}
