package sessions

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/uuid"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/once"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/storage"
)

// The errors of this package. Test for them with [errors.Is].
var (
	// ErrInvalidToken is returned when a token is malformed, was issued by somebody else, or doesn't
	// allow what it was used for. Clients are answered 400 InvalidToken.
	ErrInvalidToken = errors.New("sessions: invalid token")
	// ErrExpiredToken is returned when a token was good once, and has expired or was revoked with its
	// session. Clients are answered 400 ExpiredToken.
	ErrExpiredToken = errors.New("sessions: expired token")
	// ErrAccountNotFound is returned when the account of a token has been deleted. Clients are
	// answered 403 AccountNotFound.
	ErrAccountNotFound = errors.New("sessions: account of the token not found")
	// ErrAccountTakedown is returned when the account is taken down. Clients are answered 401
	// AccountTakedown.
	ErrAccountTakedown = errors.New("sessions: account taken down")
	// ErrAccountDeactivated is returned when the account is deactivated and the request needs an
	// active one. Clients are answered 401 AccountDeactivated.
	ErrAccountDeactivated = errors.New("sessions: account deactivated")
	// ErrBoundToken is returned when an access token that is bound to a key isn't good: it is another
	// issuer's, another server's or another key's, it has expired, or its session has ended. Clients
	// are answered 401 invalid_token (source: RFC 6750, section 3.1).
	ErrBoundToken = errors.New("sessions: invalid token of an OAuth session")
	// ErrScopeMissing is returned when an OAuth session lacks a permission. The message names the
	// scope that has it. Clients are answered 403 ScopeMissingError.
	ErrScopeMissing = errors.New("sessions: the OAuth scope lacks a permission")
	// ErrNotForOAuth is returned when an OAuth session asks for what no such session may do. Clients
	// are answered 403 Forbidden.
	ErrNotForOAuth = errors.New("sessions: not for OAuth sessions")
	// ErrUnknownKey is what a [KeySource] returns when the issuer has no such key.
	ErrUnknownKey = errors.New("sessions: the issuer has no such key")
	// ErrIssuer is returned when the keys of another authorization server can't be had. Clients are
	// answered 503 ServiceUnavailable.
	ErrIssuer = errors.New("sessions: the keys of the issuer can't be had")
	// ErrNotFound is returned when the account has no such session. No method of the HTTP API returns
	// it.
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
	// Keys sign and verify tokens: the first signs, all verify. To rotate keys put a new one first,
	// and remove the old one after RefreshLifetime.
	Keys []Key
	// Secret keys the hashes of refresh tokens. It has at least 32 bytes. With another secret all
	// sessions end.
	Secret []byte
	// ServiceAuth says for which methods there are no service tokens. Its Protected methods are
	// required: without them a service token would do for what only a session may.
	ServiceAuth ServiceAuthRules
	// EmailForAppPasswords gives sessions of app passwords the permission [ReadEmail].
	EmailForAppPasswords bool

	// AccessLifetime is how long an access token is good for. Default 2 hours.
	AccessLifetime time.Duration
	// RefreshLifetime is how long a refresh token is good for. Default 90 days.
	RefreshLifetime time.Duration
	// Grace is how long a refresh token works on after it was used, so that nobody is logged out by a
	// lost answer or by two tabs that refresh at once. Default 2 hours.
	Grace time.Duration

	// OAuth configures the sessions of OAuth clients. Default: there are none.
	OAuth OAuthConfig

	// Now returns the time. Default [time.Now].
	Now func() time.Time
	// Rand is the source of randomness. Default [rand.Reader].
	Rand io.Reader
	// Logger is told why refreshes were refused. Default: none.
	Logger *slog.Logger
}

// Service opens, verifies, refreshes and ends the sessions of a server. Its methods are safe for
// concurrent use.
type Service struct {
	store    storage.Store
	accounts *accounts.Service
	cfg      Config
	signer   *signer
	known    *storage.Cache[record]
	scopes   map[Scope]Permissions
	oauth    *oauth // nil if there are no OAuth sessions
}

