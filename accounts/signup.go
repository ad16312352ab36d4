package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/typed"
	"github.com/gatehouse-at/gatehouse/storage"
)

// CreateParams are the parameters of [Service.Create].
type CreateParams struct {
	// Handle may be in any spelling that [handle.Normalize] understands.
	Handle string
	// Email may be in any spelling that [NormalizeEmail] understands.
	Email    string
	Password string
	// Ticket is the ticket for the [Gate], such as an invite code, in any spelling that the Gate
	// understands.
	Ticket string
	// RecoveryKey is a rotation key of the owner's, as a did:key, which outranks the server's in
	// the new DID. Optional.
	RecoveryKey string
	// DID is the existing DID of an account that moves here. The account starts deactivated. It is
	// empty for a new DID.
	DID syntax.DID
	// ProvenDID is the DID that the caller has proved to control. If DID is set, it must be the
	// same.
	ProvenDID syntax.DID
	// ProofKey is the key that signed the proof, as a did:key. It must not be a key that this
	// server holds or has held for the DID.
	ProofKey string
	// VerificationCode and VerificationPhone are passed to CheckSignUp of the [Config], and not
	// used otherwise.
	VerificationCode  string
	VerificationPhone string
	// AllowReserved permits an admin to use a handle that is reserved, held for another account, or
	// refused by the policy.
	AllowReserved bool
	// Admit permits an admin to create an account in every [SignUpMode], without a ticket and
	// without CheckSignUp. If there is a ticket all the same, it must be valid, and is redeemed.
	Admit bool
	// NoPassword creates an account without a password, whose owner signs in with other
	// credentials. Password must be empty then. A password reset gives the account a password.
	NoPassword bool
	// Guard runs at the beginning of the first transaction of the sign-up. If it returns an error,
	// the sign-up fails with that error and nothing is written. Otherwise what it writes is
	// committed with that transaction, and isn't undone if the directory refuses the DID later. It
	// is the place to redeem a proof that works once: if the handle turns out to be taken, the
	// proof can be used again, and of several concurrent sign-ups with the same proof only one
	// succeeds. Like any function of a transaction it may run more than once. Optional.
	Guard func(storage.Tx) error
}

// Create creates an account. The functions in also run in the transaction that makes the account
// visible. If one returns an error, Create returns it and undoes the sign-up, unless
// [Service.Maintain] has made the account visible before: then the account stays. If a takedown has
// outlived an earlier account of the DID, the new account is taken down. Errors: [ErrSignUpClosed],
// [ErrInvalidRequest], [ErrInvalidPassword], [ErrNoPasswords], [ErrInvalidEmail],
// [handle.ErrInvalid], [handle.ErrNotAvailable], [handle.ErrUnsupportedDomain],
// [handle.ErrUnresolved], [ErrEmailTaken], [ErrMissingAuth], [ErrHeldKey], [ErrDirectory],
// [ratelimit.ErrLimited], and those of the [Gate], the policies, the hooks and CheckSignUp (source:
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
	// From here on a refusal can reveal whether an address has an account.
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

// create is Create for parameters that have passed checkParams.
func (s *Service) create(ctx context.Context, r *record, p CreateParams, also []func(storage.Tx, *Account) error) (*Account, error) {
	c, err := s.prepare(ctx, r, p)
	if err != nil {
		return nil, err
	}
	u := signUp{s, also}
	err = s.update(ctx, func(tx storage.Tx) error {
		if err := s.reserve(ctx, tx, r, p); err != nil {
			return err
		}
		if c == nil { // nothing is to be published, so one transaction is enough
			return u.complete(ctx, tx, r)
		}
		return s.begin(tx, c)
	})
	switch {
	case err != nil:
		return nil, err
	case c == nil:
		return &r.Account, nil
	}
	return s.carryOut(ctx, u, c)
}

// checkParams checks the parameters by themselves, replaces the ticket by the form in which it was
// issued, and returns a record with its first fields. Here and in the next steps, the checks are in
// the order of the reference server, so that clients get the same error if there are several.
func (s *Service) checkParams(ctx context.Context, p *CreateParams) (*record, error) {
	if err := s.checkSignUpPassword(*p); err != nil {
		return nil, err
	}
	var err error
	if p.Ticket, err = s.ticket(*p); err != nil {
		return nil, err
	}
	if p.Email == "" {
		return nil, refusal.New(ErrInvalidRequest, "Email is required")
	}
	email, err := s.Emails().Check(ctx, p.Email)
	if err != nil {
		return nil, err
	}
	h, err := s.handles.Check(ctx, p.Handle, p.claimant())
	if err != nil {
		return nil, err
	}
	if !p.NoPassword {
		if err := s.askPasswordPolicy(ctx, p.Password, PasswordOwner{Handle: h, Email: email, DID: p.DID}); err != nil {
			return nil, err
		}
	}
	return &record{Account: Account{Handle: h, Email: email, CreatedAt: s.now()}}, nil
}

// prepare checks the parameters against what is stored, fills in the rest of the record, and
// returns the change that publishes the DID; nil if nothing is to be published.
func (s *Service) prepare(ctx context.Context, r *record, p CreateParams) (*didChange, error) {
	if err := s.viewFree(ctx, r, p); err != nil {
		return nil, err
	}
	if err := s.checkProof(ctx, p); err != nil {
		return nil, s.told(ctx, err) // it reveals that the address is free
	}
	if !p.NoPassword {
		if err := s.chargeHash(ctx); err != nil {
			return nil, err
		}
	}
	c, err := s.identify(ctx, r, p)
	if err != nil {
		return nil, err
	}
	if err := s.ask(ctx, r, p); err != nil {
		return nil, err
	}
	if p.NoPassword {
		return c, nil
	}
	hash, err := s.cfg.Passwords.Hash(ctx, p.Password)
	if err != nil {
		return nil, err
	}
	s.setHash(r, hash)
	return c, nil
}

// identify fills in the signing key and the DID of the record, and returns the change that
// publishes the DID; nil if nothing is to be published.
func (s *Service) identify(ctx context.Context, r *record, p CreateParams) (*didChange, error) {
	key, err := s.signingKey(ctx, p.DID)
	if err != nil {
		return nil, err
	}
	r.SigningKey, r.SealedKey = key.Public, key.Sealed
	if p.DID != "" {
		r.DID, r.DeactivatedAt, r.Brought, r.NotYetActivated = p.DID, &r.CreatedAt, true, true
		return nil, nil
	}
	id, op, err := s.cfg.DIDs.Mint(ctx, did.MintParams{Handle: r.Handle, SigningKey: key.Public, RecoveryKey: p.RecoveryKey})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	r.DID = id
	if op == nil {
		return nil, nil
	}
	raw, err := json.Marshal(op)
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	r.Pending = &pending{}
	return &didChange{DID: r.DID, Kind: changeSignUp, Operation: raw, Ticket: p.Ticket}, nil
}

// checkProof refuses a DID that the applicant hasn't proved to control, and an invalid recovery
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
	if _, err := atcrypto.ParsePublicDIDKey(p.RecoveryKey); p.RecoveryKey != "" && err != nil {
		return refusal.New(ErrInvalidRequest, "Invalid recovery key: recoveryKey must be a K-256 or P-256 did:key")
	}
	return nil
}

// claimant says who asks for the handle, for the handle service.
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

// viewFree is checkFree in a View. What a [Gate] reads of a ticket can't be declared.
func (s *Service) viewFree(ctx context.Context, r *record, p CreateParams) error {
	refs := s.freeRefs(r)
	if p.Ticket == "" {
		return storage.ViewOf(ctx, s.store, refs, func(tx storage.Tx) error { return s.checkFree(tx, r, p) })
	}
	return s.store.View(ctx, func(tx storage.Tx) error {
		if err := storage.Prefetch(tx, refs...); err != nil {
			return err
		}
		return s.checkFree(tx, r, p)
	})
}

// freeRefs refers to the documents that checkFree reads, apart from that of the ticket.
func (s *Service) freeRefs(r *record) []storage.Ref {
	return append(s.handles.Refs(r.Handle), accountsTable.RefBy("email", r.Email))
}

// reserve is the first transaction of a sign-up: it makes the checks again, stores the account, and
// redeems the ticket.
func (s *Service) reserve(ctx context.Context, tx storage.Tx, r *record, p CreateParams) error {
	if p.Guard != nil {
		if err := p.Guard(tx); err != nil {
			return err
		}
	}
	refs := append(s.freeRefs(r), accountsTable.Ref(r.DID.String()), formerTable.Ref(r.DID.String()), reservedTable.Ref(r.SigningKey),
		didChanges.Ref((&didChange{DID: r.DID, Kind: changeSignUp}).key()))
	if err := storage.Prefetch(tx, refs...); err != nil {
		return err
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
	// The key may have been reserved for the account, which has it now.
	if err := reservedTable.Delete(tx, r.SigningKey); err != nil {
		return err
	}
	return s.changed(ctx, tx, Creating, nil, r)
}

// signUp is the saga of an account with a new DID that must be published. Until it is finished the
// account is stored but pending: it is invisible, and nobody else gets its handle or its address.
type signUp struct {
	s *Service
	// also are the functions that were passed to Create. In a recovery there are none.
	also []func(storage.Tx, *Account) error
}

// publish submits the first operation of the DID. The DID is the hash of the operation, so that if
// the answer is lost, it is enough to ask the directory whether the DID exists.
func (u signUp) publish(ctx context.Context, c *didChange) error {
	op := new(did.Operation)
	if err := json.Unmarshal(c.Operation, op); err != nil {
		return fmt.Errorf("accounts: %w", err)
	}
	err := u.s.cfg.DIDs.Submit(ctx, c.DID, op)
	if err == nil {
		return nil
	}
	if lost(err) {
		if reached, asked := u.progress(ctx, c); asked == nil && reached == inDID {
			return nil
		}
	}
	return fmt.Errorf("%w: %w", ErrDirectory, err)
}

func (u signUp) progress(ctx context.Context, c *didChange) (progress, error) {
	exists, err := u.s.cfg.DIDs.Exists(ctx, c.DID)
	if err != nil || !exists {
		return nowhere, err
	}
	return inDID, nil
}

func (u signUp) finish(ctx context.Context, tx storage.Tx, c *didChange, _ bool) (*Account, error) {
	r, err := accountsTable.Get(tx, c.DID.String())
	switch {
	case errors.Is(err, storage.ErrNotFound): // another process undid it before the DID was published
		return nil, errGivenUp
	case err != nil:
		return nil, err
	case r.Pending != nil:
		return &r.Account, u.complete(ctx, tx, r)
	}
	return &r.Account, u.runAlso(tx, r) // another process finished it
}

// complete makes the account visible.
func (u signUp) complete(ctx context.Context, tx storage.Tx, r *record) error {
	r.Pending = nil
	if err := u.s.handles.EndHold(tx, r.Handle); err != nil {
		return err
	}
	if err := u.s.changed(ctx, tx, Created, nil, r); err != nil {
		return err
	}
	return u.runAlso(tx, r)
}

// runAlso runs the functions that were passed to Create.
func (u signUp) runAlso(tx storage.Tx, r *record) error {
	for _, f := range u.also {
		if err := f(tx, &r.Account); err != nil {
			return err
		}
	}
	return nil
}

// undo deletes the account and gives the ticket back. If the DID was published, it returns the
// change that tombstones it. If another process has made the account visible, the account and its
// DID stay.
func (u signUp) undo(tx storage.Tx, c *didChange, published bool) (*didChange, error) {
	r, err := accountsTable.Get(tx, c.DID.String())
	switch {
	case errors.Is(err, storage.ErrNotFound):
	case err != nil:
		return nil, err
	case r.Pending == nil:
		return nil, nil
	case c.Ticket != "" && u.s.cfg.Gate != nil:
		if err := u.s.cfg.Gate.Release(tx, c.Ticket, c.DID); err != nil {
			return nil, err
		}
	}
	if err := accountsTable.Delete(tx, c.DID.String()); err != nil || !published {
		return nil, err
	}
	return &didChange{DID: c.DID, Kind: changeTombstone}, nil
}

func (signUp) notice() mail.Kind { return "" }
