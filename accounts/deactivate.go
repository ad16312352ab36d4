package accounts

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// reminderBefore is how long before the deletion of an account its owner is reminded.
const reminderBefore = 24 * time.Hour

// Deactivate deactivates an account for its owner. If deleteAfter isn't nil, it schedules the
// deletion of the account for that time, but not before MinDeletionDelay of the [Config] has
// passed. The owner is notified by e-mail at once and again a day before the deletion, and can call
// it off by logging in with the password, by a password reset, or by activating the account.
// Errors: [ErrNotFound], [ErrInvalidRequest] for a time that can't be stored (source:
// com.atproto.server.deactivateAccount).
func (s *Service) Deactivate(ctx context.Context, did syntax.DID, deleteAfter *time.Time) error {
	if deleteAfter != nil {
		after := deleteAfter.UTC().Truncate(time.Millisecond)
		if y := after.Year(); y < 0 || y > 9999 { // a year has four digits in JSON and in the index
			return refusal.New(ErrInvalidRequest, "deleteAfter must be in the years 0 to 9999")
		}
		deleteAfter = &after
	}
	var after *Account
	err := s.modify(ctx, did, StatusChanged, func(tx storage.Tx, r *record) error {
		now := s.now()
		r.DeactivatedAt, r.DeleteAfter, r.DeletionReminded = &now, deleteAfter, false
		if least := now.Add(s.cfg.MinDeletionDelay); deleteAfter != nil && deleteAfter.Before(least) {
			r.DeleteAfter = &least
		}
		if r.Takedown != nil { // only an admin can delete it
			r.DeleteAfter = nil
		}
		after = &r.Account
		return nil
	})
	switch {
	case err != nil:
		return err
	case after.DeleteAfter != nil:
		s.notify(after, mail.DeletionScheduled, mail.Data{DeleteAfter: *after.DeleteAfter})
	default:
		s.notify(after, mail.AccountDeactivated, mail.Data{})
	}
	return nil
}

// CallOffDeletionTx calls off the scheduled deletion of an account whose owner has logged in, if
// there is one, inside a transaction. The account stays deactivated. It clears DeleteAfter of a.
// Error: [ErrNotFound].
func (s *Service) CallOffDeletionTx(ctx context.Context, tx storage.Tx, a *Account) error {
	if a.DeleteAfter == nil {
		return nil
	}
	r, err := get(tx, a.DID)
	if err != nil {
		return err
	}
	before := r.Account
	r.DeleteAfter, a.DeleteAfter = nil, nil
	return s.changed(ctx, tx, StatusChanged, &before, r)
}

// duePage is how many due accounts are read at once.
const duePage = 100

// deleteDue deletes the deactivated accounts whose deletion is due, and reminds the owners of those
// whose deletion is due within a day.
func (s *Service) deleteDue(ctx context.Context) error {
	return errors.Join(
		s.eachDue(ctx, "delete_after", s.deleteIfDue),
		s.eachDue(ctx, "remind_after", s.remind),
	)
}

// eachDue calls do for each account whose time in an index has passed. If do fails for one, it goes
// on with the others.
func (s *Service) eachDue(ctx context.Context, index string, do func(context.Context, syntax.DID) error) error {
	r := storage.Range{Index: index, To: storage.TimeKey(s.now().Add(time.Millisecond)), Limit: duePage}
	var failed error
	for {
		var due []*record
		err := s.store.View(ctx, func(tx storage.Tx) (err error) {
			due, r.After, err = accountsTable.Page(tx, r)
			return err
		})
		if err != nil {
			return errors.Join(failed, err)
		}
		for _, a := range due {
			failed = errors.Join(failed, do(ctx, a.DID))
			if ctx.Err() != nil {
				return failed // the next round continues
			}
		}
		if r.After == "" {
			return failed
		}
	}
}

// deleteIfDue deletes an account unless its deletion was called off meanwhile.
func (s *Service) deleteIfDue(ctx context.Context, id syntax.DID) error {
	deleted := false
	err := s.update(ctx, func(tx storage.Tx) error {
		deleted = false
		r, err := get(tx, id)
		switch {
		case errors.Is(err, ErrNotFound):
			return nil
		case err != nil:
			return err
		case r.DeleteAfter == nil || s.now().Before(*r.DeleteAfter) || r.Takedown != nil:
			return nil
		}
		deleted = true
		return s.remove(ctx, tx, r)
	})
	if err == nil && deleted {
		s.cfg.Logger.InfoContext(ctx, "deleted an account as scheduled", "did", id)
	}
	return err
}

// remind reminds the owner of an account of the deletion, in the background. If the e-mail can't be
// delivered, the next round of maintenance tries again.
func (s *Service) remind(_ context.Context, id syntax.DID) error {
	if _, underWay := s.reminding.LoadOrStore(id, true); underWay {
		return nil
	}
	taken := s.queue.Do(mail.DeletionReminder, func(ctx context.Context) {
		defer s.reminding.Delete(id)
		if err := s.remindNow(ctx, id); err != nil {
			s.cfg.Logger.ErrorContext(ctx, "reminder not sent, or not recorded and so sent again", "did", id, "error", err)
		}
	})
	if !taken {
		s.reminding.Delete(id)
	}
	return nil
}

// remindNow sends the reminder, if it is still due, and records that it was sent.
func (s *Service) remindNow(ctx context.Context, id syntax.DID) error {
	var r *record
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		r, err = get(tx, id)
		return err
	})
	switch {
	case errors.Is(err, ErrNotFound), err == nil && (r.DeleteAfter == nil || r.DeletionReminded):
		return nil
	case err != nil:
		return err
	}
	if r.Email != "" && !slices.Contains(s.cfg.MuteNotices, mail.DeletionReminder) {
		d := mail.Data{DeleteAfter: *r.DeleteAfter, When: s.now()}
		if err := s.sendNotice(ctx, &r.Account, r.Email, mail.DeletionReminder, d); err != nil {
			return err
		}
	}
	return s.reminded(ctx, &r.Account)
}

// reminded records that the owner of an account has been reminded of the deletion, unless it was
// rescheduled meanwhile.
func (s *Service) reminded(ctx context.Context, a *Account) error {
	return s.update(ctx, func(tx storage.Tx) error {
		r, err := get(tx, a.DID)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.DeleteAfter == nil || !r.DeleteAfter.Equal(*a.DeleteAfter) {
			return nil
		}
		r.DeletionReminded = true
		return put(tx, r)
	})
}
