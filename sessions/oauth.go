package sessions

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/sessions/dpop"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Client is the OAuth client that a session was opened for.
type Client struct {
	// ID is its client_id.
	ID string `json:"id"`
	// Key is the SHA-256 thumbprint of the DPoP key that the session's tokens are bound to (source:
	// RFC 9449, section 6.1).
	Key string `json:"key"`
	// AuthKey is the thumbprint of the key by which a confidential client authenticated. Empty: the
	// client is public.
	AuthKey string `json:"authKey,omitempty"`
	// Scope is what the owner of the account granted, as it was asked for: permission sets
	// ("include:") are not expanded.
	Scope string `json:"scope"`
}

// OAuthConfig configures OAuth sessions. Its zero value turns them off: requests with the DPoP
// scheme are then refused.
type OAuthConfig struct {
	// Issuer is the authorization server, an origin such as "https://pds.example.com": this server,
	// or, with Remote, another.
	Issuer string
	// Audiences are the DIDs of the resource servers that take the access tokens. Default: the
	// ServiceDID of the [Config]. This server takes only tokens that name it.
	Audiences []string
	// Keys sign and verify access tokens with ES256: the first signs, all verify. To rotate keys put a
	// new one first, and remove the old one after AccessLifetime. Required, unless Remote is set.
	Keys []OAuthKey
	// Nonces are those of DPoP proofs. Default: nonces by the Secret of the [Config].
	Nonces *dpop.Nonces
	// Remote finds the keys of another authorization server, whose tokens are taken in place of this
	// server's own. No session is stored here then. Nil: this server is the authorization server.
	Remote KeySource
	// Refused reports whether a client isn't admitted, which is named by its client_id. Access tokens
	// that it was given before are good for nothing then. It is called for every request with a token,
	// and has to be fast and safe for concurrent use. Default: all clients are admitted.
	Refused func(clientID string) bool
	// AccessLifetime is how long an access token is good for. Default, and most: 30 minutes (source:
	// https://atproto.com/specs/oauth).
	AccessLifetime time.Duration
	// Grace is how long a refresh token works on after it was used, for the same key, so that a lost
	// answer or two tabs that refresh at once end no session. Default 2 minutes.
	Grace time.Duration
}

// OAuthKey signs access tokens.
type OAuthKey struct {
	// ID is the "kid" of token headers and of the key in the server's jwks.
	ID string
	// Private is a P-256 key.
	Private *ecdsa.PrivateKey
}

// KeySource finds the keys of another authorization server. It is safe for concurrent use.
type KeySource interface {
	// Key returns the public key that has an ID and is for an algorithm: an [*ecdsa.PublicKey], an
	// [*rsa.PublicKey] or an [ed25519.PublicKey]. Error: [ErrUnknownKey] if the server has no such
	// key. Any other error means that the keys can't be had for the moment.
	Key(ctx context.Context, kid, alg string) (crypto.PublicKey, error)
}

// maxOAuthAccessLifetime is the most that the specification allows.
const maxOAuthAccessLifetime = 30 * time.Minute

// Check returns an error if [New] would refuse the configuration.
func (c OAuthConfig) Check() error {
	if c.Issuer == "" {
		if len(c.Keys) > 0 || c.Remote != nil || len(c.Audiences) > 0 {
			return errors.New("sessions: Config.OAuth.Issuer is required")
		}
		return nil
	}
	u, err := url.Parse(c.Issuer)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Scheme+"://"+u.Host != c.Issuer:
		return fmt.Errorf("sessions: Config.OAuth.Issuer %q is not an origin", c.Issuer)
	case c.Remote == nil && len(c.Keys) == 0:
		return errors.New("sessions: Config.OAuth.Keys is empty: no key to sign access tokens with")
	case c.Remote != nil && len(c.Keys) > 0:
		return errors.New("sessions: Config.OAuth has both Keys and Remote")
	case c.AccessLifetime < 0 || c.AccessLifetime > maxOAuthAccessLifetime:
		return fmt.Errorf("sessions: Config.OAuth.AccessLifetime is not between 0 and %v", maxOAuthAccessLifetime)
	case c.Grace < 0:
		return errors.New("sessions: Config.OAuth.Grace is negative")
	}
	ids := map[string]bool{}
	for _, k := range c.Keys {
		switch {
		case k.ID == "" || ids[k.ID]:
			return fmt.Errorf("sessions: Config.OAuth.Keys: the ID %q is empty or not unique", k.ID)
		case k.Private == nil || k.Private.Curve != elliptic.P256():
			return fmt.Errorf("sessions: Config.OAuth.Keys: %q is not a P-256 key", k.ID)
		}
		ids[k.ID] = true
	}
	return nil
}

// oauth is what a [Service] has for OAuth sessions.
type oauth struct {
	cfg OAuthConfig
	// permissions are what scopes allow.
	permissions *lru.Cache[string, Permissions]
	// verified are access tokens.
	verified *verified[*boundToken]
	// proofs are the DPoP proofs that were used in requests that change nothing.
	proofs *seen
}

// The most scopes whose permissions are remembered. Scopes and tokens of more than maxCached bytes
// aren't, which few are: clients could fill the memory with them.
const (
	cachedScopes = 500
	maxCached    = 4 << 10
)

// newOAuth returns nil if there are no OAuth sessions.
func newOAuth(cfg Config) (*oauth, error) {
	c := cfg.OAuth
	if err := c.Check(); err != nil || c.Issuer == "" {
		return nil, err
	}
	if len(c.Audiences) == 0 {
		c.Audiences = []string{cfg.ServiceDID}
	}
	c.AccessLifetime = cmp.Or(c.AccessLifetime, maxOAuthAccessLifetime)
	c.Grace = cmp.Or(c.Grace, 2*time.Minute)
	if c.Nonces == nil {
		c.Nonces = dpop.NewNonces([]byte(token.Hash(cfg.Secret, "dpop-nonces")))
	}
	cache, err := lru.New[string, Permissions](cachedScopes)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	verified, err := newVerified[*boundToken]()
	if err != nil {
		return nil, err
	}
	if c.Refused == nil {
		c.Refused = func(string) bool { return false }
	}
	return &oauth{c, cache, verified, newSeen()}, nil
}

// Nonces returns the nonces of DPoP proofs, or nil if there are no OAuth sessions.
func (s *Service) Nonces() *dpop.Nonces {
	if s.oauth == nil {
		return nil
	}
	return s.oauth.cfg.Nonces
}

// Nonce returns the nonce to give out with an answer to a request with the DPoP scheme, or "" if
// there are no OAuth sessions.
func (s *Service) Nonce() string {
	if s.oauth == nil {
		return ""
	}
	return s.oauth.cfg.Nonces.Current(s.now())
}

// allowedBy returns what a scope of OAuth allows: [OAuthPermissions] from a cache.
func (o *oauth) allowedBy(scope string) (Permissions, error) {
	if p, ok := o.permissions.Get(scope); ok {
		return p, nil
	}
	p, err := OAuthPermissions(scope)
	if err == nil && len(scope) <= maxCached {
		o.permissions.Add(scope, p)
	}
	return p, err
}

// OAuthGrant says for whom an OAuth session is opened and what it may do.
type OAuthGrant struct {
	Client Client
	// Method names the way in which the owner proved who they are (see [Grant]).
	Method string
	// Scope is the expanded scope: that of the client with the contents of its permission sets. It is
	// what access tokens say, and what permissions are computed from.
	Scope string
	// Code is the hash of the authorization code that the session is opened for, for [EndByCodeTx].
	Code string
	// RefreshLifetime is how long a refresh token is good for. Lifetime is how long the session lasts
	// at most, however often it is refreshed.
	RefreshLifetime, Lifetime time.Duration
}

// Issue is tokens that are yet to be signed, outside of the transaction that has issued them: see
// [Service.SignOAuth].
type Issue struct {
	// Session is the session that the tokens belong to, and Account is whose it is.
	Session *Session
	Account *accounts.Account
	// Scope is that of the access token.
	Scope string

	access, refresh string // the IDs of the tokens
}

