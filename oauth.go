package gatehouse

import (
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/fetch"
	"github.com/gatehouse-at/gatehouse/internal/hostname"
	"github.com/gatehouse-at/gatehouse/internal/lexiconset"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/internal/token"
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/oauth/client"
	"github.com/gatehouse-at/gatehouse/oauth/issuer"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/sessions/dpop"
	"github.com/gatehouse-at/gatehouse/signin/device"
	"github.com/gatehouse-at/gatehouse/web"
)

// authorizing is what the parts of an authorization server share while they are being made.
type authorizing struct {
	issuer string // "" if OAuth is off
	own    bool   // this server is the issuer
	keys   []sessions.OAuthKey
	nonces *dpop.Nonces
	fetch  client.Fetcher
	// clients knows which clients are refused, also if another server is the issuer.
	clients *client.Registry
}

// oauthSessions returns how sessions verify and sign the tokens of OAuth.
func (w *wiring) oauthSessions(ctx context.Context) (sessions.OAuthConfig, error) {
	if w.cfg.oauthIssuer == "" {
		w.cfg.Logger.InfoContext(ctx, "OAuth is off, since PublicURL is neither https nor on a loopback address", "publicURL", w.cfg.PublicURL)
		return sessions.OAuthConfig{}, nil
	}
	o := &w.authorizing
	o.issuer, o.own = w.cfg.oauthIssuer, w.cfg.ownOAuth()
	o.nonces = dpop.NewNonces(w.oauthSecret("nonces"))
	if o.fetch = w.cfg.OAuth.Documents; o.fetch == nil {
		o.fetch = fetch.New(fetch.Config{
			UserAgent: "gatehouse/" + Version + " (" + w.cfg.Hostname + ")", AllowLoopback: hostname.IsLoopback(w.cfg.publicHost),
		})
	}
	clients, err := client.New(client.Config{
		Fetcher: o.fetch, Issuer: o.issuer, Trusted: w.cfg.OAuth.TrustedClients, Refused: w.cfg.OAuth.RefusedClients,
		AllowLoopback: hostname.IsLoopback(w.cfg.publicHost), Now: w.cfg.Now,
	})
	if err != nil {
		return sessions.OAuthConfig{}, err
	}
	o.clients = clients
	cfg := sessions.OAuthConfig{
		Issuer: o.issuer, Nonces: o.nonces, Audiences: append([]string{w.cfg.serviceDID}, w.cfg.OAuth.Resources...), Refused: o.clients.Refuses,
	}
	if !o.own {
		cfg.Remote, err = issuer.New(issuer.Config{Issuer: o.issuer, Fetcher: o.fetch, Now: w.cfg.Now})
		return cfg, err
	}
	if o.keys, err = w.oauthKeys(); err != nil {
		return cfg, err
	}
	cfg.Keys = o.keys
	return cfg, nil
}

// oauthSecret returns the secret of a purpose, which is derived from one that is kept in the store.
func (w *wiring) oauthSecret(purpose string) []byte {
	return []byte(token.Hash(w.secrets[oauthSecret], purpose))
}

// oauthKeys returns the configured keys, or the one in the store.
func (w *wiring) oauthKeys() ([]sessions.OAuthKey, error) {
	if len(w.cfg.Keys.OAuth) > 0 {
		return w.cfg.Keys.OAuth, nil
	}
	key, err := x509.ParseECPrivateKey(w.secrets[oauthKeySecret])
	if err != nil {
		return nil, errors.New("the stored key " + oauthKeySecret + " is damaged")
	}
	id := sha256.Sum256(elliptic.MarshalCompressed(key.Curve, key.X, key.Y))
	return []sessions.OAuthKey{{ID: hex.EncodeToString(id[:8]), Private: key}}, nil
}

// devices makes the browsers on which accounts are signed in.
func (w *wiring) devices(ctx context.Context) (err error) {
	w.Devices, err = device.New(ctx, w.guarded, w.Sessions, w.SignIn, device.Config{
		Secret: w.oauthSecret("devices"), Now: w.cfg.Now, Rand: w.cfg.Rand, Logger: w.cfg.Logger,
	})
	return err
}

