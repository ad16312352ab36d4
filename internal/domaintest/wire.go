package domaintest

import (
	"context"
	"slices"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/internal/k256"
	"github.com/gatehouse-at/gatehouse/internal/password"
	"github.com/gatehouse-at/gatehouse/internal/secrets"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/signin/device"
	"github.com/gatehouse-at/gatehouse/storage"
)

// wire makes the services in the order of their dependencies, as a server does. It keeps secrets in
// the store.
func (s *Services) wire(ctx context.Context) error {
	cfg, store := s.cfg, storage.Conditional(s.Store)
	if err := storage.Define(ctx, s.Store, slices.Concat(secrets.Tables(), oauth.Tables())...); err != nil {
		return err
	}
	cfg.Invites.Now, cfg.Invites.Rand = cfg.Now, cfg.Rand
	var err error
	if s.Invites, err = invites.New(ctx, store, cfg.Invites); err != nil {
		return err
	}
	if err := s.wireAccounts(ctx, store, cfg.Accounts); err != nil {
		return err
	}
	secret, err := s.secret(ctx, "app-passwords")
	if err != nil {
		return err
	}
	s.AppPasswords, err = apppasswords.New(ctx, store, s.Accounts, apppasswords.Config{
		Secret: secret, Revoked: sessions.EndOpenedBy, Now: cfg.Now, Rand: cfg.Rand,
	})
	if err != nil {
		return err
	}
	if err := s.wireSessions(ctx, store, cfg.Sessions); err != nil {
		return err
	}
	ways := append([]signin.Way{signin.AppPassword(store, s.AppPasswords)}, cfg.Ways...)
	if !cfg.Accounts.NoPasswords {
		ways = append(ways, signin.Password(s.Accounts))
	}
	s.SignIn, err = signin.New(store, s.Accounts, s.Sessions, signin.Config{
		Ways: ways, Factors: append(slices.Clip(cfg.Factors), signin.EmailCode(s.Accounts)), Limits: cfg.Accounts.Limits,
	})
	if err != nil {
		return err
	}
	if secret, err = s.secret(ctx, "devices"); err != nil {
		return err
	}
	s.Devices, err = device.New(ctx, store, s.Sessions, s.SignIn, device.Config{Secret: secret, Now: cfg.Now, Rand: cfg.Rand})
	if err != nil {
		return err
	}
	if !s.cfg.OAuth {
		return nil
	}
	return s.wireOAuth(ctx, store)
}

// wireAccounts makes the service of accounts, which calls others as its gate and its hooks.
func (s *Services) wireAccounts(ctx context.Context, store storage.Store, cfg accounts.Config) error {
	cfg.Now, cfg.Rand, cfg.Gate = s.cfg.Now, s.cfg.Rand, s.Invites
	cfg.Hooks = append([]accounts.Hook{sessions.Follow, oauth.Follow, apppasswords.Follow, invites.Follow}, cfg.Hooks...)
	cfg.Hooks = append(cfg.Hooks, s.hook)
	secret, err := s.secret(ctx, "email-codes")
	if err != nil {
		return err
	}
	if cfg.Codes, err = codes.New(codes.Config{Secret: secret, Now: cfg.Now, Rand: cfg.Rand}); err != nil {
		return err
	}
	if secret, err = s.secret(ctx, "signing-keys"); err != nil {
		return err
	}
	if cfg.Keys, err = keys.NewSealed(secret, cfg.Rand); err != nil {
		return err
	}
	if cfg.Passwords, err = password.New(password.Config{Params: password.CheapParams, Rand: cfg.Rand}); err != nil {
		return err
	}
	directory := s.cfg.Directory
	if directory == nil {
		if s.Directory, err = did.NewLocal(ctx, s.Store, cfg.Now); err != nil {
			return err
		}
		directory = s.Directory
	}
	cfg.Resolver, err = did.NewResolver(did.ResolverConfig{Directory: directory, Foreign: s.cfg.ForeignDIDs, Now: cfg.Now})
	if err != nil {
		return err
	}
	signer, err := s.rotationKey(ctx)
	if err != nil {
		return err
	}
	cfg.DIDs = &did.Registrar{Directory: directory, Signer: signer, PublicURL: cfg.PublicURL, Web: s.cfg.Web, Resolver: cfg.Resolver}
	s.Accounts, err = accounts.New(ctx, store, cfg)
	return err
}

func (s *Services) wireSessions(ctx context.Context, store storage.Store, cfg sessions.Config) error {
	cfg.Now, cfg.Rand = s.cfg.Now, s.cfg.Rand
	secret, err := s.secret(ctx, "jwt")
	if err != nil {
		return err
	}
	cfg.Keys = []sessions.Key{{Secret: secret}}
	if cfg.Secret, err = s.secret(ctx, "refresh-tokens"); err != nil {
		return err
	}
	if s.cfg.OAuth {
		if cfg.OAuth, err = s.oauthSessions(ctx); err != nil {
			return err
		}
	}
	s.Sessions, err = sessions.New(ctx, store, s.Accounts, cfg)
	return err
}

// secret returns 32 random bytes that are generated once and kept in the store under a name.
func (s *Services) secret(ctx context.Context, name string) ([]byte, error) {
	loaded, err := secrets.Load(ctx, s.Store, secrets.Wanted{Name: name, Generate: secrets.Random(s.cfg.Rand, 32)})
	return loaded[name], err
}

// rotationKey returns the rotation key of DIDs, which is generated once and kept in the store.
func (s *Services) rotationKey(ctx context.Context) (did.Signer, error) {
	const name = "plc-rotation-key"
	loaded, err := secrets.Load(ctx, s.Store, secrets.Wanted{Name: name, Generate: secrets.K256(s.cfg.Rand)})
	if err != nil {
		return nil, err
	}
	return k256.Parse(loaded[name])
}
