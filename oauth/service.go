package oauth

import (
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/oauth/client"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/sessions/dpop"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Config configures a [Service]. The fields without a default are required.
type Config struct {
	// Issuer names the authorization server: its origin, such as "https://pds.example.com".
	Issuer string
	// Resource is the URL of the server whose methods the tokens are for. Default: Issuer.
	Resource string
	// Entryway is whether other servers take the tokens too. The metadata then doesn't list the
	// resources that they are for: their URLs aren't known here, and clients take such a list for a
	// complete one.
	Entryway bool
	// Paths are where the endpoints are. Default: [DefaultPaths].
	Paths Paths
	// Keys are those that sign access tokens, of which the public parts are published.
	Keys []sessions.OAuthKey
	// Secret keys the hashes of request URIs and codes. It has at least 32 bytes.
	Secret []byte
	// Nonces are those of DPoP proofs. The sessions have the same.
	Nonces *dpop.Nonces
	// Clients finds the clients.
	Clients *client.Registry
	// Sets resolves permission sets.
	Sets *scope.Sets
	// Introspectors are the names and passwords of services that may look at tokens: see
	// [Service.Introspect]. Default: none.
	Introspectors map[string]string

	// Now returns the time. Default [time.Now].
	Now func() time.Time
	// Rand is the source of randomness. Default [rand.Reader].
	Rand io.Reader
	// Logger is told of replayed codes and the like. Default: none.
	Logger *slog.Logger
}

// The lifetimes of the profile (source: https://atproto.com/specs/oauth).
const (
	// accessLifetime is how long an access token is good for, and a session of a client that doesn't
	// refresh.
	accessLifetime = 30 * time.Minute
	// pushedLifetime is how long a pushed request waits for the browser.
	pushedLifetime = 5 * time.Minute
	// A request that a browser has opened lives on for pageLifetime after the last thing that the
	// person has done, but at most for requestLifetime in all.
	pageLifetime    = 10 * time.Minute
	requestLifetime = time.Hour
	// codeLifetime is how long a code can be exchanged.
	codeLifetime = time.Minute
	// challengeMemory is how long a code challenge can't be used again.
	challengeMemory = 24 * time.Hour

	publicRefresh       = 14 * 24 * time.Hour
	publicSession       = 14 * 24 * time.Hour
	confidentialRefresh = 90 * 24 * time.Hour
	confidentialSession = 2 * 365 * 24 * time.Hour

	// stepUp is how old a sign-in may be with which dangerous permissions are granted.
	stepUp = 10 * time.Minute
)

// Service is an authorization server. Its methods are safe for concurrent use.
type Service struct {
	store    storage.Store
	sessions *sessions.Service
	cfg      Config

	metadata *ServerMetadata
	jwks     func() json.RawMessage // encodes them once
}

// New returns a service on a store, in which it defines its tables.
func New(ctx context.Context, store storage.Store, s *sessions.Service, cfg Config) (*Service, error) {
	switch {
	case len(cfg.Secret) < 32:
		return nil, errors.New("oauth: Config.Secret is shorter than 32 bytes")
	case cfg.Nonces == nil || cfg.Clients == nil || cfg.Sets == nil:
		return nil, errors.New("oauth: Config.Nonces, Clients and Sets are required")
	}
	if err := CheckIssuer(cfg.Issuer); err != nil {
		return nil, err
	}
	if cfg.Resource == "" {
		cfg.Resource = cfg.Issuer
	}
	if cfg.Paths == (Paths{}) {
		cfg.Paths = DefaultPaths
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
	for _, k := range cfg.Keys {
		if k.Private == nil || k.Private.Curve != elliptic.P256() {
			return nil, fmt.Errorf("oauth: key %q has no private key of the curve P-256", k.ID)
		}
	}
	if err := storage.Define(ctx, store, Tables()...); err != nil {
		return nil, fmt.Errorf("oauth: %w", err)
	}
	jwks := sync.OnceValue(func() json.RawMessage { return publish(cfg.Keys) })
	return &Service{store: store, sessions: s, cfg: cfg, metadata: newMetadata(cfg), jwks: jwks}, nil
}

// Tables are the collections of this package.
func Tables() []storage.Definer { return []storage.Definer{requests, authCodes, consents} }

// Follow is the [accounts.Hook] of this package. What an account was about to hand out ends
// whenever its sessions do, and its consents are deleted with it.
func Follow(_ context.Context, tx storage.Tx, c accounts.Change) error {
	if !sessions.Ends(c) {
		return nil
	}
	if _, err := authCodes.DeleteAll(tx, storage.Exactly("account", c.Account.DID.String())); err != nil {
		return err
	}
	if c.Kind != accounts.Deleted {
		return nil
	}
	_, err := consents.DeleteAll(tx, storage.Under("account", c.Account.DID.String()))
	return err
}

// Maintain deletes the requests and codes that have expired, and permission sets that nobody uses.
// Call it periodically.
func (s *Service) Maintain(ctx context.Context) error {
	expired := storage.Range{Index: "expires", To: storage.TimeKey(s.now())}
	return errors.Join(
		requests.Purge(ctx, s.store, expired), authCodes.Purge(ctx, s.store, expired), s.cfg.Sets.Maintain(ctx),
	)
}

// Nonce returns the nonce that DPoP proofs need at this time.
func (s *Service) Nonce() string { return s.cfg.Nonces.Current(s.cfg.Now()) }

// hash returns the hash under which a secret of a kind is stored.
func (s *Service) hash(kind, secret string) string { return token.Hash(s.cfg.Secret, kind, secret) }

// random returns 256 random bits as text.
func (s *Service) random() (string, error) {
	r, err := token.Base32(s.cfg.Rand, 52)
	if err != nil {
		return "", fmt.Errorf("oauth: %w", err)
	}
	return r, nil
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }
