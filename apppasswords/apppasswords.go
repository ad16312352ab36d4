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

// The errors of this package. Test for them with [errors.Is].
var (
	// ErrNotFound is returned when the account has no such app password. At sign-in clients are
	// answered 401 AuthenticationRequired, as with a wrong password.
	ErrNotFound = errors.New("apppasswords: not found")
	// ErrNameTaken is returned when the account already has an app password of the name. Clients
	// are answered 400 InvalidRequest.
	ErrNameTaken = errors.New("apppasswords: name taken")
	// ErrTooMany is returned when the account has as many app passwords as an account may have.
	// Clients are answered 400 InvalidRequest.
	ErrTooMany = errors.New("apppasswords: too many")
	// ErrInvalidName is returned when the name is empty, too long or not valid text. Clients are
	// answered 400 InvalidRequest.
	ErrInvalidName = errors.New("apppasswords: invalid name")
)

const (
	// maxName is the longest name, in bytes.
	maxName = 256
	// maxPasswords is how many app passwords an account may have.
	maxPasswords = 100
)

// AppPassword describes a password for one program. It doesn't contain the password itself.
type AppPassword struct {
	// ID is a UUIDv7.
	ID string `json:"id"`
	// DID is the account that the app password belongs to.
	DID syntax.DID `json:"did"`
	// Name is unique among the account's app passwords.
	Name string `json:"name"`
	// Privileged gives access to direct messages (chat.bsky) and to moving the account to another
	// server.
	Privileged bool `json:"privileged"`
	// CreatedAt is in UTC, to the millisecond.
	CreatedAt time.Time `json:"createdAt"`
}

// record is an AppPassword as it is stored.
type record struct {
	AppPassword
	// Hash is a keyed hash of the password, whose 80 random bits don't need a slow hash.
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

// Config configures a [Service]. Secret is required.
type Config struct {
	// Secret is the key of the hashes of app passwords, at least 32 bytes. With another Secret,
	// existing app passwords no longer work.
	Secret []byte
	// Revoked is called in the transaction that revokes an app password, so that the sessions that
	// were opened with it end. Optional.
	Revoked func(ctx context.Context, tx storage.Tx, did syntax.DID, name string) error
	// Now returns the time. Default [time.Now].
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

// New returns a service that keeps its data in a store, and defines its table there.
func New(ctx context.Context, store storage.Store, a *accounts.Service, cfg Config) (*Service, error) {
	if len(cfg.Secret) < 32 {
		return nil, errors.New("apppasswords: Config.Secret must have at least 32 bytes")
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

// Follow is the [accounts.Hook] of this package. It deletes the app passwords of an account that is
// deleted, or whose credentials change in a way that ends them.
func Follow(_ context.Context, tx storage.Tx, c accounts.Change) error {
	if c.Kind != accounts.Deleted && !c.EndsAppPasswords {
		return nil
	}
	_, err := table.DeleteAll(tx, ofAccount(c.Account.DID))
	return err
}

// Tables returns the collections of this package, for [storage.Define].
func Tables() []storage.Definer { return []storage.Definer{table} }

func ofAccount(did syntax.DID) storage.Range {
	newest := storage.Under("account", did.String())
	newest.Reverse = true
	return newest
}

// Create creates an app password, and returns it with the password itself, which can't be read
// again. The owner of the account is notified by e-mail. Errors: [ErrNameTaken], [ErrInvalidName],
// [ErrTooMany], [accounts.ErrNotFound] (source: com.atproto.server.createAppPassword).
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
		if _, err := accounts.GetTx(tx, did); err != nil { // an account that is created with this DID later must not have it
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
	s.accounts.Emails().Notify(ctx, did, mail.AppPasswordCreated, mail.Data{Name: name})
	return &r.AppPassword, password, nil
}

// List returns the app passwords of an account, newest first (source:
// com.atproto.server.listAppPasswords).
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

// Revoke deletes an app password and ends its sessions. It does nothing if the account has no app
// password of the name (source: com.atproto.server.revokeAppPassword).
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

// MatchTx returns the app password of an account that has a given password, in any spelling that
// [Normalize] understands, inside a transaction. Error: [ErrNotFound].
func (s *Service) MatchTx(tx storage.Tx, did syntax.DID, password string) (*AppPassword, error) {
	password, ok := Normalize(password)
	if !ok {
		return nil, ErrNotFound
	}
	// The lookup doesn't take constant time, but it compares keyed hashes, which nobody can choose
	// without the secret.
	r, err := table.GetBy(tx, "hash", storage.Join(did.String(), s.hash(did, password)))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &r.AppPassword, nil
}

// StillTx checks, inside a transaction, that an app password hasn't been revoked since it matched.
// Error: [ErrNotFound].
func (s *Service) StillTx(tx storage.Tx, p *AppPassword) error {
	_, err := table.Get(tx, p.ID)
	if errors.Is(err, storage.ErrNotFound) {
		return ErrNotFound
	}
	return err
}

// Ref returns a reference to the document of an app password, for [storage.Prefetch].
func Ref(id string) storage.Ref { return table.Ref(id) }

func (s *Service) hash(did syntax.DID, password string) string {
	return token.Hash(s.cfg.Secret, did.String(), password)
}
