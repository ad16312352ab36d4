package invites

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Errors of this package. Test for them with [errors.Is].
var (
	// ErrRequired is returned when somebody signs up without a code and one is required. Clients
	// are answered 400 InvalidInviteCode.
	ErrRequired = errors.New("invites: no code given")
	// ErrUnavailable is returned when a code doesn't exist, is disabled or used up, or belongs to
	// an account that is taken down. Clients are answered 400 InvalidInviteCode.
	ErrUnavailable = errors.New("invites: code not available")
	// ErrInvalidRequest is returned when an argument is malformed or out of range. Clients are
	// answered 400 InvalidRequest.
	ErrInvalidRequest = errors.New("invites: invalid request")
	// ErrDuplicateCreate is returned when a concurrent call has created the codes that the account
	// has earned. Clients are answered 400 DuplicateCreate.
	ErrDuplicateCreate = errors.New("invites: codes earned twice")
)

var (
	errRequired    = refusal.New(ErrRequired, "No invite code provided")
	errUnavailable = refusal.New(ErrUnavailable, "Provided invite code not available")
)

const (
	maxCodes   = 10_000        // that one call creates
	maxUses    = 1_000_000_000 // of one code
	maxUnused  = 5             // codes that an account has earned and that are still usable
	maxAccount = 512           // bytes of a DID that codes are created for

	maxListedUses    = 100   // of a code, which may have been used by a million people
	maxListedUsesAll = 1_000 // of all codes of an account
)

// Config configures a [Service]. Hostname is required.
type Config struct {
	// Hostname is the host name of the server. Codes begin with it, with dashes in place of dots.
	Hostname string
	// Required refuses sign-ups without a code. If it isn't set, a code is optional, but must be
	// valid, and is used.
	Required bool
	// Interval is the time in which an account earns a code. Default: accounts earn none.
	Interval time.Duration
	// Epoch is when accounts that are older begin to earn codes.
	Epoch time.Time
	// Now returns the time. Default [time.Now].
	Now func() time.Time
	// Rand is the source of randomness. Default [rand.Reader].
	Rand io.Reader
}

// Service keeps the invite codes of a server. It is the [accounts.Gate] of sign-up, whose tickets
// are the codes. Its methods are safe for concurrent use.
type Service struct {
	store  storage.Store
	cfg    Config
	prefix string
}