// OAuthTokens are the tokens that a client is given.
type OAuthTokens struct {
	AccessToken  string
	RefreshToken string
	// Scope is that of the access token, with permission sets expanded. What the owner granted is in
	// Session.Client.
	Scope string
	// ExpiresIn is how long the access token is good for.
	ExpiresIn time.Duration
	Account   *accounts.Account
	Session   *Session
}

// errNoOAuth is returned where OAuth sessions are opened that are turned off, or another server's.
var errNoOAuth = errors.New("sessions: this server isn't configured to issue OAuth tokens")

// issues returns an error if this server issues no OAuth tokens.
func (s *Service) issues() error {
	if s.oauth == nil || s.oauth.cfg.Remote != nil {
		return errNoOAuth
	}
	return nil
}

// OpenOAuthTx opens a session for an OAuth client, inside a transaction. The owner has proved to be
// who they are, and agreed, before. The tokens are signed after the transaction: see
// [Service.SignOAuth]. Errors: [ErrAccountTakedown]; [ErrPermission] for a scope without "atproto".
func (s *Service) OpenOAuthTx(tx storage.Tx, a *accounts.Account, g OAuthGrant) (*Issue, error) {
	if err := s.issues(); err != nil {
		return nil, err
	}
	if a.Takedown != nil {
		return nil, errTakedown
	}
	if g.RefreshLifetime <= 0 || g.Lifetime <= 0 || g.Client.ID == "" || g.Client.Key == "" {
		return nil, errors.New("sessions: an OAuthGrant needs lifetimes, and a client with a key")
	}
	if _, err := s.oauth.allowedBy(g.Scope); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7FromReader(s.cfg.Rand)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	refreshID, err := token.Base32(s.cfg.Rand, 52)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	now := s.now()
	client, ends := g.Client, now.Add(g.Lifetime)
	r := &record{
		Session: Session{
			ID: id.String(), DID: a.DID, Grant: Grant{Method: g.Method, Scope: Scope(g.Scope), Client: &client},
			CreatedAt: now, LastUsedAt: now, ExpiresAt: earlier(ends, now.Add(g.RefreshLifetime)), EndsAt: ends,
		},
		Refresh: s.hash(refreshID), Access: s.accessID(refreshID), Code: g.Code, RefreshLifetime: g.RefreshLifetime,
	}
	if err := makeRoom(tx, r); err != nil {
		return nil, err
	}
	if err := table.Insert(tx, r); err != nil {
		return nil, err
	}
	return s.issue(a, r, refreshID, ""), nil
}

// issue returns the tokens that belong to a refresh token, with the scope of the session or a
// narrower one.
func (s *Service) issue(a *accounts.Account, r *record, refreshID, narrow string) *Issue {
	return &Issue{
		Session: &r.Session, Account: a, Scope: cmp.Or(narrow, string(r.Scope)), access: s.accessID(refreshID), refresh: refreshID,
	}
}

// accessID returns the ID of the access tokens that are issued with a refresh token. It is derived
// from that, so that everybody who refreshes at once gets access tokens of one ID, the only one
// that the session takes.
func (s *Service) accessID(refreshID string) string {
	return token.Derive(s.cfg.Secret, 26, "access", refreshID)
}

// SignOAuth signs the tokens of an issue.
func (s *Service) SignOAuth(i *Issue) (*OAuthTokens, error) {
	if err := s.issues(); err != nil {
		return nil, err
	}
	now := s.now()
	lifetime := min(s.oauth.cfg.AccessLifetime, i.Session.ExpiresAt.Sub(now)).Truncate(time.Second)
	access, err := s.oauth.sign(i, now, lifetime)
	if err != nil {
		return nil, err
	}
	return &OAuthTokens{
		AccessToken: access, RefreshToken: s.refreshToken(i.Session.ID, i.refresh),
		Scope: i.Scope, ExpiresIn: max(0, lifetime), Account: i.Account, Session: i.Session,
	}, nil
}

// audienceOf returns the audiences as a claim: one as a string, several as a list.
func audienceOf(all []string) any {
	if len(all) == 1 {
		return all[0]
	}
	return slices.Clone(all)
}
