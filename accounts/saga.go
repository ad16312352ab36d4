package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// A change of a DID has effects in two places, the store and the DID directory, and no transaction
// spans both. So every change takes the same three steps, whatever its kind:
//
//  1. begin: a transaction checks that the change may happen, reserves what it needs, and stores a
//     didChange.
//  2. publish: an operation is submitted to the directory.
//  3. finish: a transaction makes the change in the account and deletes the didChange.
//
// There are four ways in which this can go wrong:
//
//   - The directory refuses. Nothing has happened outside, so undo takes back what begin reserved.
//   - The directory doesn't answer. Nobody knows what has happened, so the didChange is left to
//     recoverChanges.
//   - A hook refuses the last step. The DID has changed already, so revert replaces the change by
//     its opposite, and publishes that until the directory accepts it: the handle or the key that
//     the account still has, or a tombstone for the DID of an account that will never exist.
//   - The store fails, or the process dies. The didChange is still there, and is left to
//     recoverChanges.
//
// recoverChanges goes through the changes on which no process is working any more. It finishes
// those that were published, publishes those that the account has already, and undoes the others if
// the directory doesn't know them after some minutes.

// didChange is a change of a DID that is under way. It is stored from the first step of the change
// to the last. A DID has at most one of each kind.
type didChange struct {
	DID  syntax.DID `json:"did"`
	Kind changeKind `json:"kind"`
	// To is the new handle or the new key, which no other account can take meanwhile. It is empty
	// if the change is about the DID as a whole.
	To string `json:"to,omitempty"`
	// Hold is set if the old handle is to be held for the account.
	Hold bool `json:"hold,omitempty"`
	// Operation is the first operation of the DID of a sign-up.
	Operation json.RawMessage `json:"operation,omitempty"`
	// Ticket is the ticket that a sign-up has redeemed, and gives back if it is undone.
	Ticket string    `json:"ticket,omitempty"`
	Since  time.Time `json:"since"`
	// Process is the process that carries the change out, until the time Until at the latest. See
	// underWay.
	Process string    `json:"process,omitempty"`
	Until   time.Time `json:"until"`
}

// changeKind is the kind of a didChange.
type changeKind string

const (
	changeSignUp    changeKind = "sign-up"
	changeHandle    changeKind = "handle"
	changeKey       changeKind = "key"
	changeTombstone changeKind = "tombstone"
	// changeDeleted is how earlier versions stored a changeTombstone.
	changeDeleted changeKind = "deleted"
)

var didChanges = storage.NewCollection("did_changes",
	func(c *didChange) string { return c.key() },
	storage.Unique("to", func(c *didChange) string {
		if c.To == "" {
			return ""
		}
		return storage.Join(string(c.Kind), c.To)
	}),
	storage.Ordered("until", func(c *didChange) string { return storage.TimeKey(c.Until) }),
).OwnedBy(storage.OwnerGatehouse)

func (c *didChange) key() string { return storage.Join(c.DID.String(), string(c.Kind)) }

// refByTarget refers to the change that gives an account a certain handle or key, for
// [storage.Prefetch].
func refByTarget(kind changeKind, to string) storage.Ref {
	return didChanges.RefBy("to", storage.Join(string(kind), to))
}

