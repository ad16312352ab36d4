package accounts

import (
	"context"
	"errors"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
)

var errNoEmail = refusal.New(ErrInvalidRequest, "account does not have an email address")

// message renders an e-mail about an account.
func (s *Service) message(a *Account, to string, kind mail.Kind, d mail.Data) (mail.Message, error) {
	d.To, d.Handle, d.ServiceName = to, a.Handle.String(), s.cfg.ServiceName
	return s.cfg.Templates.Render(kind, d)
}

// send sends a message, and waits until the mailer has accepted it.
func (s *Service) send(ctx context.Context, did syntax.DID, m mail.Message) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.cfg.MailTimeout) // once for a free sender, once for the delivery
	defer cancel()
	err := s.queue.Send(ctx, m)
	if err != nil {
		s.cfg.Logger.ErrorContext(ctx, "e-mail not delivered", "kind", m.Kind, "did", did, "error", err)
	}
	return err
}

// Send e-mails the owner of an account a message of the server's administrators, and waits until
// the mailer has accepted it. Errors: [ErrNotFound], [ErrInvalidRequest] if the account has no
// address or the message isn't text, [mail.ErrDelivery] (source: com.atproto.admin.sendEmail).
func (e *Emails) Send(ctx context.Context, did syntax.DID, subject, body string) error {
	a, err := e.s.Get(ctx, did)
	if err != nil {
		return err
	}
	if a.Email == "" {
		return errNoEmail
	}
	m, err := e.s.message(a, a.Email, mail.Notice, mail.Data{Subject: subject, Body: body})
	if errors.Is(err, mail.ErrInvalidData) {
		return refusal.New(ErrInvalidRequest, "subject and content must be text, the subject in one line")
	}
	if err != nil {
		return err
	}
	return e.s.send(ctx, a.DID, m)
}

// Notify notifies the owner of an account by e-mail of what has happened to it, unless the account
// has no address or MuteNotices of the [Config] has the kind. It returns at once: the e-mail is
// sent in the background, and a failure is only logged. Call it after the transaction in which it
// happened.
func (e *Emails) Notify(ctx context.Context, id syntax.DID, kind mail.Kind, d mail.Data) {
	a, err := e.s.Get(ctx, id)
	if err != nil {
		e.s.cfg.Logger.WarnContext(ctx, "notice not sent", "kind", kind, "did", id, "error", err)
		return
	}
	e.s.notify(a, kind, d)
}

// notify is Notify for an account that has been read already.
func (s *Service) notify(a *Account, kind mail.Kind, d mail.Data) { s.notifyAt(a, a.Email, kind, d) }

// notifyAt is notify for an address that the account has or had.
func (s *Service) notifyAt(a *Account, to string, kind mail.Kind, d mail.Data) {
	if to == "" || slices.Contains(s.cfg.MuteNotices, kind) {
		return
	}
	d.When = s.now()
	s.queue.Do(kind, func(ctx context.Context) { _ = s.sendNotice(ctx, a, to, kind, d) })
}

// sendNotice sends a notice from a job of the queue. A notice beyond the recipient's budget is
// dropped without an error.
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
