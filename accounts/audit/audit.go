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
	// Subject is what was acted on: the DID of an account, a handle or a code. An action on several
	// has an entry for each.
	Subject string `json:"subject,omitempty"`
	// Outcome is empty while the action is under way (or was cut short), "ok", or the name of an
	// error.
	Outcome string `json:"outcome,omitempty"`
}

var table = storage.NewCollection("audit_log",
	func(e *Entry) string { return e.ID },
	storage.Ordered("at", func(e *Entry) string { return storage.TimeKey(e.At) }),
	storage.Ordered("subject", func(e *Entry) string { return e.Subject }),
).OwnedBy(storage.OwnerGatehouse)

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

// Action is what is about to be done, and to what.
type Action struct {
	// Admin names who acts.
	Admin string
	// Name is the NSID of the method.
	Name string
	// Subjects are what is acted on. An account is named by its DID.
	Subjects []string
}

// Do logs an action, takes it, and logs what came of it: outcome turns its error
// into a word. If the action can't be logged it isn't taken.
func (l *Log) Do(ctx context.Context, a Action, outcome func(error) string, act func() error) error {
	entries, err := l.entries(a)
	if err != nil {
		return err
	}
	if err := l.write(ctx, entries); err != nil {
		return err
	}
	acted := act()
	for _, e := range entries {
		e.Outcome = outcome(acted)
	}
	if err := l.write(context.WithoutCancel(ctx), entries); err != nil && acted == nil {
		return fmt.Errorf("audit: the action was taken, and its outcome not logged: %w", err)
	}
	return acted
}

// Refused logs an action that was not taken, with the name of the error.
func (l *Log) Refused(ctx context.Context, a Action, outcome string) error {
	entries, err := l.entries(a)
	if err != nil {
		return err
	}
	for _, e := range entries {
		e.Outcome = outcome
	}
	return l.write(ctx, entries)
}

func (l *Log) entries(a Action) ([]*Entry, error) {
	now := l.now().UTC().Truncate(time.Millisecond)
	var all []*Entry
	for _, subject := range a.Subjects {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
		subject = storage.Text(subject)
		if len(subject) > maxSubject {
			subject = strings.ToValidUTF8(subject[:maxSubject], "")
		}
		all = append(all, &Entry{ID: id.String(), At: now, Admin: a.Admin, Action: a.Name, Subject: subject})
	}
	return all, nil
}

func (l *Log) write(ctx context.Context, entries []*Entry) error {
	err := l.store.Update(ctx, func(tx storage.Tx) error {
		for _, e := range entries {
			if err := table.Put(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
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