// oauth makes the authorization server, unless OAuth is off or another server is it.
func (w *wiring) oauth(ctx context.Context) (err error) {
	o := &w.authorizing
	if !o.own {
		return nil
	}
	resolver := w.cfg.OAuth.PermissionSets
	if resolver == nil {
		if resolver, err = w.permissionSets(); err != nil {
			return err
		}
	}
	sets, err := scope.NewSets(ctx, w.guarded, scope.SetsConfig{Resolver: resolver, Now: w.cfg.Now, Logger: w.cfg.Logger})
	if err != nil {
		return err
	}
	w.OAuth, err = oauth.New(ctx, w.guarded, w.Sessions, oauth.Config{
		Issuer:        o.issuer,
		Entryway:      len(w.cfg.OAuth.Resources) > 0,
		Paths:         w.cfg.OAuth.Paths,
		Keys:          o.keys,
		Secret:        w.oauthSecret("requests and codes"),
		Nonces:        o.nonces,
		Clients:       o.clients,
		Sets:          sets,
		Introspectors: w.cfg.OAuth.Introspectors,
		Now:           w.cfg.Now,
		Rand:          w.cfg.Rand,
		Logger:        w.cfg.Logger,
	})
	return err
}

// pages returns what is served of OAuth.
func (w *wiring) pages() web.OAuthConfig {
	cfg := web.OAuthConfig{Service: w.OAuth, Devices: w.Devices, Secret: w.oauthSecret("pages"), Pages: web.Pages{
		Templates:   w.cfg.Pages.Templates,
		Assets:      w.cfg.Pages.Assets,
		Texts:       w.cfg.Pages.Texts,
		AccountPath: w.cfg.Pages.AccountPath,
		AssetPath:   w.cfg.Pages.AssetPath,
	}}
	if w.authorizing.issuer != "" && w.OAuth == nil {
		cfg.Resource = oauth.NewResourceMetadata(w.cfg.PublicURL, w.authorizing.issuer)
	}
	return cfg
}

// permissionSets returns a resolver that finds permission sets on the network, or none if this
// server is local.
func (w *wiring) permissionSets() (scope.SetResolver, error) {
	if IsLocal(w.cfg.Hostname) {
		return noSets{}, nil
	}
	return lexiconset.New(lexiconset.Config{
		Identity: w.Resolver.Identity,
		Get: func(ctx context.Context, url string, maxBytes int64) ([]byte, error) {
			d, err := w.authorizing.fetch.Get(ctx, url, maxBytes)
			if err != nil {
				return nil, err
			}
			return d.Body, nil
		},
	})
}

// noSets is the resolver of a local server, which finds no permission sets.
type noSets struct{}

func (noSets) Resolve(_ context.Context, nsid syntax.NSID) (json.RawMessage, error) {
	return nil, refusal.New(errNoSets, "this server doesn't look up the permission set "+nsid.String()+", since it is a local one")
}

var errNoSets = errors.New("gatehouse: no resolver of permission sets")

// ownOAuth reports whether this server is an authorization server.
func (s *settings) ownOAuth() bool { return s.oauthIssuer != "" && s.OAuth.Issuer == "" }

// checkOAuth checks the settings of OAuth, and finds out who the issuer is.
func (s *settings) checkOAuth() {
	if s.OAuth.Issuer != "" {
		if err := oauth.CheckIssuer(s.OAuth.Issuer); err != nil {
			s.mistake("OAuth.Issuer", "%v", err)
		} else if s.OAuth.Issuer == s.PublicURL {
			s.mistake("OAuth.Issuer", "is this server's own PublicURL: leave it empty")
		}
		s.oauthIssuer = s.OAuth.Issuer
	} else if oauth.CheckIssuer(s.PublicURL) == nil {
		s.oauthIssuer = s.PublicURL
	}
	for i, id := range s.OAuth.Resources {
		if _, err := syntax.ParseDID(id); err != nil {
			s.mistake("OAuth.Resources", "element %d, %q, is not a DID", i, id)
		}
	}
	s.checkClients("OAuth.TrustedClients", s.OAuth.TrustedClients)
	for name, password := range s.OAuth.Introspectors {
		if name == "" || strings.Contains(name, ":") { // a colon ends the name in HTTP Basic auth
			s.mistake("OAuth.Introspectors", "the name %q must not be empty or contain a colon", name)
		}
		if len(password) < minIntrospector {
			s.mistake("OAuth.Introspectors", "the password of %q needs at least %d characters", name, minIntrospector)
		}
	}
	keys := sessions.OAuthConfig{Issuer: "https://issuer", Keys: s.Keys.OAuth}
	if err := keys.Check(); len(s.Keys.OAuth) > 0 && err != nil {
		s.mistake("Keys.OAuth", "%v", err)
	}
}

// minIntrospector is the shortest password of a service that may introspect tokens.
const minIntrospector = 16

func (s *settings) checkClients(field string, ids []string) {
	for _, id := range ids {
		if u, err := url.Parse(id); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			s.mistake(field, "%q is not the URL of a client's metadata document", fmt.Sprintf("%.200s", id))
		}
	}
}