// New returns a service on a store, whose tables it defines.
func New(ctx context.Context, store storage.Store, a *accounts.Service, cfg Config) (*Service, error) {
	if cfg.ServiceDID == "" {
		return nil, errors.New("sessions: Config.ServiceDID is required")
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
	oauth, err := newOAuth(cfg)
	if err != nil {
		return nil, err
	}
	if err := storage.Define(ctx, store, slices.Concat(Tables(), once.Tables())...); err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	return &Service{
		store: store, accounts: a, cfg: cfg, signer: signer, known: storage.NewCache(table, cachedSessions),
		scopes: scopes(cfg), oauth: oauth,
	}, nil
}

// Tables are the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{table, usedTokens} }

// ServiceDID returns the audience of the tokens.
func (s *Service) ServiceDID() string { return s.cfg.ServiceDID }

// Follow is the [accounts.Hook] of this package. It ends the sessions of an account after a change
// that [Ends] them.
func Follow(_ context.Context, tx storage.Tx, c accounts.Change) error {
	if !Ends(c) {
		return nil
	}
	return endAllTx(tx, c.Account.DID)
}

// Ends reports whether a change of an account ends its sessions: if the account is deleted or taken
// down, or its password changes.
func Ends(c accounts.Change) bool {
	switch c.Kind {
	case accounts.Deleted, accounts.PasswordChanged, accounts.CredentialsRevoked:
		return true
	case accounts.StatusChanged:
		return c.Account.Takedown != nil
	}
	return false
}

// Tokens are the tokens that a login or a refresh gives to a client.
type Tokens struct {
	AccessJWT  string
	RefreshJWT string
	Account    *accounts.Account
	// Session is nil for an account that is taken down.
	Session *Session
	// Permissions is what the access token may do.
	Permissions Permissions
}

// Open opens a session for an account, inside a transaction. Whoever asks for it has been proved to
// be who they are before; signin does both. Error: [ErrAccountTakedown].
func (s *Service) Open(tx storage.Tx, a *accounts.Account, g Grant) (*Tokens, error) {
	if a.Takedown != nil {
		return nil, errTakedown
	}
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

// OpenLeaving issues tokens of [ScopeTakendown] for an account that is taken down, inside a
// transaction. No session is stored: the refresh token is never accepted, and the access token is
// good for as long as the takedown and the password stay the same. Error: [accounts.ErrNotFound].
func (s *Service) OpenLeaving(tx storage.Tx, did syntax.DID) (*Tokens, error) {
	a, stamp, err := accounts.StampTx(tx, did)
	if err != nil {
		return nil, err
	}
	t, err := s.tokens(a, &record{Session: Session{ID: stamp, Grant: Grant{Scope: ScopeTakendown}}}, "none")
	if err != nil {
		return nil, err
	}
	t.Session = nil
	return t, nil
}

// Start is [Service.Open] in a transaction of its own. Errors: [accounts.ErrNotFound],
// [ErrAccountTakedown].
func (s *Service) Start(ctx context.Context, did syntax.DID, g Grant) (*Tokens, error) {
	var t *Tokens
	err := s.store.Update(ctx, func(tx storage.Tx) error {
		a, err := accounts.GetTx(tx, did)
		if err != nil {
			return err
		}
		t, err = s.Open(tx, a, g)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// tokens signs the tokens of a session. The id of the refresh token is stored only as a hash.
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
	return &Tokens{AccessJWT: access, RefreshJWT: refresh, Account: a, Session: &r.Session, Permissions: s.Permissions(r.Scope)}, nil
}

func (s *Service) hash(refreshID string) string {
	return token.Hash(s.cfg.Secret, "refresh", refreshID)
}

// successor returns the id of the refresh token that replaces one. It is derived from the id of the
// replaced token, so that everybody who refreshes with that gets the same successor, which need not
// be stored.
func (s *Service) successor(refreshID string) string {
	return token.Hash(s.cfg.Secret, "successor", refreshID)
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }
