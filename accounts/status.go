package accounts

import (
	"context"
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// TakeDown takes an account down, under a reference of the moderators' own, or the time
// if that is empty. Its sessions end, and only tokens for leaving the server are issued until
// [Service.Restore] (source: com.atproto.admin.updateSubjectStatus).
func (s *Service) TakeDown(ctx context.Context, did syntax.DID, ref string) error {
	return s.modify(ctx, did, StatusChanged, func(tx storage.Tx, r *record) error {
		r.Takedown = r.Takedown.again(ref, s.now())
		return nil
	})
}

// again is a takedown that is decided now. Of an account that is down already it changes the reference only: it is
// still the same takedown, and the tokens for leaving that depend on it are good.
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

// Restore ends a takedown.
func (s *Service) Restore(ctx context.Context, did syntax.DID) error {
	return s.modify(ctx, did, StatusChanged, func(tx storage.Tx, r *record) error {
		r.Takedown = nil
		return nil
	})
}

// Deactivate makes an account inactive at its owner's wish. A deleteAfter that
// is not nil has it deleted then, unless it is activated before. Errors: [ErrNotFound],
// [ErrInvalidRequest] for a time that can't be stored
// (source: com.atproto.server.deactivateAccount).
func (s *Service) Deactivate(ctx context.Context, did syntax.DID, deleteAfter *time.Time) error {
	if deleteAfter != nil {
		after := deleteAfter.UTC().Truncate(time.Millisecond)
		if y := after.Year(); y < 0 || y > 9999 { // a year has four digits in JSON, and in the index
			return refusal.New(ErrInvalidRequest, "deleteAfter must be in the years 0 to 9999")
		}
		deleteAfter = &after
	}
	return s.modify(ctx, did, StatusChanged, func(tx storage.Tx, r *record) error {
		now := s.now()
		r.DeactivatedAt, r.DeleteAfter = &now, deleteAfter
		return nil
	})
}

// Reactivate ends a deactivation, without looking at the DID document.
func (s *Service) Reactivate(ctx context.Context, did syntax.DID) error {
	return s.modify(ctx, did, StatusChanged, func(tx storage.Tx, r *record) error {
		r.DeactivatedAt, r.DeleteAfter = nil, nil
		return nil
	})
}

// SetInvites lets an account earn usable invite codes, or has those that it earns
// be disabled. The note, if not empty, says why
// (source: com.atproto.admin.disableAccountInvites and enableAccountInvites).
func (s *Service) SetInvites(ctx context.Context, did syntax.DID, enabled bool, note string) error {
	return s.modify(ctx, did, StatusChanged, func(tx storage.Tx, r *record) error {
		r.InvitesDisabled, r.InviteNote = !enabled, storage.Text(note)
		return nil
	})
}

// SendNotice mails an account a message of the server's administrators. Errors: [ErrNotFound],
// [ErrInvalidRequest] if it has no address, or the message isn't text (source: com.atproto.admin.sendEmail).
func (s *Service) SendNotice(ctx context.Context, did syntax.DID, subject, body string) error {
	a, err := s.Get(ctx, did)
	if err != nil {
		return err
	}
	if a.Email == "" {
		return errNoEmail
	}
	err = s.deliver(ctx, a, mail.Notice, mail.Data{Subject: subject, Body: body})
	if errors.Is(err, mail.ErrInvalidData) {
		return refusal.New(ErrInvalidRequest, "subject and content must be text, the subject in one line")
	}
	return err
}