// New returns a service that keeps its data in a store, and defines its tables there.
func New(ctx context.Context, store storage.Store, cfg Config) (*Service, error) {
	if cfg.Hostname == "" {
		return nil, errors.New("invites: Config.Hostname is required")
	}
	if cfg.Interval < 0 {
		return nil, errors.New("invites: Config.Interval must not be negative")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if err := storage.Define(ctx, store, Tables()...); err != nil {
		return nil, fmt.Errorf("invites: %w", err)
	}
	s := &Service{store: store, cfg: cfg}
	// Dots would make the code look like a link.
	s.prefix = strings.NewReplacer(".", "-", ":", "-").Replace(strings.ToLower(cfg.Hostname)) + "-"
	if err := s.adoptStandings(ctx); err != nil {
		return nil, fmt.Errorf("invites: %w", err)
	}
	return s, nil
}

// Tables returns the collections of this package, for [storage.Define].
func Tables() []storage.Definer { return []storage.Definer{codes, uses, standings} }

// Required reports whether sign-up requires a code.
func (s *Service) Required() bool { return s.cfg.Required }

// Follow is the [accounts.Hook] of this package. When an account is deleted it deletes the
// account's codes and its standing. It keeps the account's own uses of codes, since those codes
// stay used.
func Follow(_ context.Context, tx storage.Tx, c accounts.Change) error {
	if c.Kind != accounts.Deleted {
		return nil
	}
	id := c.Account.DID.String()
	if err := standings.Delete(tx, id); err != nil {
		return err
	}
	if _, err := codes.DeleteAll(tx, storage.Under("account", id)); err != nil {
		return err
	}
	_, err := uses.DeleteAll(tx, storage.Under("owner", id))
	return err
}

// AccountCodes are the new codes of one account.
type AccountCodes struct {
	// Account is a DID, or [Admin].
	Account string
	// Codes are the texts of the codes.
	Codes []string
}

// Create creates codeCount codes with useCount uses each for each of the accounts, which are named
// by DID and may be on other servers, or for [Admin] if none is given. Error: [ErrInvalidRequest]
// if a number is out of range or an account is malformed (source:
// com.atproto.server.createInviteCodes).
func (s *Service) Create(ctx context.Context, codeCount, useCount int, forAccounts ...string) ([]AccountCodes, error) {
	if len(forAccounts) == 0 {
		forAccounts = []string{Admin}
	}
	switch {
	case useCount < 1 || useCount > maxUses:
		return nil, refusal.Newf(ErrInvalidRequest, "useCount must be between 1 and %d", maxUses)
	case codeCount < 1 || codeCount > maxCodes || codeCount*len(forAccounts) > maxCodes:
		return nil, refusal.Newf(ErrInvalidRequest, "codeCount must be between 1 and %d for all accounts together", maxCodes)
	}
	var out []AccountCodes
	var fresh []*Code
	for _, account := range forAccounts {
		account = accounts.NormalizeIdentifier(account)
		if storage.ValidKey(account) != nil || len(account) > maxAccount {
			return nil, refusal.Newf(ErrInvalidRequest, "forAccount must be a DID of %d bytes at most", maxAccount)
		}
		batch, err := s.make(account, Admin, codeCount)
		if err != nil {
			return nil, err
		}
		made := AccountCodes{Account: account}
		for _, c := range batch {
			c.Available = useCount
			made.Codes = append(made.Codes, c.Code)
		}
		out, fresh = append(out, made), append(fresh, batch...)
	}
	return out, s.store.Update(ctx, func(tx storage.Tx) error { return insert(tx, fresh) })
}

// make returns new codes with one use. It doesn't store them.
func (s *Service) make(forAccount, createdBy string, n int) ([]*Code, error) {
	batch := make([]*Code, n)
	for i := range batch {
		random, err := token.Grouped(s.cfg.Rand, 2, 5)
		if err != nil {
			return nil, fmt.Errorf("invites: %w", err)
		}
		batch[i] = &Code{
			Code: s.prefix + random, Available: 1,
			ForAccount: forAccount, CreatedBy: createdBy, CreatedAt: s.now(),
		}
	}
	return batch, nil
}

func insert(tx storage.Tx, batch []*Code) error {
	for _, c := range batch {
		if err := codes.Insert(tx, c); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }

// Ticket implements [accounts.Gate]. It returns the normal form of a code. Error: [ErrRequired] if
// there is none and one is required.
func (s *Service) Ticket(typed string) (string, error) {
	code := Normalize(typed)
	if code == "" && s.cfg.Required {
		return "", errRequired
	}
	return code, nil
}

// Check implements [accounts.Gate]. Error: [ErrUnavailable] if the code can't be used now. Check,
// Redeem and Release accept a code in any spelling that [Normalize] understands.
func (s *Service) Check(tx storage.Tx, code string) error {
	_, err := s.usable(tx, code)
	return err
}

func (s *Service) usable(tx storage.Tx, code string) (*Code, error) {
	c, err := codes.Get(tx, Normalize(code))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, errUnavailable
	case err != nil:
		return nil, err
	case !c.usable():
		return nil, errUnavailable
	case c.ForAccount == Admin:
		return c, nil
	}
	owner, err := accounts.GetTx(tx, syntax.DID(c.ForAccount))
	switch {
	case errors.Is(err, accounts.ErrNotFound):
		return c, nil // an account of another server
	case err != nil:
		return nil, err
	case owner.Takedown != nil:
		return nil, errUnavailable
	}
	return c, nil
}

// Redeem implements [accounts.Gate]. It uses a code once for an account. Error: [ErrUnavailable].
func (s *Service) Redeem(tx storage.Tx, code string, did syntax.DID) error {
	c, err := s.usable(tx, code)
	if err != nil {
		return err
	}
	before, err := usesBy(tx, c.Code, did)
	if err != nil {
		return err
	}
	c.Used++
	if err := codes.Put(tx, c); err != nil {
		return err
	}
	return uses.Insert(tx, &use{Code: c.Code, Owner: c.ForAccount, Before: before, Use: Use{UsedBy: did, UsedAt: s.now()}})
}

// Release implements [accounts.Gate]. It takes back the account's last use of a code, if there is
// one.
func (s *Service) Release(tx storage.Tx, code string, did syntax.DID) error {
	code = Normalize(code)
	n, err := usesBy(tx, code, did)
	if err != nil || n == 0 {
		return err
	}
	u := &use{Code: code, Before: n - 1, Use: Use{UsedBy: did}}
	if err := uses.Delete(tx, u.key()); err != nil {
		return err
	}
	c, err := codes.Get(tx, code)
	if err != nil {
		return ignoreNotFound(err)
	}
	c.Used--
	return codes.Put(tx, c)
}

func ignoreNotFound(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}
