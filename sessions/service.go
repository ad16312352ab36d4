package sessions

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/uuid"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Errors of this package. Test for them with [errors.Is]. Logging in also returns
// [accounts.ErrBadCredentials].
var (
	// ErrInvalidToken says that a token is malformed, not ours, or not made for
	// what it was used for.
	ErrInvalidToken = errors.New("sessions: invalid token")
	// ErrExpiredToken says that a token was good once: its time is over, or its session was ended.
	ErrExpiredToken = errors.New("sessions: expired token")
	// ErrAccountNotFound says that a token's account is gone.
	ErrAccountNotFound = errors.New("sessions: account of the token not found")
	// ErrAccountTakedown says that the account is taken down.
	ErrAccountTakedown = errors.New("sessions: account taken down")
	// ErrAccountDeactivated says that the account is deactivated, and what was asked for needs an
	// active one.
	ErrAccountDeactivated = errors.New("sessions: account deactivated")
	// ErrNotFound says that the account has no such session.
	ErrNotFound = errors.New("sessions: session not found")
)

var (
	errAccountGone = refusal.New(ErrAccountNotFound, "Account not found")
	errTakedown    = refusal.New(ErrAccountTakedown, "Account has been taken down")
	errDeactivated = refusal.New(ErrAccountDeactivated, "Account is deactivated")
)

// Config configures a [Service]. The fields without a default are required.
type Config struct {
	// ServiceDID is the audience of the tokens.
	ServiceDID string
	// Keys sign and verify tokens: the first signs, all verify. To change keys
	// put a new one first, and take the old one away after RefreshLifetime.
	Keys []Key
	// Secret keys the hashes of refresh tokens: 32 bytes, never to change while sessions should
	// live.
	Secret []byte
	// ServiceAuth says for which methods there are no service tokens. Its Protected methods are
	// required: without them a service token would do for what only a session may.
	ServiceAuth ServiceAuthRules

	// AccessLifetime is how long an access token is good for. Default 2 hours.
	AccessLifetime time.Duration
	// RefreshLifetime is how long a refresh token is good for. Default 90 days.
	RefreshLifetime time.Duration
	// Grace is how long a refresh token works on after it was used, so that an
	// answer that got lost, or two tabs that refresh at once, log nobody out. Default 2 hours.
	Grace time.Duration

	// Now tells the time. Default [time.Now].
	Now func() time.Time
	// Rand is the source of randomness. Default [rand.Reader].
	Rand io.Reader
	// Logger is told why a refresh was refused. Default: none.
	Logger *slog.Logger
}

// Service opens, checks, refreshes and ends the sessions of a server. Its methods
// are safe for concurrent use.
type Service struct {
	store        storage.Store
	accounts     *accounts.Service
	appPasswords *apppasswords.Service
	cfg          Config
	signer       *signer
}

// New returns a service on a store, whose tables it defines.
func New(ctx context.Context, store storage.Store, a *accounts.Service, p *apppasswords.Service, cfg Config) (*Service, error) {
	if cfg.ServiceDID == "" {
		return nil, errors.New("sessions: Config.ServiceDID is missing")
	}
	if len(cfg.Secret) < 32 {
		return nil, errors.New("sessions: Config.Secret is shorter than 32 bytes")
	}
	if cfg.AccessLifetime == 0 {
		cfg.AccessLifetime = 2 * time.Hour
	}
	if cfg.RefreshLifetime == 0 {
		cfg.RefreshLifetime = 90 * 24 * time.Hour
	}
	if cfg.Grace == 0 {
		cfg.Grace = 2 * time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	signer, err := newSigner(cfg.Keys, cfg.ServiceDID, cfg.Now)
	if err != nil {
		return nil, err
	}
	if len(cfg.ServiceAuth.Protected) == 0 {
		return nil, errors.New("sessions: Config.ServiceAuth.Protected is required")
	}
	if err := storage.Define(ctx, store, Tables()...); err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	return &Service{store: store, accounts: a, appPasswords: p, cfg: cfg, signer: signer}, nil
}

// Tables are the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{table, usedTokens} }

// ServiceDID returns the audience of the tokens.
func (s *Service) ServiceDID() string { return s.cfg.ServiceDID }

// Follow is the [accounts.Hook] of this package: it ends the sessions of an account that is deleted or
// taken down, or whose password changes.
func Follow(_ context.Context, tx storage.Tx, c accounts.Change) error {
	switch {
	case c.Kind == accounts.Deleted, c.Kind == accounts.PasswordChanged, c.Kind == accounts.CredentialsRevoked,
		c.Kind == accounts.StatusChanged && c.Account.Takedown != nil:
		return EndAllTx(tx, c.Account.DID)
	}
	return nil
}

// Tokens are what a login or a refresh hands out, and for whom.
type Tokens struct {
	AccessJWT  string
	RefreshJWT string
	Account    *accounts.Account
	// Session is nil for an account that is taken down.
	Session *Session
}

// Open opens a session for an account, inside a transaction. It is for the ways to prove who
// one is, which have done so before.
func (s *Service) Open(tx storage.Tx, a *accounts.Account, g Grant) (*Tokens, error) {
	id, err := uuid.NewV7FromReader(s.cfg.Rand)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	refreshID, err := token.Base32(s.cfg.Rand, 52)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	if g.Scope == "" {
		g.Scope = ScopeAccess
	}
	now := s.now()
	r := &record{
		Session: Session{
			ID: id.String(), DID: a.DID, Grant: g,
			CreatedAt: now, LastUsedAt: now, ExpiresAt: now.Add(s.cfg.RefreshLifetime),
		},
		Refresh: s.hash(refreshID),
	}
	if err := makeRoom(tx, r); err != nil {
		return nil, err
	}
	if err := table.Insert(tx, r); err != nil {
		return nil, err
	}
	return s.tokens(a, r, refreshID)
}

// The most sessions that an account has of its password, and of each app password.
const (
	maxSessions    = 200
	maxAppSessions = 100
)

// makeRoom ends the oldest session of an account that was opened like a new one, if there are as
// many as there may be.
func makeRoom(tx storage.Tx, r *record) error {
	most := maxSessions
	if r.AppPassword != "" {
		most = maxAppSessions
	}
	like := storage.Exactly("app_password", openedBy(r.DID, r.AppPassword))
	like.Limit = most
	n, oldest := 0, ""
	for old, err := range table.Scan(tx, like) { // by their IDs, which are ordered by time
		if err != nil {
			return err
		}
		if n++; oldest == "" {
			oldest = old.ID
		}
	}
	if n < most {
		return nil
	}
	return table.Delete(tx, oldest)
}

// Start opens a session for an account in a transaction of its own.
// Errors: [accounts.ErrNotFound], [ErrAccountTakedown].
func (s *Service) Start(ctx context.Context, did syntax.DID, g Grant) (*Tokens, error) {
	var t *Tokens
	err := s.store.Update(ctx, func(tx storage.Tx) error {
		a, err := accounts.GetTx(tx, did)
		if err != nil {
			return err
		}
		if a.Takedown != nil {
			return errTakedown
		}
		t, err = s.Open(tx, a, g)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// SignUp creates an account and its first session together. Who comes with a DID that is taken down
// here gets tokens for leaving (source: com.atproto.server.createAccount).
func (s *Service) SignUp(ctx context.Context, p accounts.CreateParams) (*Tokens, error) {
	var t *Tokens
	_, err := s.accounts.Create(ctx, p, func(tx storage.Tx, a *accounts.Account) (err error) {
		if a.Takedown != nil { // it came back with a DID that is taken down here
			t, err = s.leavingTokens(a)
			return err
		}
		t, err = s.Open(tx, a, Grant{Method: MethodSignUp})
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// tokens signs the tokens of a session. The refresh token's id is only ever
// stored hashed.
func (s *Service) tokens(a *accounts.Account, r *record, refreshID string) (*Tokens, error) {
	jti, err := token.Base32(s.cfg.Rand, 26)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	sub := a.DID.String()
	access, err := s.signer.sign(typeAccess, claims{Scope: r.Scope, Sub: sub, ID: jti, Session: r.ID}, s.cfg.AccessLifetime)
	if err != nil {
		return nil, err
	}
	refresh, err := s.signer.sign(typeRefresh, claims{Scope: ScopeRefresh, Sub: sub, ID: refreshID, Session: r.ID}, s.cfg.RefreshLifetime)
	if err != nil {
		return nil, err
	}
	return &Tokens{AccessJWT: access, RefreshJWT: refresh, Account: a, Session: &r.Session}, nil
}

func (s *Service) hash(refreshID string) string {
	return token.Hash(s.cfg.Secret, "refresh", refreshID)
}

// successor is the id of the refresh token that takes an id's place. It
// follows from the id, so that whoever refreshes with the same token, however often and however
// many at once, gets the same successor, and nobody has to keep it.
func (s *Service) successor(refreshID string) string {
	return token.Hash(s.cfg.Secret, "successor", refreshID)
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }
