package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/typed"
	"github.com/gatehouse-at/gatehouse/storage"
)

// CreateParams are what an account is made of.
type CreateParams struct {
	// Handle may be in any spelling that [handle.Normalize] understands.
	Handle   string
	Email    string
	Password string
	// Ticket is what the [Gate] wants to see, such as an invite code, in any spelling that the gate
	// understands.
	Ticket string
	// RecoveryKey is a did:key of the owner's, which outranks the server's keys
	// in the account's DID. Optional.
	RecoveryKey string
	// DID is the DID that an account brings with it when it moves here. The account starts
	// deactivated.
	DID syntax.DID
	// ProvenDID is the DID that the caller has proved to be theirs. It has to be
	// DID, if that is given.
	ProvenDID syntax.DID
	// ProofKey is the key that signed the proof, as a did:key. It must not be one that was held
	// here.
	ProofKey string
	// VerificationCode and VerificationPhone are passed to CheckSignUp of the [Config]; nothing else
	// looks at them.
	VerificationCode  string
	VerificationPhone string
	// AllowReserved lets an admin take handles that are reserved, offensive, or held for others.
	AllowReserved bool
	// Admit lets an admin make an account in every mode of sign-up, without a ticket and without
	// CheckSignUp. A ticket that is given all the same has to be valid, and is used.
	Admit bool
	// Guard runs in the first transaction of the sign-up, before anything else in it. Its error is
	// returned, and undoes what it wrote. Otherwise its writes last if that transaction does, even
	// if the directory then refuses the DID. It is the place to use up a proof that works once: if
	// the handle turns out to be taken, the proof is still good, and of many sign-ups at once with
	// the same proof one succeeds. Like any function of a transaction it may run more than once.
	// Optional.
	Guard func(storage.Tx) error
}

// pending is the state of a sign-up between its first and its last step.
type pending struct {
	Since     time.Time       `json:"since"`
	Operation json.RawMessage `json:"operation"`
	// Ticket is the one that was redeemed, which is given back if there is no account in the end.
	Ticket string `json:"ticket,omitempty"`
}

// The time that the outside half of a sign-up may take, and the age at which a pending account that
// the directory doesn't know is given up. The second must be well beyond the first.
const (
	submitTimeout  = time.Minute
	abandonAfter   = 5 * time.Minute
	recoverTimeout = time.Minute
)

// Create makes an account. The functions in also run in the transaction that makes the account
// visible, and an error of theirs undoes it (unless a recovery pass made it visible before: then it
// stays, and the error is returned all the same). Errors: [ErrSignUpClosed], [ErrInvalidRequest],
// [ErrInvalidPassword], [ErrInvalidEmail], [handle.ErrInvalid], [handle.ErrNotAvailable],
// [handle.ErrUnsupportedDomain], [handle.ErrUnresolved], [ErrEmailTaken], [ErrMissingAuth],
// [ErrHeldKey], [ErrDirectory], [ratelimit.ErrLimited], and those of the [Gate], the policies and
// CheckSignUp. An account whose DID is taken down here is taken down (source:
// com.atproto.server.createAccount).
func (s *Service) Create(ctx context.Context, p CreateParams, also ...func(storage.Tx, *Account) error) (*Account, error) {
	if err := s.checkMode(p); err != nil {
		return nil, err
	}
	p.Email = typed.Trim(p.Email)
	r, err := s.checkParams(ctx, &p)
	if err != nil {
		return nil, err
	}
	// From here on a refusal can tell whether an address has an account.
	if err := s.mayBeTold(ctx); err != nil {
		return nil, err
	}
	a, err := s.create(ctx, r, p, also)
	if errors.Is(err, ErrEmailTaken) {
		err = s.told(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// create is Create with parameters that are right by themselves.
func (s *Service) create(ctx context.Context, r *record, p CreateParams, also []func(storage.Tx, *Account) error) (*Account, error) {
	op, err := s.prepare(ctx, r, p)
	if err != nil {
		return nil, err
	}
	if op == nil {
		// Nothing happens outside the store: one step does.
		err := s.update(ctx, func(tx storage.Tx) error {
			if err := s.reserve(ctx, tx, r, p); err != nil {
				return err
			}
			return s.finish(ctx, tx, r, also)
		})
		if err != nil {
			return nil, err
		}
		return &r.Account, nil
	}
	if err := s.update(ctx, func(tx storage.Tx) error { return s.reserve(ctx, tx, r, p) }); err != nil {
		return nil, err
	}
	// From here on a client that hangs up must not leave things half done.
	ctx, cancel := context.WithTimeout(uninterrupted(ctx), submitTimeout)
	defer cancel()
	if err := s.submit(ctx, r.DID, op); err != nil {
		if errors.Is(err, did.ErrRefused) {
			_, uerr := s.undo(ctx, r.DID, false)
			err = errors.Join(err, uerr)
		}
		return nil, fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	var a *Account
	err = s.update(ctx, func(tx storage.Tx) error {
		r, err := accountsTable.Get(tx, r.DID.String())
		if errors.Is(err, storage.ErrNotFound) { // a recovery pass undid it before the operation was published
			return errGivenUp
		}
		if err != nil {
			return err
		}
		a = &r.Account
		if r.Pending == nil { // a recovery pass was faster
			return join(tx, r, also)
		}
		return s.finish(ctx, tx, r, also)
	})
	if err != nil {
		s.giveUp(ctx, r.DID, err)
		return nil, err
	}
	return a, nil
}

// giveUp undoes a sign-up that was refused after its DID was published: a DID that
// nobody can use is better tombstoned than left about. Where the store is what
// failed, the recovery pass finishes the sign-up later. An account that a recovery pass
// has finished keeps its DID.
func (s *Service) giveUp(ctx context.Context, id syntax.DID, cause error) {
	if outage(ctx, cause) {
		return
	}
	undone, err := s.undo(ctx, id, true)
	if undone {
		err = s.tombstone(ctx, id)
	}
	if err != nil {
		s.cfg.Logger.ErrorContext(ctx, "a refused sign-up was not undone", "did", id, "error", err)
	}
}

// outage reports whether a transaction failed for a reason that passes, so that doing it again
// may end well.
func outage(ctx context.Context, err error) bool {
	return errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrClosed) || ctx.Err() != nil
}

// checkParams checks the parameters by themselves, replaces the ticket by its normal form, and begins
// the record. With what follows it
// keeps to the reference server's order, so that a client is told of the same fault first.
func (s *Service) checkParams(ctx context.Context, p *CreateParams) (*record, error) {
	if err := s.checkNewPassword(p.Password); err != nil {
		return nil, err
	}
	var err error
	if p.Ticket, err = s.ticket(*p); err != nil {
		return nil, err
	}
	if p.Email == "" {
		return nil, refusal.New(ErrInvalidRequest, "Email is required")
	}
	email, err := s.CheckEmail(ctx, p.Email)
	if err != nil {
		return nil, err
	}
	h, err := s.handles.Check(ctx, p.Handle, p.claimant())
	if err != nil {
		return nil, err
	}
	if err := s.askPasswordPolicy(ctx, p.Password, PasswordOwner{Handle: h, Email: email, DID: p.DID}); err != nil {
		return nil, err
	}
	return &record{Account: Account{Handle: h, Email: email, CreatedAt: s.now()}}, nil
}

// prepare checks the parameters against what there is, and makes the rest of the record and the
// DID's first operation.
func (s *Service) prepare(ctx context.Context, r *record, p CreateParams) (*did.Operation, error) {
	err := s.store.View(ctx, func(tx storage.Tx) error { return s.checkFree(tx, r, p) })
	if err != nil {
		return nil, err
	}
	if err := s.checkProof(ctx, p); err != nil {
		return nil, s.told(ctx, err) // that the address is free
	}
	if err := s.chargeHash(ctx); err != nil {
		return nil, err
	}
	op, err := s.identify(ctx, r, p)
	if err != nil {
		return nil, err
	}
	if err := s.ask(ctx, r, p); err != nil {
		return nil, err
	}
	hash, err := s.cfg.Passwords.Hash(ctx, p.Password)
	if err != nil {
		return nil, err
	}
	s.setHash(r, hash)
	return op, nil
}

// identify gives the record its signing key and its DID, and returns the DID's first operation if
// one is to be published.
func (s *Service) identify(ctx context.Context, r *record, p CreateParams) (*did.Operation, error) {
	key, err := s.signingKey(ctx, p.DID)
	if err != nil {
		return nil, err
	}
	r.SigningKey, r.SealedKey = key.Public, key.Sealed
	if p.DID != "" {
		r.DID, r.DeactivatedAt, r.Brought, r.NotYetActivated = p.DID, &r.CreatedAt, true, true
		return nil, nil
	}
	minted, err := s.cfg.DIDs.Mint(ctx, did.MintParams{Handle: r.Handle, SigningKey: key.Public, RecoveryKey: p.RecoveryKey})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	r.DID = minted.DID
	if minted.Operation == nil {
		return nil, nil
	}
	raw, err := json.Marshal(minted.Operation)
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	r.Pending = &pending{Operation: raw, Ticket: p.Ticket}
	return minted.Operation, nil
}

// checkProof refuses a DID that the applicant hasn't proved to be theirs, and an invalid recovery
// key.
func (s *Service) checkProof(ctx context.Context, p CreateParams) error {
	if err := checkOwner(p); err != nil {
		return err
	}
	if p.ProofKey != "" {
		if err := s.store.View(ctx, func(tx storage.Tx) error { return checkProofKey(tx, p.DID, p.ProofKey) }); err != nil {
			return err
		}
	}
	if err := did.CheckRecoveryKey(p.RecoveryKey); err != nil {
		return refusal.New(ErrInvalidRequest, "Invalid recovery key: recoveryKey must be a K-256 or P-256 did:key")
	}
	return nil
}

// claimant is who asks for the handle.
func (p CreateParams) claimant() handle.Claimant {
	return handle.Claimant{DID: p.DID, New: true, Override: p.AllowReserved}
}

// checkFree refuses a ticket that can't be used, and a handle or an address that is taken.
func (s *Service) checkFree(tx storage.Tx, r *record, p CreateParams) error {
	if p.Ticket != "" {
		if err := s.cfg.Gate.Check(tx, p.Ticket); err != nil {
			return err
		}
	}
	if err := s.handles.CheckFree(tx, r.Handle, p.claimant()); err != nil {
		return err
	}
	switch _, err := accountsTable.GetBy(tx, "email", r.Email); {
	case err == nil:
		return refusal.Newf(ErrEmailTaken, "Email already taken: %s", p.Email)
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	return nil
}

// reserve is the first step: everything is checked again, now for good, and the ticket used.
func (s *Service) reserve(ctx context.Context, tx storage.Tx, r *record, p CreateParams) error {
	if p.Guard != nil {
		if err := p.Guard(tx); err != nil {
			return err
		}
	}
	if err := s.checkFree(tx, r, p); err != nil {
		return err
	}
	if p.ProofKey != "" {
		if err := checkProofKey(tx, p.DID, p.ProofKey); err != nil {
			return err
		}
	}
	if p.DID == "" {
		if err := s.handles.CheckDID(tx, r.Handle); err != nil {
			return err
		}
	}
	switch _, err := accountsTable.Get(tx, r.DID.String()); {
	case err == nil:
		return refusal.Newf(ErrInvalidRequest, "Account already exists: %s", r.DID)
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	if err := s.comeBack(tx, r); err != nil {
		return err
	}
	if p.Ticket != "" {
		if err := s.cfg.Gate.Redeem(tx, p.Ticket, r.DID); err != nil {
			return err
		}
	}
	// A key that was reserved for the account has found its place.
	if err := reservedTable.Delete(tx, r.SigningKey); err != nil {
		return err
	}
	if r.Pending != nil {
		r.Pending.Since = s.now()
	}
	return s.changed(ctx, tx, Creating, nil, r)
}

// finish is the last step: the account becomes visible.
func (s *Service) finish(ctx context.Context, tx storage.Tx, r *record, also []func(storage.Tx, *Account) error) error {
	r.Pending = nil
	if err := s.handles.EndHold(tx, r.Handle); err != nil {
		return err
	}
	if err := s.changed(ctx, tx, Created, nil, r); err != nil {
		return err
	}
	return join(tx, r, also)
}

func join(tx storage.Tx, r *record, also []func(storage.Tx, *Account) error) error {
	r.remember()
	for _, f := range also {
		if err := f(tx, &r.Account); err != nil {
			return err
		}
	}
	return nil
}

// undo takes the first step back, and reports whether there is no account then. A DID that was
// published is noted, to be tombstoned.
func (s *Service) undo(ctx context.Context, id syntax.DID, published bool) (undone bool, err error) {
	err = s.update(ctx, func(tx storage.Tx) error {
		undone = false
		r, err := accountsTable.Get(tx, id.String())
		switch {
		case errors.Is(err, storage.ErrNotFound):
		case err != nil:
			return err
		case r.Pending == nil:
			return nil
		case r.Pending.Ticket != "" && s.cfg.Gate != nil:
			if err := s.cfg.Gate.Release(tx, r.Pending.Ticket, r.DID); err != nil {
				return err
			}
		}
		undone = true
		if published {
			now := s.now()
			gone := &didChange{DID: id, Kind: Deleted, To: id.String(), Since: now, Until: now.Add(submitTimeout)}
			if err := didChanges.Put(tx, gone); err != nil {
				return err
			}
		}
		return accountsTable.Delete(tx, id.String())
	})
	return undone && err == nil, err
}

// tombstone gives up the DID of a sign-up that was undone. Until that is done, the recovery pass
// tries again.
func (s *Service) tombstone(ctx context.Context, id syntax.DID) error {
	err := s.cfg.DIDs.Tombstone(ctx, id)
	switch {
	case errors.Is(err, did.ErrTombstoned):
	case errors.Is(err, did.ErrRefused), errors.Is(err, did.ErrNotController), errors.Is(err, did.ErrNotFound): // it is not ours any more
		s.cfg.Logger.WarnContext(ctx, "the DID of a refused sign-up was not tombstoned", "did", id, "error", err)
	case err != nil:
		return err
	}
	return s.store.Update(ctx, func(tx storage.Tx) error { return didChanges.Delete(tx, changeKey(id, Deleted)) })
}

// submit publishes an operation. When the directory's answer got lost, it asks
// whether the operation arrived.
func (s *Service) submit(ctx context.Context, id syntax.DID, op *did.Operation) error {
	err := s.cfg.DIDs.Submit(ctx, id, op)
	if err == nil || errors.Is(err, did.ErrRefused) {
		return err
	}
	if known, asked := s.cfg.DIDs.Exists(ctx, id); asked == nil && known {
		return nil
	}
	return err
}

// Recover ends sign-ups and changes of handles and signing keys that were cut short. Those that the
// directory knows of are finished; those that it has not heard of for some minutes are undone; DIDs
// that were to be given up are. It is to be run at start and now and then. One pass takes a minute
// at most: with a directory that doesn't answer, each of them would be waited for.
func (s *Service) Recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoverTimeout)
	defer cancel()
	return errors.Join(s.recoverSignUps(ctx), s.recoverChanges(ctx))
}

func (s *Service) recoverSignUps(ctx context.Context) error {
	var stuck []*record
	err := s.store.View(ctx, func(tx storage.Tx) (err error) {
		stuck, err = accountsTable.All(tx, storage.Range{Index: "pending", Limit: 1000})
		return err
	})
	if err != nil {
		return err
	}
	var failed error
	for _, r := range stuck {
		if !r.Pending.Since.Before(s.started) && s.now().Sub(r.Pending.Since) < submitTimeout {
			continue // this process is at it
		}
		if err := s.recover(ctx, r); err != nil {
			failed = errors.Join(failed, fmt.Errorf("recovering the sign-up of %s: %w", r.DID, err))
		}
		if ctx.Err() != nil {
			break // the next pass goes on
		}
	}
	return failed
}

func (s *Service) recover(ctx context.Context, r *record) error {
	known, err := s.cfg.DIDs.Exists(ctx, r.DID)
	switch {
	case err != nil:
		return err
	case known:
		s.cfg.Logger.InfoContext(ctx, "finishing a sign-up that was cut short", "did", r.DID)
		err := s.update(ctx, func(tx storage.Tx) error {
			r, err := accountsTable.Get(tx, r.DID.String())
			if errors.Is(err, storage.ErrNotFound) || err == nil && r.Pending == nil {
				return nil
			}
			if err != nil {
				return err
			}
			return s.finish(ctx, tx, r, nil)
		})
		if err != nil {
			s.giveUp(ctx, r.DID, err)
		}
		return err
	case s.now().Sub(r.Pending.Since) < abandonAfter:
		return nil // it may be on its way
	}
	s.cfg.Logger.InfoContext(ctx, "undoing a sign-up that was cut short", "did", r.DID)
	_, err = s.undo(ctx, r.DID, false)
	return err
}
