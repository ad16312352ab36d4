package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/storage"
)

// reservedKey is a signing key that no account uses yet.
type reservedKey struct {
	Public string `json:"public"`
	Sealed []byte `json:"sealed"`
	// DID is the DID for which the key is reserved; empty for any.
	DID syntax.DID `json:"did,omitempty"`
	// CreatedAt is when the key was reserved, or last found to be still of use.
	CreatedAt time.Time `json:"createdAt"`
}

var reservedTable = storage.NewCollection("reserved_keys",
	func(k *reservedKey) string { return k.Public },
	storage.Unique("did", func(k *reservedKey) string { return k.DID.String() }),
	storage.Ordered("created", func(k *reservedKey) string { return storage.TimeKey(k.CreatedAt) }),
).OwnedBy(storage.OwnerGatehouse)

// keyProperty is the signing key, which is the verification method "atproto" of a DID.
type keyProperty struct{}

func (keyProperty) of(a *Account) string { return a.SigningKey }

func (keyProperty) in(d *did.Data) string { return d.VerificationMethods[did.AtprotoKey] }

func (keyProperty) declared(ident *identity.Identity) string {
	public, err := ident.PublicKey()
	if err != nil {
		return ""
	}
	return public.DIDKey()
}

func (keyProperty) set(op *did.Operation, to string) {
	if op.VerificationMethods == nil {
		op.VerificationMethods = map[string]string{}
	}
	op.VerificationMethods[did.AtprotoKey] = to
}

// assign takes the key out of the reserved ones, and remembers the old one.
func (keyProperty) assign(s *Service, tx storage.Tx, r *record, c *didChange) error {
	k, err := reservedTable.Get(tx, c.To)
	if errors.Is(err, storage.ErrNotFound) {
		return errNotReserved
	}
	if err != nil {
		return err
	}
	if err := s.replaceKey(tx, r.DID, r.SigningKey); err != nil {
		return err
	}
	r.SigningKey, r.SealedKey = k.Public, k.Sealed
	return reservedTable.Delete(tx, c.To)
}

func (keyProperty) event() Kind { return KeyChanged }

func (keyProperty) notice() mail.Kind { return mail.KeysChanged }

func (keyProperty) String() string { return "the signing key" }

func (keyProperty) instruction(to string) string {
	return "set its verification method atproto to " + to
}

var errNotReserved = refusal.New(ErrInvalidRequest, "reserved signing key does not exist")

// ReserveSigningKey creates a signing key for an account that is about to move here, and returns it
// as a did:key, so that the DID can name the key before the account exists. It returns the same key
// each time for one DID, and a new key each time if the DID is empty. A key that isn't used is
// deleted after 90 days. Error: [ErrInvalidRequest] if the DID is too long (source:
// com.atproto.server.reserveSigningKey).
func (i *Identity) ReserveSigningKey(ctx context.Context, id syntax.DID) (string, error) {
	if id != "" && storage.ValidKey(id.String()) != nil {
		return "", refusal.New(ErrInvalidRequest, "did is too long")
	}
	return i.s.reserveKey(ctx, id, nil)
}

// reserveKey returns the key that is reserved for a DID, or stores and returns a new one. The
// function then, if not nil, runs in the same transaction.
func (s *Service) reserveKey(ctx context.Context, id syntax.DID, then func(tx storage.Tx, public string) error) (string, error) {
	fresh, err := s.cfg.Keys.Generate(ctx)
	if err != nil {
		return "", fmt.Errorf("accounts: making a signing key: %w", err)
	}
	public := fresh.Public
	err = s.store.Update(ctx, func(tx storage.Tx) error {
		public = fresh.Public
		k, err := reservedTable.GetBy(tx, "did", id.String())
		switch {
		case err == nil:
			public = k.Public
		case errors.Is(err, storage.ErrNotFound):
			err = reservedTable.Insert(tx, &reservedKey{Public: public, Sealed: fresh.Sealed, DID: id, CreatedAt: s.now()})
		}
		if err != nil || then == nil {
			return err
		}
		return then(tx, public)
	})
	if err != nil {
		return "", err
	}
	return public, nil
}

// keepReservedFor is how long a reserved key is kept for an account that doesn't exist yet. Anybody
// can reserve keys, so they must not be kept forever.
const keepReservedFor = 90 * 24 * time.Hour

// purgeReservedKeys deletes keys that were reserved more than 90 days ago for accounts that were
// never created. It reserves those of accounts anew: otherwise each round would read them again, of
// which there may be as many as accounts.
func (s *Service) purgeReservedKeys(ctx context.Context) error {
	old := storage.Range{Index: "created", To: storage.TimeKey(s.now().Add(-keepReservedFor))}
	return reservedTable.PurgeFunc(ctx, s.store, old, func(tx storage.Tx, k *reservedKey) (remove bool, err error) {
		// The DID of an account may name its reserved key already, if a rotation was interrupted.
		_, err = accountsTable.Get(tx, k.DID.String())
		if errors.Is(err, storage.ErrNotFound) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		k.CreatedAt = s.now()
		return false, reservedTable.Put(tx, k)
	})
}

// signingKey returns the signing key of a new account: the one that is reserved for its DID, or a
// new one.
func (s *Service) signingKey(ctx context.Context, id syntax.DID) (keys.Key, error) {
	if id != "" {
		var key keys.Key
		err := s.store.View(ctx, func(tx storage.Tx) error {
			k, err := reservedTable.GetBy(tx, "did", id.String())
			if err == nil {
				key = keys.Key{Public: k.Public, Sealed: k.Sealed}
			}
			return err
		})
		if err == nil || !errors.Is(err, storage.ErrNotFound) {
			return key, err
		}
	}
	key, err := s.cfg.Keys.Generate(ctx)
	if err != nil {
		return keys.Key{}, fmt.Errorf("accounts: making a signing key: %w", err)
	}
	return key, nil
}

// Signer returns a signer with an account's signing key. The functions in also run before the key
// is read, in the same transaction; if one returns an error, Signer returns it. Errors:
// [ErrNotFound], [keys.ErrUnsealable].
func (i *Identity) Signer(ctx context.Context, id syntax.DID, also ...func(storage.Tx) error) (keys.Signer, error) {
	var key keys.Key
	err := i.s.store.View(ctx, func(tx storage.Tx) error {
		for _, f := range also {
			if err := f(tx); err != nil {
				return err
			}
		}
		r, err := get(tx, id)
		if err == nil {
			key = keys.Key{Public: r.SigningKey, Sealed: r.SealedKey}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return i.s.cfg.Keys.Signer(ctx, key)
}

// RotateSigningKey gives an account a new signing key, and returns it as a did:key. It stores the
// key, publishes it in the DID, and then has the account use it; in between, signatures with the
// old key don't verify. If that is interrupted, another call completes it with the same key, and so
// does [Service.Maintain]. If only the owner can change the DID, it reserves the key, and returns
// it together with an error that names it (a [did.ErrNotController] for a did:plc); once the owner
// has published the key, another call completes the rotation. The owner is notified. Errors:
// [ErrNotFound], [ErrInvalidRequest], [ErrDirectory].
func (i *Identity) RotateSigningKey(ctx context.Context, id syntax.DID) (string, error) {
	s := i.s
	if _, err := s.Get(ctx, id); err != nil {
		return "", err
	}
	if s.foreign(id) {
		key, err := s.reserveKey(ctx, id, nil)
		if err != nil {
			return "", err
		}
		if err := s.checkDeclared(ctx, keyProperty{}, id, key); err != nil {
			return key, err
		}
	}
	key, err := s.reserveKey(ctx, id, func(tx storage.Tx, public string) error {
		if _, err := get(tx, id); err != nil { // deleted meanwhile
			return err
		}
		return s.begin(tx, &didChange{DID: id, Kind: changeKey, To: public})
	})
	if err != nil {
		return "", err
	}
	_, err = s.carryOut(ctx, s.keyChange(), &didChange{DID: id, Kind: changeKey, To: key})
	return key, err
}

// SetSigningKey gives an account a signing key of [Identity.ReserveSigningKey], a did:key. A DID
// that only its owner can change must name the key already; for a did:plc the error is a
// [did.ErrNotController] otherwise. If the change is interrupted, another call completes it, and so
// does [Service.Maintain]. The owner is notified. Errors: [ErrNotFound], [ErrInvalidRequest],
// [ErrDirectory] (source: com.atproto.admin.updateAccountSigningKey).
func (i *Identity) SetSigningKey(ctx context.Context, id syntax.DID, public string) error {
	s := i.s
	if _, err := atcrypto.ParsePublicDIDKey(public); err != nil {
		return refusal.New(ErrInvalidRequest, "signingKey must be a did:key of a supported kind")
	}
	if s.foreign(id) {
		if _, err := s.Get(ctx, id); err != nil {
			return err
		}
		if err := s.checkDeclared(ctx, keyProperty{}, id, public); err != nil {
			return err
		}
	}
	err := s.store.Update(ctx, func(tx storage.Tx) error {
		a, err := get(tx, id)
		if err != nil {
			return err
		}
		if a.SigningKey != public { // otherwise the account has it already, but its DID may differ
			if err := reservedFor(tx, public, id); err != nil {
				return err
			}
		}
		return s.begin(tx, &didChange{DID: id, Kind: changeKey, To: public})
	})
	if err != nil {
		return err
	}
	_, err = s.carryOut(ctx, s.keyChange(), &didChange{DID: id, Kind: changeKey, To: public})
	return err
}

// reservedFor refuses a key that isn't reserved, or is reserved for another account, or that
// another account is changing to.
func reservedFor(tx storage.Tx, public string, id syntax.DID) error {
	k, err := reservedTable.Get(tx, public)
	switch {
	case errors.Is(err, storage.ErrNotFound), err == nil && k.DID != "" && k.DID != id:
		return errNotReserved
	case err != nil:
		return err
	}
	by, err := changingTo(tx, changeKey, public)
	if err == nil && by != "" && by != id {
		return errNotReserved
	}
	return err
}
