package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
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
)

// ReserveSigningKey makes a signing key for an account that is to be brought
// here, so that its DID document can name the key before the account exists, and returns
// it as a did:key. For one DID it is the same key each time; without a DID it is a
// new one. Error: [ErrInvalidRequest] (source: com.atproto.server.reserveSigningKey).
func (s *Service) ReserveSigningKey(ctx context.Context, id syntax.DID) (string, error) {
	if id != "" && storage.ValidKey(id.String()) != nil {
		return "", refusal.New(ErrInvalidRequest, "did is too long")
	}
	key, err := s.reserveKey(ctx, id)
	return key.Public, err
}

// reserveKey makes and stores a key, or returns that which is reserved for the DID.
func (s *Service) reserveKey(ctx context.Context, id syntax.DID) (keys.Key, error) {
	fresh, err := s.cfg.Keys.Generate(ctx)
	if err != nil {
		return keys.Key{}, fmt.Errorf("accounts: making a signing key: %w", err)
	}
	key := fresh
	err = s.store.Update(ctx, func(tx storage.Tx) error {
		key = fresh
		if id != "" {
			k, err := reservedTable.GetBy(tx, "did", id.String())
			if err == nil {
				key = keys.Key{Public: k.Public, Sealed: k.Sealed}
				return nil
			}
			if !errors.Is(err, storage.ErrNotFound) {
				return err
			}
		}
		return reservedTable.Insert(tx, &reservedKey{Public: key.Public, Sealed: key.Sealed, DID: id, CreatedAt: s.now()})
	})
	if err != nil {
		return keys.Key{}, err
	}
	return key, nil
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

// Signer returns what signs with an account's key.
// Errors: [ErrNotFound], [keys.ErrUnsealable].
func (s *Service) Signer(ctx context.Context, id syntax.DID) (keys.Signer, error) {
	var key keys.Key
	err := s.store.View(ctx, func(tx storage.Tx) error {
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

// RotateSigningKey gives an account a new signing key, in its DID first, and returns it as
// a did:key. The key is stored before: a rotation that is cut short is ended by another, with the
// same key. Errors: [ErrNotFound], [ErrDirectory].
func (s *Service) RotateSigningKey(ctx context.Context, id syntax.DID) (string, error) {
	if _, err := s.Get(ctx, id); err != nil {
		return "", err
	}
	key, err := s.reserveKey(ctx, id)
	if err != nil {
		return "", err
	}
	return key.Public, s.useSigningKey(ctx, id, key)
}

// SetSigningKey has an account use a key that was reserved here, given as a did:key.
// Errors: [ErrNotFound], [ErrInvalidRequest], [ErrDirectory]
// (source: com.atproto.admin.updateAccountSigningKey).
func (s *Service) SetSigningKey(ctx context.Context, id syntax.DID, public string) error {
	if _, err := atcrypto.ParsePublicDIDKey(public); err != nil {
		return refusal.New(ErrInvalidRequest, "signingKey must be a did:key of a supported kind")
	}
	var key keys.Key
	err := s.store.View(ctx, func(tx storage.Tx) error {
		a, err := get(tx, id)
		if err != nil {
			return err
		}
		if a.SigningKey == public {
			key = keys.Key{Public: a.SigningKey, Sealed: a.SealedKey}
			return nil
		}
		k, err := reservedTable.Get(tx, public)
		if errors.Is(err, storage.ErrNotFound) || err == nil && k.DID != "" && k.DID != id {
			return refusal.New(ErrInvalidRequest, "reserved signing key does not exist")
		}
		if err == nil {
			key = keys.Key{Public: k.Public, Sealed: k.Sealed}
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.useSigningKey(ctx, id, key)
}

// useSigningKey changes the DID and then the account. In between, what is signed with the old
// key doesn't verify; the other way round it would be the same with the new one.
func (s *Service) useSigningKey(ctx context.Context, id syntax.DID, key keys.Key) error {
	set := func(op *did.Operation, public string) {
		if op.VerificationMethods == nil {
			op.VerificationMethods = map[string]string{}
		}
		op.VerificationMethods[did.AtprotoKey] = public
	}
	// A client that hangs up must not leave things half done.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), submitTimeout)
	defer cancel()
	if err := s.changeDID(ctx, id, func(op *did.Operation) { set(op, key.Public) }); err != nil {
		return err
	}
	err := s.modify(ctx, id, KeyChanged, func(tx storage.Tx, r *record) error {
		r.SigningKey, r.SealedKey = key.Public, key.Sealed
		return reservedTable.Delete(tx, key.Public)
	})
	if err != nil && !outage(ctx, err) { // else it can be made again
		s.takeBack(ctx, id, KeyChanged, func(op *did.Operation, a *Account) { set(op, a.SigningKey) })
	}
	return err
}

// takeBack brings an account's DID back to what the account says, after a change that was refused when the DID had it
// already, and reports whether that is done.
func (s *Service) takeBack(ctx context.Context, id syntax.DID, kind Kind, back func(*did.Operation, *Account)) bool {
	a, err := s.Get(ctx, id)
	if errors.Is(err, ErrNotFound) { // deleted meanwhile
		return true
	}
	if err == nil {
		err = s.changeDID(ctx, id, func(op *did.Operation) { back(op, a) })
	}
	if err != nil {
		s.cfg.Logger.ErrorContext(ctx, "a refused change was not taken back in the DID", "did", id, "change", kind, "error", err)
	}
	return err == nil
}

// changeDID changes an account's DID in the directory.
func (s *Service) changeDID(ctx context.Context, id syntax.DID, change func(*did.Operation)) error {
	err := s.cfg.DIDs.Change(ctx, id, change)
	if s.cfg.Resolver != nil {
		s.cfg.Resolver.Forget(id) // also when it failed: it may have happened all the same
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	return nil
}
