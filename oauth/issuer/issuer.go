package issuer

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/internal/cached"
	"github.com/gatehouse-at/gatehouse/internal/jwks"
	"github.com/gatehouse-at/gatehouse/internal/strictjson"
	"github.com/gatehouse-at/gatehouse/oauth/client"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// ErrUnavailable is returned if the keys aren't known, since the authorization server can't be
// reached or answers with something else. Nothing is known about a token then.
var ErrUnavailable = errors.New("issuer: keys unavailable")

// Config configures [Keys].
type Config struct {
	// Issuer is the identifier of the authorization server, which is an origin, such as
	// https://entryway.example.com. It is required. An http URL has to be on loopback.
	Issuer string
	// Fetcher gets the documents. It is required.
	Fetcher client.Fetcher
	// Now returns the time. Default [time.Now].
	Now func() time.Time
}

// Keys are the public keys of an authorization server. They are fetched when they are first needed,
// cached as long as the server says, from a minute to an hour, 10 minutes if it doesn't, and used
// for another day if it can't be reached. A key that isn't known makes them be fetched anew, twice
// a minute at most. Its methods are safe for concurrent use.
type Keys struct {
	cfg   Config
	cache *cached.Cache[[]jwks.Key] // of one entry, by the issuer
}

// minRenewal is the least time between two fetches because of keys that aren't known, which anybody
// can name.
const minRenewal = 30 * time.Second

// New returns the keys of an authorization server.
func New(cfg Config) (*Keys, error) {
	if cfg.Fetcher == nil {
		return nil, errors.New("issuer: Config.Fetcher is missing")
	}
	if err := checkOrigin(cfg.Issuer); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cache, err := cached.New[[]jwks.Key](cached.Config{
		Default: 10 * time.Minute, Min: time.Minute, Max: time.Hour, Stale: 24 * time.Hour, Outage: ErrUnavailable, Retry: minRenewal, Negative: 5 * time.Second,
		Entries: 1, Bytes: 8 << 20, Timeout: 30 * time.Second, Now: cfg.Now,
	})
	if err != nil {
		return nil, err
	}
	return &Keys{cfg, cache}, nil
}

// checkOrigin checks that an issuer is an origin in its normal form (source: the atproto OAuth
// specification, "Server Metadata").
func checkOrigin(issuer string) error {
	u, err := url.Parse(issuer)
	loopback := err == nil && u.Scheme == "http" && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1")
	if err != nil || u.Scheme != "https" && !loopback || u.Host == "" || issuer != u.Scheme+"://"+strings.ToLower(u.Host) ||
		u.Port() == map[string]string{"https": "443", "http": "80"}[u.Scheme] || strings.HasSuffix(u.Host, ":") {
		return fmt.Errorf("issuer: Config.Issuer %q must be an origin, such as https://entryway.example.com, without a path and without the default port", issuer)
	}
	return nil
}

// Key returns the key by which the authorization server signs tokens with a kid and an algorithm in
// their header. The kid may be empty if there is only one key for the algorithm. Errors:
// [sessions.ErrUnknownKey], [ErrUnavailable].
func (k *Keys) Key(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
	keys, err := k.cache.Get(ctx, k.cfg.Issuer, k.fetch)
	if err != nil {
		return nil, k.failure(ctx, err)
	}
	if key, err := choose(keys, kid, alg); err == nil {
		return key, nil
	}
	// The server may have a new key.
	if keys, err = k.cache.Renew(ctx, k.cfg.Issuer, minRenewal, k.fetch); err != nil {
		return nil, k.failure(ctx, err)
	}
	return choose(keys, kid, alg)
}

func choose(keys []jwks.Key, kid, alg string) (crypto.PublicKey, error) {
	switch chosen := jwks.Choose(keys, kid, alg); len(chosen) {
	case 1:
		return chosen[0].Public, nil
	case 0:
		return nil, fmt.Errorf("%w: %.100q for %.20q", sessions.ErrUnknownKey, kid, alg)
	}
	return nil, fmt.Errorf("%w: %.100q for %.20q names more than one", sessions.ErrUnknownKey, kid, alg)
}

// failure makes an error of a fetch one of this package.
func (k *Keys) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// fetch gets the keys. An answer that isn't fit is an outage too: the issuer is chosen by the
// operator, and a mistake there, or of somebody in front of it, must not make its sessions end.
func (k *Keys) fetch(ctx context.Context) (cached.Found[[]jwks.Key], error) {
	found, err := k.find(ctx)
	if err != nil {
		return found, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return found, nil
}

func (k *Keys) find(ctx context.Context) (none cached.Found[[]jwks.Key], err error) {
	at := k.cfg.Issuer + "/.well-known/oauth-authorization-server"
	doc, err := k.cfg.Fetcher.Get(ctx, at, client.MaxDocument)
	if err != nil {
		return none, fmt.Errorf("%s: %w", at, err)
	}
	keysAt, err := k.keysURI(doc.Body)
	if err != nil {
		return none, fmt.Errorf("%s: %w", at, err)
	}
	set, err := k.cfg.Fetcher.Get(ctx, keysAt, client.MaxDocument)
	if err != nil {
		return none, fmt.Errorf("%s: %w", keysAt, err)
	}
	keys, err := jwks.Parse(set.Body)
	if err != nil {
		return none, fmt.Errorf("%s: %w", keysAt, err)
	}
	return cached.Found[[]jwks.Key]{Value: keys, Cost: len(set.Body), Lifetime: set.Lifetime}, nil
}

// keysURI returns the jwks_uri of the metadata of the server. It has to have the origin of the
// issuer: keys of another host are no proof of who signs.
func (k *Keys) keysURI(metadata []byte) (string, error) {
	o, err := strictjson.Parse(metadata)
	if err != nil {
		return "", err
	}
	if issuer, err := o.String("issuer"); err != nil || issuer != k.cfg.Issuer {
		return "", fmt.Errorf("the issuer is %.200q, and %q is needed", issuer, k.cfg.Issuer)
	}
	at, err := o.String("jwks_uri")
	if err != nil {
		return "", err
	}
	u, err := url.Parse(at)
	if err != nil || u.User != nil || u.Scheme+"://"+u.Host != k.cfg.Issuer || !strings.HasPrefix(at, k.cfg.Issuer+"/") {
		return "", fmt.Errorf("the jwks_uri %.200q must have the origin of the issuer", at)
	}
	return at, nil
}
