package accounts

import (
	"context"
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// TakeDown takes an account down, under a reference of the moderators' own, or the time if that is
// empty. Its sessions end, and only tokens for leaving the server are issued until
// [Service.Restore]. Codes that were mailed before are void, a scheduled deletion is called off,
// and nobody but an admin deletes the account; the takedown then stays with the DID (source:
// com.atproto.admin.updateSubjectStatus).
func (s *Service) TakeDown(ctx context.Context, did syntax.DID, ref string) error {
	return s.modify(ctx, did, StatusChanged, func(tx storage.Tx, r *record) error { return s.takeDown(tx, r, ref) })
}

func (s *Service) takeDown(tx storage.Tx, r *record, ref string) error {
	r.Takedown = r.Takedown.again(ref, s.now())
	r.DeleteAfter = nil
	return codes.Void(tx, r.DID)
}

// again is a takedown that is decided now. Of an account that is down already it changes the
// reference only: it is still the same takedown, and the tokens for leaving that depend on it are
// good.
func (t *Takedown) again(ref string, now time.Time) *Takedown {
	if ref == "" {
		ref = now.Format(syntax.AtprotoDatetimeLayout)
	}
	at := now
	if t != nil {
		at = t.At
	}
	return &Takedown{Ref: storage.Text(ref), At: at}
}

// Restore ends a takedown, also one that has stayed with the DID of an account that was deleted.
// Error: [ErrNotFound].
func (s *Service) Restore(ctx context.Context, did syntax.DID) error {
	no := false
	return s.UpdateStatus(ctx, did, StatusUpdate{Takedown: &no})
}

// TakedownOf returns the takedown of a DID, whether or not it has an account here: it is nil if
// there is none. Error: [ErrNotFound] if there is neither an account nor a takedown.
func (s *Service) TakedownOf(ctx context.Context, id syntax.DID) (*Takedown, error) {
	var t *Takedown
	err := s.store.View(ctx, func(tx storage.Tx) error {
		switch r, err := get(tx, id); {
		case err == nil:
			t = r.Takedown
			return nil
		case !errors.Is(err, ErrNotFound):
			return err
		}
		var err error
		if t, err = stickyTakedown(tx, id); err == nil && t == nil {
			return ErrNotFound
		}
		return err
	})
	return t, err
}

// Reactivate ends a deactivation, without looking at the DID document.
func (s *Service) Reactivate(ctx context.Context, did syntax.DID) error {
	return s.modify(ctx, did, StatusChanged, func(tx storage.Tx, r *record) error {
		r.activate()
		return nil
	})
}

// SendNotice mails an account a message of the server's administrators. Errors: [ErrNotFound],
// [ErrInvalidRequest] if it has no address, or the message isn't text (source:
// com.atproto.admin.sendEmail).
func (s *Service) SendNotice(ctx context.Context, did syntax.DID, subject, body string) error {
	a, err := s.Get(ctx, did)
	if err != nil {
		return err
	}
	if a.Email == "" {
		return errNoEmail
	}
	m, err := s.message(a, a.Email, mail.Notice, mail.Data{Subject: subject, Body: body})
	if errors.Is(err, mail.ErrInvalidData) {
		return refusal.New(ErrInvalidRequest, "subject and content must be text, the subject in one line")
	}
	if err != nil {
		return err
	}
	return s.send(ctx, a.DID, m)
}
