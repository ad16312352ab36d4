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

// reminderBefore is how long before its deletion the owner of an account is told once more.
const reminderBefore = 24 * time.Hour

// Deactivate makes an account inactive at its owner's wish. A deleteAfter that is not nil has it
// deleted then, but not before MinDeletionDelay of the [Config] has passed. The owner is told by
// mail at once, and again a day before, and calls it off by logging in with the password, by a
// password reset, or by activating the account. Errors: [ErrNotFound], [ErrInvalidRequest] for a
// time that can't be stored (source: com.atproto.server.deactivateAccount).
func (s *Service) Deactivate(ctx context.Context, did syntax.DID, deleteAfter *time.Time) error {
	if deleteAfter != nil {
		after := deleteAfter.UTC().Truncate(time.Millisecond)
		if y := after.Year(); y < 0 || y > 9999 { // a year has four digits in JSON, and in the index
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
		if r.Takedown != nil { // only an admin deletes it
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

// CallOffDeletionTx takes back the wish to be deleted of an account whose owner has logged in.
// The account stays deactivated.
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

// duePage is how many accounts one step of the background work takes.
const duePage = 100

// DeleteDue deletes the deactivated accounts whose time has come, and reminds the owners of those
// whose time comes within a day. It is to be run periodically.
func (s *Service) DeleteDue(ctx context.Context) error {
	return errors.Join(
		s.eachDue(ctx, "delete_after", s.deleteDue),
		s.eachDue(ctx, "remind_after", s.remind),
	)
}

// eachDue calls do for the accounts whose time in an index has come.
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
				return failed // the next pass goes on
			}
		}
		if r.After == "" {
			return failed
		}
	}
}

func (s *Service) deleteDue(ctx context.Context, id syntax.DID) error {
	deleted := false
	err := s.update(ctx, func(tx storage.Tx) error {
		deleted = false
		r, err := get(tx, id)
		switch {
		case errors.Is(err, ErrNotFound):
			return nil
		case err != nil:
			return err
		case r.DeleteAfter == nil || s.now().Before(*r.DeleteAfter) || r.Takedown != nil: // called off meanwhile
			return nil
		}
		deleted = true
		return s.remove(ctx, tx, r)
	})
	if err == nil && deleted {
		s.cfg.Logger.InfoContext(ctx, "deleted an account whose time had come", "did", id)
	}
	return err
}

// remind tells an owner that the deletion is near. What was not delivered the next pass tries
// again.
func (s *Service) remind(_ context.Context, id syntax.DID) error {
	if _, underWay := s.reminding.LoadOrStore(id, true); underWay {
		return nil
	}
	taken := s.queue.Do(mail.DeletionReminder, func(ctx context.Context) {
		defer s.reminding.Delete(id)
		if err := s.remindNow(ctx, id); err != nil {
			s.cfg.Logger.ErrorContext(ctx, "reminder not sent, or not noted and so sent again", "did", id, "error", err)
		}
	})
	if !taken {
		s.reminding.Delete(id)
	}
	return nil
}

// remindNow sends the reminder, if it is still due, and takes note of it.
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

// reminded takes note that the owner of an account has been told of the deletion, if it is still
// the same.
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
