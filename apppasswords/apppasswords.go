package apppasswords

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/uuid"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Errors of this package. Test for them with [errors.Is].
var (
	// ErrNotFound says that the account has no such app password.
	ErrNotFound = errors.New("apppasswords: not found")
	// ErrNameTaken says that the account has an app password of that name.
	ErrNameTaken = errors.New("apppasswords: name taken")
	// ErrTooMany says that the account has as many app passwords as it may have.
	ErrTooMany = errors.New("apppasswords: too many")
	// ErrInvalidName says that the name is empty, too long or not text.
	ErrInvalidName = errors.New("apppasswords: invalid name")
)

const (
	// maxName is the longest name, in bytes.
	maxName = 256
	// maxPasswords is how many app passwords an account may have.
	maxPasswords = 100
)

// AppPassword is a password for one program, without the password itself.
type AppPassword struct {
	// ID is a UUIDv7.
	ID  string     `json:"id"`
	DID syntax.DID `json:"did"`
	// Name tells the account's app passwords apart.
	Name string `json:"name"`
	// Privileged gives access to direct messages and the like.
	Privileged bool      `json:"privileged"`
	CreatedAt  time.Time `json:"createdAt"`
}

type record struct {
	AppPassword
	// Hash is keyed; no slow hash is needed over 80 random bits.
	Hash string `json:"hash"`
}

var table = storage.NewCollection("app_passwords",
	func(r *record) string { return r.ID },
	storage.Unique("name", func(r *record) string { return storage.Join(r.DID.String(), r.Name) }),
	storage.Unique("hash", func(r *record) string { return storage.Join(r.DID.String(), r.Hash) }),
	storage.Ordered("account", func(r *record) string {
		return storage.Join(r.DID.String(), storage.TimeKey(r.CreatedAt))
	}),
).OwnedBy(storage.OwnerGatehouse)

// Config configures a [Service]. The field without a default is required.
type Config struct {
	// Secret keys the hashes of app passwords: 32 bytes, never to change while app passwords should
	// work.
	Secret []byte
	// Revoked is called in the transaction in which the app password of a name is revoked, so that what
	// it opened ends with it. Optional.
	Revoked func(ctx context.Context, tx storage.Tx, did syntax.DID, name string) error
	// Now tells the time. Default [time.Now].
	Now func() time.Time
	// Rand is the source of randomness. Default [rand.Reader].
	Rand io.Reader
}

// Service keeps the app passwords of accounts. Its methods are safe for concurrent use.
type Service struct {
	store    storage.Store
	accounts *accounts.Service
	cfg      Config
}

// New returns a service on a store, whose table it defines.
func New(ctx context.Context, store storage.Store, a *accounts.Service, cfg Config) (*Service, error) {
	if len(cfg.Secret) < 32 {
		return nil, errors.New("apppasswords: Config.Secret is shorter than 32 bytes")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if err := storage.Define(ctx, store, Tables()...); err != nil {
		return nil, fmt.Errorf("apppasswords: %w", err)
	}
	return &Service{store: store, accounts: a, cfg: cfg}, nil
}

// Follow is the [accounts.Hook] of this package: it deletes the app passwords of an account that is
// deleted, or whose credentials change in a way that ends them.
func Follow(_ context.Context, tx storage.Tx, c accounts.Change) error {
	if c.Kind != accounts.Deleted && !c.EndsAppPasswords {
		return nil
	}
	_, err := table.DeleteAll(tx, ofAccount(c.Account.DID))
	return err
}

// Tables are the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{table} }

func ofAccount(did syntax.DID) storage.Range {
	return storage.Range{Index: "account", Prefix: did.String() + " ", Reverse: true}
}

// Create makes an app password and returns it with the password, which can't be
// had again. The owner is told by mail. Errors: [ErrNameTaken], [ErrInvalidName], [ErrTooMany],
// [accounts.ErrNotFound]
// (source: com.atproto.server.createAppPassword).
func (s *Service) Create(ctx context.Context, did syntax.DID, name string, privileged bool) (*AppPassword, string, error) {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return nil, "", refusal.Newf(ErrInvalidName, "App password name must have 1 to %d bytes of text", maxName)
	}
	id, err := uuid.NewV7FromReader(s.cfg.Rand)
	if err != nil {
		return nil, "", fmt.Errorf("apppasswords: %w", err)
	}
	password, err := token.Grouped(s.cfg.Rand, 4, 4)
	if err != nil {
		return nil, "", fmt.Errorf("apppasswords: %w", err)
	}
	r := &record{
		AppPassword: AppPassword{
			ID: id.String(), DID: did, Name: name, Privileged: privileged,
			CreatedAt: s.cfg.Now().UTC().Truncate(time.Millisecond),
		},
		Hash: s.hash(did, password),
	}
	err = s.store.Update(ctx, func(tx storage.Tx) error {
		if _, err := accounts.GetTx(tx, did); err != nil { // who comes with the DID later is somebody else
			return err
		}
		all := ofAccount(did)
		all.Limit = maxPasswords
		n := 0
		for _, err := range table.Scan(tx, all) {
			if err != nil {
				return err
			}
			n++
		}
		if n >= maxPasswords {
			return refusal.Newf(ErrTooMany, "An account has at most %d app passwords", maxPasswords)
		}
		return table.Insert(tx, r)
	})
	if errors.Is(err, storage.ErrConflict) {
		return nil, "", refusal.New(ErrNameTaken, "App password name already in use")
	}
	if err != nil {
		return nil, "", err
	}
	s.accounts.Notify(ctx, did, mail.AppPasswordCreated, mail.Data{Name: name})
	return &r.AppPassword, password, nil
}

// List returns the app passwords of an account, newest first
// (source: com.atproto.server.listAppPasswords).
func (s *Service) List(ctx context.Context, did syntax.DID) ([]*AppPassword, error) {
	var all []*AppPassword
	err := s.store.View(ctx, func(tx storage.Tx) error {
		all = nil
		for r, err := range table.Scan(tx, ofAccount(did)) {
			if err != nil {
				return err
			}
			all = append(all, &r.AppPassword)
		}
		return nil
	})
	return all, err
}

// Revoke removes an app password and ends its sessions. A name that isn't there
// is no error (source: com.atproto.server.revokeAppPassword).
func (s *Service) Revoke(ctx context.Context, did syntax.DID, name string) error {
	return s.store.Update(ctx, func(tx storage.Tx) error {
		r, err := table.GetBy(tx, "name", storage.Join(did.String(), name))
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := table.Delete(tx, r.ID); err != nil {
			return err
		}
		if s.cfg.Revoked == nil {
			return nil
		}
		return s.cfg.Revoked(ctx, tx, r.DID, r.Name)
	})
}

// MatchTx returns the app password of an account that a password, in any spelling that [Normalize]
// understands, belongs to, or [ErrNotFound].
func (s *Service) MatchTx(tx storage.Tx, did syntax.DID, password string) (*AppPassword, error) {
	password, ok := Normalize(password)
	if !ok {
		return nil, ErrNotFound
	}
	// Finding it by its keyed hash compares in no observable time: whoever tries
	// a password can't tell what its hash will be.
	r, err := table.GetBy(tx, "hash", storage.Join(did.String(), s.hash(did, password)))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &r.AppPassword, nil
}

// StillTx looks again, inside a transaction, whether an app password that matched is there, or
// returns [ErrNotFound].
func (s *Service) StillTx(tx storage.Tx, p *AppPassword) error {
	_, err := table.Get(tx, p.ID)
	if errors.Is(err, storage.ErrNotFound) {
		return ErrNotFound
	}
	return err
}

// Ref names an app password's document for storage.Prefetch.
func Ref(id string) storage.Ref { return table.Ref(id) }

func (s *Service) hash(did syntax.DID, password string) string {
	return token.Hash(s.cfg.Secret, did.String(), password)
}
