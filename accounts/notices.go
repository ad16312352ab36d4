package accounts

import (
	"context"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
)

// Notify tells the owner of an account by e-mail what has happened to it, if there is an address
// and the operator has not muted the kind. It returns at once, and is to be called after the
// transaction in which it happened.
func (s *Service) Notify(ctx context.Context, id syntax.DID, kind mail.Kind, d mail.Data) {
	a, err := s.Get(ctx, id)
	if err != nil {
		s.cfg.Logger.WarnContext(ctx, "notice not sent", "kind", kind, "did", id, "error", err)
		return
	}
	s.notify(a, kind, d)
}

// notify is Notify for an account that is at hand.
func (s *Service) notify(a *Account, kind mail.Kind, d mail.Data) { s.notifyAt(a, a.Email, kind, d) }

// notifyAt is notify for an address that the account had.
func (s *Service) notifyAt(a *Account, to string, kind mail.Kind, d mail.Data) {
	if to == "" || slices.Contains(s.cfg.MuteNotices, kind) {
		return
	}
	d.When = s.now()
	s.queue.Do(kind, func(ctx context.Context) { _ = s.sendNotice(ctx, a, to, kind, d) })
}

// sendNotice sends a notice from a job of the queue. What was dropped since there were too many
// counts as sent.
func (s *Service) sendNotice(ctx context.Context, a *Account, to string, kind mail.Kind, d mail.Data) error {
	if err := s.cfg.Limits.Charge(ctx, "notice "+string(kind)+" to "+to, noticeBudget...); err != nil {
		s.cfg.Logger.WarnContext(ctx, "notice not sent", "kind", kind, "did", a.DID, "error", err)
		return nil
	}
	m, err := s.message(a, to, kind, d)
	if err == nil {
		err = s.queue.Send(ctx, m)
	}
	if err != nil {
		s.cfg.Logger.ErrorContext(ctx, "notice not sent", "kind", kind, "did", a.DID, "error", err)
	}
	return err
}
