package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// didChange is a change of what both an account and its DID say, between its first and its last
// step: it is announced, then made in the DID, and then in the account. An account has one of a
// kind at a time. If it is of the kind Deleted, there is no account any more, and the DID is to be
// tombstoned.
type didChange struct {
	DID  syntax.DID `json:"did"`
	Kind Kind       `json:"kind"`
	// To is the handle or the key that comes. Meanwhile it is kept from other accounts. If Kind is
	// Deleted it is the DID.
	To string `json:"to"`
	// Hold says that the handle that is given up is to be held for the account.
	Hold  bool      `json:"hold,omitempty"`
	Since time.Time `json:"since"`
	// Until is when nobody is at it any more.
	Until time.Time `json:"until"`
}

var didChanges = storage.NewCollection("did_changes",
	func(c *didChange) string { return changeKey(c.DID, c.Kind) },
	storage.Unique("to", func(c *didChange) string { return storage.Join(string(c.Kind), c.To) }),
	storage.Ordered("until", func(c *didChange) string { return storage.TimeKey(c.Until) }),
).OwnedBy(storage.OwnerGatehouse)

func changeKey(id syntax.DID, kind Kind) string { return storage.Join(id.String(), string(kind)) }

// insistFor is how long the recovery pass tries to bring a DID to what its account says.
const insistFor = 24 * time.Hour

var errGivenUp = fmt.Errorf("%w: the answer took too long", ErrDirectory)

// aspect is what a didChange changes.
type aspect struct {
	kind Kind
	// what it is, in messages.
	what string
	// busy refuses a change while another is under way.
	busy error
	// of is what an account has, in what its did:plc says, and declared what a document says, which
	// may be nothing.
	of       func(*Account) string
	in       func(*did.Data) string
	declared func(*identity.Identity) string
	// tell puts it into an operation for the DID, and give into the account.
	tell func(*did.Operation, string)
	give func(*Service, storage.Tx, *record, *didChange) error
	// publish says what the owner has to do if only they can change the DID.
	publish func(to string) string
	// notice is the kind of e-mail that tells the owner of the change; empty for none.
	notice mail.Kind
}

var aspects = map[Kind]*aspect{HandleChanged: handleAspect, KeyChanged: keyAspect}

// ref names the change by which an account is about to get something, for storage.Prefetch.
func (p *aspect) ref(to string) storage.Ref {
	return didChanges.RefBy("to", storage.Join(string(p.kind), to))
}

