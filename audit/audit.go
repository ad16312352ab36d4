package audit

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-at/gatehouse/storage"
)

// Entry records one action on one subject. It is written before the action is taken, so that no
// action goes unrecorded, and completed with the outcome afterwards.
type Entry struct {
	// ID is a UUIDv7.
	ID string `json:"id"`
	// At is when the action was logged, in UTC to the millisecond.
	At time.Time `json:"at"`
	// Admin is the name of the admin who acted, or the DID of the moderation service.
	Admin string `json:"admin"`
	// Action is the NSID of the method that was called.
	Action string `json:"action"`
	// Subject is what was acted on: the DID of an account, a handle or an invite code. An action on
	// several subjects has one entry for each.
	Subject string `json:"subject,omitempty"`
	// Outcome is "ok" or the name of an error. It is empty while the action is under way, and stays
	// empty if the process ended before the action did.
	Outcome string `json:"outcome,omitempty"`
}

var table = storage.NewCollection("audit_log",
	func(e *Entry) string { return e.ID },
	storage.Ordered("at", func(e *Entry) string { return storage.TimeKey(e.At) }),
	storage.Ordered("subject", func(e *Entry) string { return e.Subject }),
).OwnedBy(storage.OwnerGatehouse)

// Tables returns the collections of this package, for [storage.Define].
func Tables() []storage.Definer { return []storage.Definer{table} }

// Log is the audit log of a server. Its methods are safe for concurrent use.
type Log struct {
	store storage.Store
	now   func() time.Time
}

// New returns the log that is kept in a store, and defines its table there. If now is nil, the log
// uses [time.Now].
func New(ctx context.Context, s storage.Store, now func() time.Time) (*Log, error) {
	if now == nil {
		now = time.Now
	}
	if err := storage.Define(ctx, s, Tables()...); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return &Log{s, now}, nil
}

// maxSubject is the most bytes of a subject that are kept.
const maxSubject = 512

// Action describes an action that an admin is about to take.
type Action struct {
	// Admin is the name of the admin, or the DID of the moderation service.
	Admin string
	// Name is the NSID of the method that was called.
	Name string
	// Subjects are what the method acts on. Accounts are named by their DIDs.
	Subjects []string
}

// Do logs an action, calls act to take it, and then logs the outcome, which is what the function
// outcome returns for the error of act. It returns the error of act. If the action can't be logged,
// Do returns that error and doesn't call act.
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
		return fmt.Errorf("audit: the action was taken, but its outcome was not logged: %w", err)
	}
	return acted
}

// Refused logs an action that was refused. The outcome is the name of the error.
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
	// Entries are the entries of the page, newest first.
	Entries []*Entry
	// Cursor is passed to [Log.List] for the next page. It is empty on the last page.
	Cursor string
}

// List returns a page of at most limit entries (1 to 500), newest first. A subject limits it to the
// entries about that subject. The cursor is that of the page before, or empty for the first page.
// Error: [storage.ErrInvalid] if the cursor is malformed.
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