// changingTo returns the account that is about to get a handle or a key, or an empty DID.
func changingTo(tx storage.Tx, kind changeKind, to string) (syntax.DID, error) {
	c, err := didChanges.GetBy(tx, "to", storage.Join(string(kind), to))
	if errors.Is(err, storage.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return c.DID, nil
}

// saga is what is particular to one kind of change. The implementations are signUp, propertyChange
// (of a handle or a signing key) and tombstone.
type saga interface {
	// publish makes the change in the DID, unless it has been made already. After an error the DID
	// is unchanged, or may have changed all the same if the error is lost.
	publish(ctx context.Context, c *didChange) error
	// progress returns how far a change has come that nobody is working on any more.
	progress(ctx context.Context, c *didChange) (progress, error)
	// finish makes the change in the account, in the transaction that deletes c, and returns the
	// account, or nil if there was nothing to do. If begun is false, c was gone before: another
	// process has finished the change or undone it.
	finish(ctx context.Context, tx storage.Tx, c *didChange, begun bool) (*Account, error)
	// undo releases what was reserved with begin, in the transaction that deletes c. If the change
	// was published, undo returns the change that brings the DID back, or nil if the DID is to stay
	// as it is.
	undo(tx storage.Tx, c *didChange, published bool) (*didChange, error)
	// notice is the e-mail that tells the owner that the change has happened; empty for none.
	notice() mail.Kind
}

// progress is how far a change has come.
type progress int

const (
	// nowhere: neither the DID nor the account has changed.
	nowhere progress = iota
	// inDID: the DID has changed, and the account hasn't.
	inDID
	// inAccount: the account has changed, or there is none any more. The DID must change too, if it
	// hasn't already.
	inAccount
)

// sagaOf returns the saga of a change that is found in the store.
func (s *Service) sagaOf(c *didChange) (saga, error) {
	switch c.Kind {
	case changeSignUp:
		return signUp{s: s}, nil
	case changeHandle:
		return s.handleChange(), nil
	case changeKey:
		return s.keyChange(), nil
	case changeTombstone, changeDeleted:
		return tombstone{s}, nil
	}
	return nil, fmt.Errorf("accounts: unknown kind of change %q", c.Kind)
}

const (
	// submitTimeout bounds the time between the first step of a change and the last.
	submitTimeout = time.Minute
	// abandonAfter is the age at which a change is undone if the directory doesn't know of it. It
	// is well beyond submitTimeout, since an operation may still be on its way.
	abandonAfter = 5 * time.Minute
	// insistFor is how long recoverChanges tries to bring a DID to the value that its account has.
	insistFor = 24 * time.Hour
	// recoverTimeout bounds one call of recoverChanges.
	recoverTimeout = time.Minute
)

var (
	// errBusy is the kind of the error that refuses a change because of another of the same kind.
	errBusy = fmt.Errorf("%w: busy", ErrInvalidRequest)
	// errGivenUp is returned when a change was undone while the directory was slow to answer.
	errGivenUp = fmt.Errorf("%w: the answer took too long", ErrDirectory)
)

func busy(kind changeKind) error {
	return refusal.Newf(errBusy, "Another %s change of this account is under way", kind)
}

// reload returns a change as it is stored. Errors: [storage.ErrNotFound] if it has ended, and
// errBusy if another change has taken its place.
func reload(tx storage.Tx, c *didChange) (*didChange, error) {
	stored, err := didChanges.Get(tx, c.key())
	if err == nil && stored.To != c.To {
		return nil, busy(c.Kind)
	}
	return stored, err
}

// underWay reports whether a process is working on a change. It is the one that began the change,
// until the time Until: by then it has finished or given up. In a store that only one process can
// open, what another process began isn't under way either: that process has ended.
func (s *Service) underWay(c *didChange) bool {
	return s.now().Before(c.Until) && (c.Process == s.process || !s.alone)
}

// begin is the first step of a change: it stores the change, in the transaction of a caller that
// has checked that no other account has, or is about to get, the same handle or key. It takes the
// place of an earlier change of the kind that isn't under way any more, or that wants the same.
func (s *Service) begin(tx storage.Tx, c *didChange) error {
	switch other, err := didChanges.Get(tx, c.key()); {
	case err == nil && other.To != c.To && s.underWay(other):
		return busy(c.Kind)
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return err
	}
	now := s.now()
	c.Process, c.Since, c.Until = s.process, now, now.Add(submitTimeout)
	return didChanges.Put(tx, c)
}

// carryOut takes the other steps of a change that was begun. It returns the account if it has
// changed. A client that hangs up doesn't interrupt it.
func (s *Service) carryOut(ctx context.Context, g saga, c *didChange) (*Account, error) {
	ctx, cancel := context.WithTimeout(uninterrupted(ctx), submitTimeout)
	defer cancel()
	err := g.publish(ctx, c)
	switch {
	case lost(err):
		return nil, errors.Join(err, s.leave(ctx, c))
	case err != nil:
		return nil, errors.Join(err, s.undo(ctx, g, c))
	}
	return s.finishOrRevert(ctx, g, c)
}

// uninterrupted returns a context for what must be finished once it was begun: neither a client
// that hangs up nor the end of its session ends it.
func uninterrupted(ctx context.Context) context.Context {
	return storage.WithoutPrecondition(context.WithoutCancel(ctx))
}

// lost reports whether an error of publish leaves open what has happened in the directory.
func lost(err error) bool {
	if err == nil {
		return false
	}
	for _, definite := range []error{did.ErrRefused, did.ErrNotController, did.ErrNotFound, did.ErrTombstoned} {
		if errors.Is(err, definite) {
			return false
		}
	}
	return true
}

// finish is the last step of a change. It may have been taken already.
func (s *Service) finish(ctx context.Context, g saga, c *didChange) (*Account, error) {
	var a *Account
	err := s.update(ctx, func(tx storage.Tx) error {
		a = nil
		if err := storage.Prefetch(tx, didChanges.Ref(c.key()), accountsTable.Ref(c.DID.String())); err != nil {
			return err
		}
		stored, err := reload(tx, c)
		if errors.Is(err, storage.ErrNotFound) {
			a, err = g.finish(ctx, tx, c, false)
			return err
		}
		if err == nil {
			err = didChanges.Delete(tx, c.key())
		}
		if err == nil {
			a, err = g.finish(ctx, tx, stored, true)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if kind := g.notice(); a != nil && kind != "" {
		s.notify(a, kind, mail.Data{})
	}
	return a, nil
}

// finishOrRevert finishes a change, or reverts it if that is refused. The error is that of finish.
func (s *Service) finishOrRevert(ctx context.Context, g saga, c *didChange) (*Account, error) {
	a, err := s.finish(ctx, g, c)
	if err == nil || outage(ctx, err) || errors.Is(err, errBusy) {
		return a, err
	}
	if rerr := s.revert(ctx, g, c); rerr != nil { // maintenance will try again
		s.cfg.Logger.ErrorContext(ctx, "a refused change was not reverted in the DID", "did", c.DID, "change", c.Kind, "error", rerr)
	}
	return nil, err
}

// outage reports whether a transaction failed for a passing reason, so that trying again may
// succeed.
func outage(ctx context.Context, err error) bool {
	return errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrClosed) || ctx.Err() != nil
}

// revert replaces a change that has been published by the one that brings the DID back, and
// publishes that.
func (s *Service) revert(ctx context.Context, g saga, c *didChange) error {
	var back *didChange
	err := s.update(ctx, func(tx storage.Tx) error {
		back = nil
		_, err := reload(tx, c)
		switch {
		case err == nil:
			err = didChanges.Delete(tx, c.key())
		case errors.Is(err, storage.ErrNotFound), errors.Is(err, errBusy):
			err = nil
		}
		if err == nil {
			back, err = g.undo(tx, c, true)
		}
		if err != nil || back == nil {
			return err
		}
		return s.begin(tx, back)
	})
	switch {
	case errors.Is(err, errBusy): // the change that is under way takes care of the DID
		return nil
	case err != nil || back == nil:
		return err
	}
	if g, err = s.sagaOf(back); err != nil {
		return err
	}
	if err := s.insist(ctx, g, back); err != nil {
		return errors.Join(err, s.leave(ctx, back))
	}
	return nil
}

// insist publishes a change that has been made in the account, and ends it.
func (s *Service) insist(ctx context.Context, g saga, c *didChange) error {
	err := g.publish(ctx, c)
	switch {
	case errors.Is(err, did.ErrNotController), errors.Is(err, did.ErrTombstoned): // trying again is no use
		return s.undo(ctx, g, c)
	case err != nil:
		return err
	}
	_, err = s.finish(ctx, g, c)
	return err
}

// undo ends a change that hasn't been published.
func (s *Service) undo(ctx context.Context, g saga, c *didChange) error {
	return s.updateChange(ctx, c, func(tx storage.Tx, stored *didChange) error {
		if _, err := g.undo(tx, stored, false); err != nil {
			return err
		}
		return didChanges.Delete(tx, c.key())
	})
}

// leave ends the work of this process on a change, which is left to recoverChanges.
func (s *Service) leave(ctx context.Context, c *didChange) error {
	return s.updateChange(ctx, c, func(tx storage.Tx, stored *didChange) error {
		stored.Until = s.now()
		return didChanges.Put(tx, stored)
	})
}

// updateChange runs fn in a transaction with a change as it is stored. If the change has ended, or
// another has taken its place, there is nothing to do.
func (s *Service) updateChange(ctx context.Context, c *didChange, fn func(storage.Tx, *didChange) error) error {
	return s.update(ctx, func(tx storage.Tx) error {
		stored, err := reload(tx, c)
		switch {
		case errors.Is(err, storage.ErrNotFound), errors.Is(err, errBusy):
			return nil
		case err != nil:
			return err
		}
		return fn(tx, stored)
	})
}

// recoverChanges ends sign-ups and changes of handles and signing keys that were interrupted. It
// finishes those that the directory knows, and undoes those that it doesn't know after five
// minutes. If a hook has refused a change that was published, it brings the DID back, or tombstones
// it after a sign-up. It leaves changes alone on which a process is still working. A call takes a
// minute at most, even if the directory doesn't answer; the next call continues.
func (s *Service) recoverChanges(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoverTimeout)
	defer cancel()
	var all []*didChange
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		all, err = didChanges.All(tx, storage.Range{Index: "until", Limit: 1000})
		return err
	})
	for _, c := range all {
		if s.underWay(c) {
			continue
		}
		if rerr := s.recoverChange(ctx, c); rerr != nil {
			err = errors.Join(err, fmt.Errorf("recovering a change (%s) of %s: %w", c.Kind, c.DID, rerr))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

// recoverChange ends one change, unless it must wait for the directory to hear of it.
func (s *Service) recoverChange(ctx context.Context, c *didChange) error {
	g, err := s.sagaOf(c)
	if err != nil {
		return err
	}
	log := func(what string) { s.cfg.Logger.InfoContext(ctx, what, "did", c.DID, "change", c.Kind) }
	reached, err := g.progress(ctx, c)
	switch {
	case err != nil:
		return err
	case reached == inDID:
		log("finishing a change that was interrupted")
		if _, err = s.finishOrRevert(ctx, g, c); errors.Is(err, errBusy) {
			return nil
		}
		return err
	case reached == inAccount:
		log("bringing a DID to what its account says")
		return s.insist(ctx, g, c)
	case s.age(c) < abandonAfter: // it may be on its way
		return nil
	}
	log("undoing a change that was interrupted")
	return s.undo(ctx, g, c)
}

func (s *Service) age(c *didChange) time.Duration { return s.now().Sub(c.Since) }