// under returns the account that is about to get something, or an empty DID.
func (p *aspect) under(tx storage.Tx, to string) (syntax.DID, error) {
	c, err := didChanges.GetBy(tx, "to", storage.Join(string(p.kind), to))
	if errors.Is(err, storage.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return c.DID, nil
}

// foreign reports whether somebody else serves the document of a DID, so that only its owner can
// change it.
func (s *Service) foreign(id syntax.DID) bool { return id.Method() != "plc" && !s.hostedWeb(id) }

// checkDeclared refuses a change that the document of a foreign DID doesn't have yet.
func (s *Service) checkDeclared(ctx context.Context, p *aspect, id syntax.DID, to string) error {
	ident, err := s.identity(ctx, id)
	if err != nil {
		return refusal.New(ErrInvalidRequest, "Could not resolve DID")
	}
	if p.declared(ident) != to {
		return refusal.Newf(ErrInvalidRequest, "DID is not properly configured for %s: %s in the DID document first, then ask again", p.what, p.publish(to))
	}
	return nil
}

// announce is the first step of a change, and fills in its kind and times. The caller has checked
// that no other account has, or is about to get, the same.
func (s *Service) announce(tx storage.Tx, p *aspect, c didChange) error {
	now := s.now()
	switch other, err := didChanges.Get(tx, changeKey(c.DID, p.kind)); {
	case err == nil && other.To != c.To && now.Before(other.Until):
		return p.busy
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return err
	}
	c.Kind, c.Since, c.Until = p.kind, now, now.Add(submitTimeout)
	return didChanges.Put(tx, &c)
}

// carryOut makes a change that was announced.
func (s *Service) carryOut(ctx context.Context, p *aspect, id syntax.DID, to string) error {
	// From here on a client that hangs up must not leave things half done.
	ctx, cancel := context.WithTimeout(uninterrupted(ctx), submitTimeout)
	defer cancel()
	err := s.changeDID(ctx, id, func(op *did.Operation) { p.tell(op, to) })
	switch {
	case errors.Is(err, did.ErrNotController):
		if err := s.leave(ctx, p, id, to, true); err != nil {
			return err
		}
		return ownersTask("%s in the DID first, then ask again", p.publish(to))
	case errors.Is(err, did.ErrNotFound), errors.Is(err, did.ErrTombstoned):
		return errors.Join(directoryError(err), s.leave(ctx, p, id, to, true))
	case err != nil:
		return errors.Join(err, s.leave(ctx, p, id, to, errors.Is(err, did.ErrRefused)))
	}
	return s.finishOrRevert(ctx, p, id, to)
}

// errOwnersTask is the kind of a change that only the owner of the DID can make. It is an
// [ErrInvalidRequest] and a [did.ErrNotController].
var errOwnersTask = fmt.Errorf("%w: %w", ErrInvalidRequest, did.ErrNotController)

// ownersTask refuses a change that the server can't make, since its rotation key isn't among those
// of the DID, and says what the owner has to do.
func ownersTask(format string, args ...any) error {
	return refusal.Newf(errOwnersTask, "The rotation keys of the DID do not include the server's: "+format, args...)
}

// uninterrupted is a context for what has to be finished once it was begun: neither a client that
// hangs up nor the end of its session ends it.
func uninterrupted(ctx context.Context) context.Context {
	return storage.WithoutPrecondition(context.WithoutCancel(ctx))
}

// changeDID changes an account's DID in the directory. Errors: [did.ErrNotController] if only the
// owner can change it, otherwise [ErrDirectory].
func (s *Service) changeDID(ctx context.Context, id syntax.DID, change func(*did.Operation)) error {
	err := s.cfg.DIDs.Change(ctx, id, change)
	if s.cfg.Resolver != nil {
		s.cfg.Resolver.Forget(id) // also when it failed: it may have happened all the same
	}
	if err != nil && !errors.Is(err, did.ErrNotController) {
		return fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	return err
}

// finishChange is the last step. It may be done already.
func (s *Service) finishChange(ctx context.Context, p *aspect, id syntax.DID, to string) error {
	var changed *Account
	err := s.update(ctx, func(tx storage.Tx) error {
		changed = nil
		r, err := get(tx, id)
		if err != nil {
			return err
		}
		has := p.of(&r.Account)
		c, err := didChanges.Get(tx, changeKey(id, p.kind))
		switch {
		case errors.Is(err, storage.ErrNotFound) && has == to:
			return nil
		case errors.Is(err, storage.ErrNotFound):
			return errGivenUp
		case err == nil && c.To != to:
			return p.busy // a later change has overtaken it
		case err != nil:
			return err
		}
		if err := didChanges.Delete(tx, changeKey(id, p.kind)); err != nil {
			return err
		}
		if has == to {
			return nil
		}
		before := r.Account
		if err := p.give(s, tx, r, c); err != nil {
			return err
		}
		changed = &r.Account
		return s.changed(ctx, tx, p.kind, &before, r)
	})
	if err == nil && changed != nil && p.notice != "" {
		s.notify(changed, p.notice, mail.Data{})
	}
	return err
}

// finishOrRevert is finishChange that changes the DID back if a hook refuses.
func (s *Service) finishOrRevert(ctx context.Context, p *aspect, id syntax.DID, to string) error {
	err := s.finishChange(ctx, p, id, to)
	if err == nil || outage(ctx, err) || errors.Is(err, p.busy) || errors.Is(err, ErrNotFound) {
		return err
	}
	if rerr := s.revert(ctx, p, id, to); rerr != nil { // the recovery pass tries again
		s.cfg.Logger.ErrorContext(ctx, "a refused change was not taken back in the DID", "did", id, "change", p.kind, "error", rerr)
	}
	return err
}

// revert brings an account's DID back to what the account says, after a change that was refused, or
// given up, when the DID had it already. It is a change in place of that one, in which only the DID
// takes part. Of a DID that only its owner can change, what the owner published stays.
func (s *Service) revert(ctx context.Context, p *aspect, id syntax.DID, refused string) error {
	var to string
	err := s.store.Update(ctx, func(tx storage.Tx) error {
		a, err := GetTx(tx, id)
		if err != nil {
			return err
		}
		to = p.of(a)
		c, err := didChanges.Get(tx, changeKey(id, p.kind))
		if err == nil && c.To == refused {
			err = didChanges.Delete(tx, changeKey(id, p.kind))
		}
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		return s.announce(tx, p, didChange{DID: id, To: to})
	})
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, p.busy): // nothing to revert, or the other change sees to it
		return nil
	case err != nil:
		return err
	}
	err = s.changeDID(ctx, id, func(op *did.Operation) { p.tell(op, to) })
	switch {
	case errors.Is(err, did.ErrNotController):
		return s.leave(ctx, p, id, to, true)
	case err != nil:
		return errors.Join(err, s.leave(ctx, p, id, to, false))
	}
	return s.finishChange(ctx, p, id, to)
}

