package domaintest

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/secrets"
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/oauth/client"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/sessions/dpop"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Issuer is the URL of the authorization server.
const Issuer = "https://pds.test"

// Introspector is the name of a service that may introspect tokens, and IntrospectorPassword is its
// password.
const (
	Introspector         = "feeds"
	IntrospectorPassword = "the password of feeds"
)

// oauthSessions returns the configuration of sessions that an authorization server opens.
func (s *Services) oauthSessions(ctx context.Context) (sessions.OAuthConfig, error) {
	secret, err := s.secret(ctx, "dpop-nonces")
	if err != nil {
		return sessions.OAuthConfig{}, err
	}
	loaded, err := secrets.Load(ctx, s.Store, secrets.Wanted{Name: "oauth-key", Generate: secrets.P256(s.cfg.Rand)})
	if err != nil {
		return sessions.OAuthConfig{}, err
	}
	key, err := x509.ParseECPrivateKey(loaded["oauth-key"])
	if err != nil {
		return sessions.OAuthConfig{}, err
	}
	clients, err := s.clients()
	if err != nil {
		return sessions.OAuthConfig{}, err
	}
	return sessions.OAuthConfig{
		Issuer: Issuer, Nonces: dpop.NewNonces(secret), Keys: []sessions.OAuthKey{{ID: "key", Private: key}}, Refused: clients.Refuses,
	}, nil
}

func (s *Services) clients() (*client.Registry, error) {
	return client.New(client.Config{
		Fetcher: s.Documents, Issuer: Issuer, Trusted: s.cfg.TrustedClients, Refused: s.cfg.RefusedClients, AllowLoopback: true, Now: s.cfg.Now,
	})
}

func (s *Services) wireOAuth(ctx context.Context, store storage.Store) error {
	secret, err := s.secret(ctx, "oauth")
	if err != nil {
		return err
	}
	cfg, err := s.oauthSessions(ctx)
	if err != nil {
		return err
	}
	clients, err := s.clients()
	if err != nil {
		return err
	}
	sets, err := scope.NewSets(ctx, store, scope.SetsConfig{
		Resolver: s.PermissionSets, Now: s.cfg.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	s.OAuth, err = oauth.New(ctx, store, s.Sessions, oauth.Config{
		Issuer: Issuer, Keys: cfg.Keys, Secret: secret, Nonces: cfg.Nonces, Clients: clients, Sets: sets,
		Introspectors: map[string]string{Introspector: IntrospectorPassword}, Now: s.cfg.Now, Rand: s.cfg.Rand,
	})
	return err
}

// Documents are JSON documents by URL. It implements [client.Fetcher].
type Documents struct {
	mu    sync.Mutex
	byURL map[string][]byte
}

// Put publishes a document, in place of the one that was at the URL.
func (d *Documents) Put(url string, document []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.byURL == nil {
		d.byURL = map[string][]byte{}
	}
	d.byURL[url] = document
}

// Get implements [client.Fetcher].
func (d *Documents) Get(_ context.Context, url string, _ int64) (*client.Document, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.byURL[url]
	if !ok {
		return nil, fmt.Errorf("%w: there is none at %s", client.ErrUnfit, url)
	}
	return &client.Document{Body: b, ContentType: "application/json", Lifetime: client.Unsaid}, nil
}

// PermissionSets are published permission sets by name. It implements [scope.SetResolver].
type PermissionSets struct {
	mu     sync.Mutex
	byName map[syntax.NSID][]string
}

// Put publishes a set that allows to write records of some collections.
func (p *PermissionSets) Put(name syntax.NSID, collections ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byName == nil {
		p.byName = map[syntax.NSID][]string{}
	}
	p.byName[name] = collections
}

// Remove makes a set unreachable.
func (p *PermissionSets) Remove(name syntax.NSID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byName, name)
}

// Resolve implements [scope.SetResolver].
func (p *PermissionSets) Resolve(_ context.Context, name syntax.NSID) (json.RawMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	collections, ok := p.byName[name]
	if !ok {
		return nil, fmt.Errorf("the permission set %s is unreachable", name)
	}
	return json.Marshal(map[string]any{
		"lexicon": 1, "id": name,
		"defs": map[string]any{"main": map[string]any{
			"type": "permission-set", "title": "Example", "detail": "An example of a permission set.",
			"permissions": []any{map[string]any{"type": "permission", "resource": "repo", "collection": collections}},
		}},
	})
}
