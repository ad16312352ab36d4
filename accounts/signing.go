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

// reservedKey is a signing key that was made before its account.
type reservedKey struct {
	Public string     `json:"public"`
	Sealed []byte     `json:"sealed"`
	DID    syntax.DID `json:"did,omitempty"`
	// CreatedAt orders those that were never used.
	CreatedAt time.Time `json:"createdAt"`
}

var reservedTable = storage.NewCollection("reserved_keys",
	func(k *reservedKey) string { return k.Public },
	storage.Unique("did", func(k *reservedKey) string { return k.DID.String() }),
	storage.Ordered("created", func(k *reservedKey) string { return storage.TimeKey(k.CreatedAt) }),
).OwnedBy(storage.OwnerGatehouse)

var keyAspect = &aspect{
	kind: KeyChanged,
	what: "the signing key",
	busy: refusal.New(ErrInvalidRequest, "Another key change of this account is under way"),
	of:   func(a *Account) string { return a.SigningKey },
	in:   func(d *did.Data) string { return d.VerificationMethods[did.AtprotoKey] },
	declared: func(ident *identity.Identity) string {
		if public, err := ident.PublicKey(); err == nil {
			return public.DIDKey()
		}
		return ""
	},
	tell: func(op *did.Operation, to string) {
		if op.VerificationMethods == nil {
			op.VerificationMethods = map[string]string{}
		}
		op.VerificationMethods[did.AtprotoKey] = to
	},
	publish: func(to string) string { return "set its verification method atproto to " + to },
	notice:  mail.KeysChanged,
	give: func(s *Service, tx storage.Tx, r *record, c *didChange) error {
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
	},
}

var errNotReserved = refusal.New(ErrInvalidRequest, "reserved signing key does not exist")

// ReserveSigningKey makes a signing key for an account that is to be brought
// here, so that its DID document can name the key before the account exists, and returns
// it as a did:key. For one DID it is the same key each time; without a DID it is a
// new one. Error: [ErrInvalidRequest] (source: com.atproto.server.reserveSigningKey).
func (s *Service) ReserveSigningKey(ctx context.Context, id syntax.DID) (string, error) {
	if id != "" && storage.ValidKey(id.String()) != nil {
		return "", refusal.New(ErrInvalidRequest, "did is too long")
	}
	return s.reserveKey(ctx, id, nil)
}

// reserveKey makes and stores a key, or finds that which is reserved for the DID, and runs then in
// the same transaction, unless it is nil.
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

// keepReservedFor is how long a reserved key waits for its account. Anyone may reserve keys.
const keepReservedFor = 90 * 24 * time.Hour

// PurgeReservedKeys removes keys that were reserved long ago for accounts that never came. It is
// housekeeping, to be run now and then.
func (s *Service) PurgeReservedKeys(ctx context.Context) error {
	old := storage.Range{Index: "created", To: storage.TimeKey(s.now().Add(-keepReservedFor)), Limit: 500}
	for {
		var next string
		err := s.store.Update(ctx, func(tx storage.Tx) (err error) {
			next, err = purgeReservedKeys(tx, old)
			return err
		})
		if err != nil || next == "" {
			return err
		}
		old.After = next
	}
}

// purgeReservedKeys goes through a page of old keys, and returns where the next begins.
func purgeReservedKeys(tx storage.Tx, r storage.Range) (next string, err error) {
	old, next, err := reservedTable.Page(tx, r)
	if err != nil {
		return "", err
	}
	for _, k := range old {
		// That of an account may be in its DID already, where a rotation was cut short.
		_, err := accountsTable.Get(tx, k.DID.String())
		if errors.Is(err, storage.ErrNotFound) {
			err = reservedTable.Delete(tx, k.Public)
		}
		if err != nil {
			return "", err
		}
	}
	return next, nil
}

// signingKey makes the key of a new account, or takes the one that was reserved for its DID.
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

// Signer returns what signs with an account's key. The functions in also run in the transaction
// that reads the key, and an error of theirs is returned. Errors: [ErrNotFound],
// [keys.ErrUnsealable].
func (s *Service) Signer(ctx context.Context, id syntax.DID, also ...func(storage.Tx) error) (keys.Signer, error) {
	var key keys.Key
	err := s.store.View(ctx, func(tx storage.Tx) error {
		if err := inTurn(tx, also); err != nil {
			return err
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
	return s.cfg.Keys.Signer(ctx, key)
}

// RotateSigningKey gives an account a new signing key, in its DID first, and returns it as a
// did:key. The key is stored before. If only its owner can change the DID, the key is reserved and
// returned with an error that names it (for a did:plc a [did.ErrNotController]): once the owner has
// published the key, another call puts it to use. If it is cut short, doing it again ends it, with
// the same key, and so does [Service.Recover]. In between, what is signed with the old key doesn't
// verify; the other way round it would be the same with the new one. Errors: [ErrNotFound],
// [ErrInvalidRequest], [ErrDirectory].
func (s *Service) RotateSigningKey(ctx context.Context, id syntax.DID) (string, error) {
	if _, err := s.Get(ctx, id); err != nil {
		return "", err
	}
	if s.foreign(id) {
		key, err := s.reserveKey(ctx, id, nil)
		if err != nil {
			return "", err
		}
		if err := s.checkDeclared(ctx, keyAspect, id, key); err != nil {
			return key, err
		}
	}
	key, err := s.reserveKey(ctx, id, func(tx storage.Tx, public string) error {
		if _, err := get(tx, id); err != nil { // deleted meanwhile
			return err
		}
		return s.announce(tx, keyAspect, didChange{DID: id, To: public})
	})
	if err != nil {
		return "", err
	}
	return key, s.carryOut(ctx, keyAspect, id, key)
}

// SetSigningKey has an account use a key that was reserved here, given as a did:key. A DID that
// only its owner can change has to name the key already, or for a did:plc it is a
// [did.ErrNotController]. If it is cut short, doing it again ends it, and so does
// [Service.Recover]. Errors: [ErrNotFound], [ErrInvalidRequest], [ErrDirectory] (source:
// com.atproto.admin.updateAccountSigningKey).
func (s *Service) SetSigningKey(ctx context.Context, id syntax.DID, public string) error {
	if _, err := atcrypto.ParsePublicDIDKey(public); err != nil {
		return refusal.New(ErrInvalidRequest, "signingKey must be a did:key of a supported kind")
	}
	if s.foreign(id) {
		if _, err := s.Get(ctx, id); err != nil {
			return err
		}
		if err := s.checkDeclared(ctx, keyAspect, id, public); err != nil {
			return err
		}
	}
	err := s.store.Update(ctx, func(tx storage.Tx) error {
		a, err := get(tx, id)
		if err != nil {
			return err
		}
		if a.SigningKey != public { // else only its DID may be behind
			if err := reservedFor(tx, public, id); err != nil {
				return err
			}
		}
		return s.announce(tx, keyAspect, didChange{DID: id, To: public})
	})
	if err != nil {
		return err
	}
	return s.carryOut(ctx, keyAspect, id, public)
}

// reservedFor refuses a key that an account can't have.
func reservedFor(tx storage.Tx, public string, id syntax.DID) error {
	k, err := reservedTable.Get(tx, public)
	switch {
	case errors.Is(err, storage.ErrNotFound), err == nil && k.DID != "" && k.DID != id:
		return errNotReserved
	case err != nil:
		return err
	}
	by, err := keyAspect.under(tx, public)
	if err == nil && by != "" && by != id {
		return errNotReserved
	}
	return err
}