// leave ends a change that failed: for good if the directory refused, else until it is known what
// came of it.
func (s *Service) leave(ctx context.Context, p *aspect, id syntax.DID, to string, refused bool) error {
	return s.store.Update(ctx, func(tx storage.Tx) error {
		c, err := didChanges.Get(tx, changeKey(id, p.kind))
		switch {
		case errors.Is(err, storage.ErrNotFound), err == nil && c.To != to:
			return nil
		case err != nil:
			return err
		case refused:
			return didChanges.Delete(tx, changeKey(id, p.kind))
		}
		c.Until = s.now()
		return didChanges.Put(tx, c)
	})
}

// recoverChanges ends changes that were cut short: in the account too, if the DID has them; in the
// DID too, if the account has them; and nowhere, if some minutes later neither has.
func (s *Service) recoverChanges(ctx context.Context) error {
	var stuck []*didChange
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		stuck, err = didChanges.All(tx, storage.Range{Index: "until", To: storage.TimeKey(s.now().Add(time.Millisecond)), Limit: 1000})
		return err
	})
	for _, c := range stuck {
		if rerr := s.recoverChange(ctx, c); rerr != nil {
			err = errors.Join(err, fmt.Errorf("recovering a change (%s) of %s: %w", c.Kind, c.DID, rerr))
		}
		if ctx.Err() != nil {
			break // the next pass goes on
		}
	}
	return err
}

func (s *Service) recoverChange(ctx context.Context, c *didChange) error {
	if c.Kind == Deleted {
		return s.tombstone(ctx, c.DID)
	}
	p := aspects[c.Kind]
	if p == nil {
		return errors.New("of a kind that this program doesn't know")
	}
	a, err := s.Get(ctx, c.DID)
	if errors.Is(err, ErrNotFound) { // deleted meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	changed := true // a DID that isn't in the directory needs no change there
	if c.DID.Method() == "plc" {
		data, err := s.cfg.DIDs.Data(ctx, c.DID)
		switch {
		case errors.Is(err, did.ErrNotFound), errors.Is(err, did.ErrTombstoned):
			changed = false
		case err != nil:
			return err
		default:
			changed = p.in(data) == c.To
		}
	}
	age := s.now().Sub(c.Since)
	switch {
	case changed:
		s.cfg.Logger.InfoContext(ctx, "finishing a change that was cut short", "did", c.DID, "change", c.Kind)
		err := s.finishOrRevert(ctx, p, c.DID, c.To)
		if errors.Is(err, p.busy) {
			return nil
		}
		return err
	case p.of(a) == c.To && age < insistFor:
		s.cfg.Logger.InfoContext(ctx, "bringing a DID to what its account says", "did", c.DID, "change", c.Kind)
		err := s.changeDID(ctx, c.DID, func(op *did.Operation) { p.tell(op, c.To) })
		switch {
		case errors.Is(err, did.ErrNotController), errors.Is(err, did.ErrTombstoned): // never again
			return s.leave(ctx, p, c.DID, c.To, true)
		case err != nil:
			return err
		}
		return s.finishChange(ctx, p, c.DID, c.To)
	case age < abandonAfter:
		return nil // it may be on its way
	}
	s.cfg.Logger.InfoContext(ctx, "giving up a change that was cut short", "did", c.DID, "change", c.Kind)
	return s.leave(ctx, p, c.DID, c.To, true)
}
