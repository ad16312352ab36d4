package gatehouse

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/google/uuid"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/codes"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/audit"
	"github.com/gatehouse-at/gatehouse/internal/k256"
	"github.com/gatehouse-at/gatehouse/internal/password"
	"github.com/gatehouse-at/gatehouse/internal/secrets"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/web"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// wire makes the services and puts them together.
func (s *Server) wire(ctx context.Context) error {
	cfg := s.cfg
	if err := storage.Define(ctx, s.store, append(secrets.Tables(), ratelimit.Tables()...)...); err != nil {
		return err
	}
	var err error
	if s.leases, err = storage.NewLeases(ctx, s.store, cfg.Now); err != nil {
		return err
	}
	s.process = "the only process"
	if _, single := s.store.(storage.SingleProcess); !single {
		s.process = uuid.NewString()
	}
	limiter := s.limiter()
	hasher, err := password.New(cfg.password)
	if err != nil {
		return err
	}
	keyStore, err := s.keyStore(ctx)
	if err != nil {
		return err
	}
	registrar, resolver, err := s.identity(ctx)
	if err != nil {
		return err
	}
	s.Resolver = resolver
	codeSecret, err := s.secret(ctx, "email-codes")
	if err != nil {
		return err
	}
	book, err := codes.New(codes.Config{Secret: codeSecret, Now: cfg.Now, Rand: cfg.Rand})
	if err != nil {
		return err
	}
	limits := ratelimit.Meter{Limiter: limiter, Logger: cfg.Logger}
	// What a request's session changes, it changes in transactions that have read that session
	// alive.
	guarded := storage.Conditional(s.store)
	if s.Invites, err = invites.New(ctx, guarded, cfg.invites()); err != nil {
		return err
	}
	s.Accounts, err = accounts.New(ctx, guarded, accounts.Config{
		Gate:              s.Invites,
		Hooks:             hooks(cfg.Hooks),
		SignUp:            cfg.SignUp.Mode.accounts(),
		CheckSignUp:       cfg.SignUp.Check,
		MinPasswordLength: cfg.Passwords.MinLength,
		NoPasswords:       cfg.SignIn.NoAccountPasswords,
		ServiceName:       cfg.ServiceName,
		PublicURL:         cfg.PublicURL,
		DIDs:              registrar,
		Resolver:          resolver,
		Keys:              keyStore,
		Passwords:         hasher,
		PasswordPolicy:    cfg.Passwords.Policy,
		EmailPolicy:       cfg.Mail.AddressPolicy,
		Mailer:            cfg.Mail.Mailer,
		Templates:         cfg.templates,
		MailPages:         cfg.Mail.Pages,
		MailTimeout:       cfg.Mail.Timeout,
		MuteNotices:       cfg.Mail.MuteNotices,
		Codes:             book,
		Limits:            limits,

		Handles: handle.Config{
			Domains: cfg.HandleDomains, Hostnames: cfg.hostnames, AllowPunycode: cfg.Handles.AllowPunycode,
			Policy: cfg.Handles.Policy, Resolver: cfg.Handles.Resolver,
			Hold: cfg.Handles.Hold, HoldAfterDeletion: cfg.Handles.HoldAfterDeletion,
		},
		MinDeletionDelay: cfg.MinDeletionDelay,

		Now:    cfg.Now,
		Rand:   cfg.Rand,
		Logger: cfg.Logger,
	})
	if err != nil {
		return err
	}
	if err := s.wireCredentials(ctx, guarded); err != nil {
		return err
	}
	s.SignIn, err = signin.New(guarded, s.Accounts, s.Sessions, signin.Config{
		Ways: s.ways(guarded), Factors: append(slices.Clip(cfg.SignIn.Factors), signin.EmailCode(s.Accounts)),
		Limits: limits, Logger: cfg.Logger,
	})
	if err != nil {
		return err
	}
	if s.Audit, err = audit.New(ctx, s.store, cfg.Now); err != nil {
		return err
	}
	s.handler, err = xrpc.New(xrpc.Config{
		Accounts:     s.Accounts,
		Sessions:     s.Sessions,
		SignIn:       s.SignIn,
		Invites:      s.Invites,
		AppPasswords: s.AppPasswords,
		Admins:       cfg.Admins,
		ModService:   cfg.ModService,
		Audit:        s.Audit,
		Resolver:     resolver,
		RepoStatus:   cfg.RepoStatus,
		Description: xrpc.Description{
			ContactEmail: cfg.Description.ContactEmail, PrivacyPolicyURL: cfg.Description.PrivacyPolicyURL,
			TermsOfServiceURL: cfg.Description.TermsOfServiceURL, BlobUploadLimit: cfg.Description.BlobUploadLimit,
			VerificationRequired: cfg.SignUp.VerificationRequired,
		},
		Limiter:         limiter,
		TrustedProxies:  cfg.Limits.TrustedProxies,
		Fallback:        cfg.Fallback,
		LeaveToFallback: cfg.LeaveToFallback,
		Health:          func(ctx context.Context) error { return storage.Ping(ctx, s.store) },
		Version:         Version,
		Logger:          cfg.Logger,
		Now:             cfg.Now,

		HandleHostRedirect: cfg.Handles.HostRedirect,
	})
	if err != nil {
		return err
	}
	s.web, err = web.New(web.Config{
		Accounts:           s.Accounts,
		ServiceDID:         cfg.serviceDID,
		Directory:          s.Directory,
		Home:               cfg.homePage(),
		HandleHostRedirect: cfg.Handles.HostRedirect,
		Errors: func(err error) (status int, name, message string) {
			e := xrpc.ErrorOf(err)
			return e.Status, e.Name, e.Message
		},
		Limiter:        limiter,
		TrustedProxies: cfg.Limits.TrustedProxies,
		Logger:         cfg.Logger,
		Now:            cfg.Now,
	})
	return err
}

func (s *Server) wireCredentials(ctx context.Context, guarded storage.Store) error {
	cfg := s.cfg
	appSecret, err := s.secret(ctx, "app-passwords")
	if err != nil {
		return err
	}
	s.AppPasswords, err = apppasswords.New(ctx, guarded, s.Accounts, apppasswords.Config{
		Secret: appSecret, Revoked: sessions.EndOpenedBy, Now: cfg.Now, Rand: cfg.Rand,
	})
	if err != nil {
		return err
	}
	refreshSecret, err := s.secret(ctx, "refresh-tokens")
	if err != nil {
		return err
	}
	tokenKeys := cfg.Keys.Tokens
	if len(tokenKeys) == 0 {
		secret, err := s.secret(ctx, "jwt")
		if err != nil {
			return err
		}
		tokenKeys = []sessions.Key{{Secret: secret}}
	}
	s.Sessions, err = sessions.New(ctx, guarded, s.Accounts, sessions.Config{
		ServiceDID: cfg.serviceDID, Keys: tokenKeys, Secret: refreshSecret, ServiceAuth: xrpc.ServiceAuthRules(), EmailForAppPasswords: cfg.EmailForAppPasswords,
		Now: cfg.Now, Rand: cfg.Rand, Logger: cfg.Logger,
	})
	return err
}

// ways are the ways of proving who one is, in the order in which they are tried. Looking up an app
// password costs least.
func (s *Server) ways(store storage.Store) []signin.Way {
	all := append([]signin.Way{signin.AppPassword(store, s.AppPasswords)}, s.cfg.SignIn.Ways...)
	if !s.cfg.SignIn.NoAccountPasswords {
		all = append(all, signin.Password(s.Accounts))
	}
	return all
}

// invites is the configuration of invite codes, which accounts only earn if sign-up needs one.
func (s *settings) invites() invites.Config {
	cfg := invites.Config{Hostname: s.Hostname, Epoch: s.SignUp.InviteEpoch, Now: s.Now, Rand: s.Rand}
	if s.SignUp.Mode == SignUpInvites {
		cfg.Required, cfg.Interval = true, s.SignUp.InviteInterval
	}
	return cfg
}

// secret returns 32 bytes that the store keeps under a name.
func (s *Server) secret(ctx context.Context, name string) ([]byte, error) {
	return secrets.Load(ctx, s.store, name, secrets.Random(s.cfg.Rand, 32))
}

func (s *Server) keyStore(ctx context.Context) (keys.Store, error) {
	if s.cfg.Keys.Accounts != nil {
		return s.cfg.Keys.Accounts, nil
	}
	secret, err := s.secret(ctx, "signing-keys")
	if err != nil {
		return nil, err
	}
	return keys.NewSealed(secret, s.cfg.Rand)
}

// identity makes the registrar and the resolver of DIDs.
func (s *Server) identity(ctx context.Context) (*did.Registrar, *did.Resolver, error) {
	cfg := s.cfg
	directory, err := s.directory(ctx)
	if err != nil {
		return nil, nil, err
	}
	s.Directory, _ = directory.(*did.Local)
	resolver, err := did.NewResolver(did.ResolverConfig{Directory: directory, Foreign: cfg.DIDs.Resolver, Now: cfg.Now})
	if err != nil {
		return nil, nil, err
	}
	signer, err := s.rotationKey(ctx)
	if err != nil {
		return nil, nil, err
	}
	return &did.Registrar{
		Directory: directory, Signer: signer, RecoveryKey: cfg.DIDs.RecoveryKey, PublicURL: cfg.PublicURL,
		Web: cfg.DIDs.Method == DIDWeb, Resolver: resolver,
	}, resolver, nil
}

// directory returns the directory of did:plc.
func (s *Server) directory(ctx context.Context) (did.Directory, error) {
	switch {
	case s.cfg.DIDs.Directory != nil:
		return s.cfg.DIDs.Directory, nil
	case IsLocal(s.cfg.Hostname):
		return did.NewLocal(ctx, s.store, s.cfg.Now)
	}
	return did.NewClient(did.ClientConfig{
		URL: did.PublicDirectory, Now: s.cfg.Now, UserAgent: "gatehouse/" + Version + " (" + s.cfg.Hostname + ")",
	})
}

// rotationKey returns the server's rotation key: the configured one, or one that is kept in the store.
func (s *Server) rotationKey(ctx context.Context) (did.Signer, error) {
	if s.cfg.DIDs.RotationKey != nil {
		return s.cfg.DIDs.RotationKey, nil
	}
	raw, err := secrets.Load(ctx, s.store, "plc-rotation-key", func() ([]byte, error) {
		key, err := k256.Generate(s.cfg.Rand)
		if err != nil {
			return nil, err
		}
		return key.Bytes(), nil
	})
	if err != nil {
		return nil, err
	}
	key, err := atcrypto.ParsePrivateBytesK256(raw)
	if err != nil {
		return nil, errors.New("the stored key plc-rotation-key is damaged")
	}
	return key, nil
}

// limiter returns the configured limiter.
func (s *Server) limiter() ratelimit.Limiter {
	if s.cfg.Limits.Limiter != nil {
		return s.cfg.Limits.Limiter
	}
	return ratelimit.NewMemory(ratelimit.Config{Now: s.cfg.Now})
}

// The background work is done in one process at a time, by whoever holds the lease, which it renews
// with each round. When the holder is killed another takes over as soon as the lease has expired.
const (
	maintenanceLease    = "maintenance"
	maintenanceInterval = time.Minute
	leaseLifetime       = maintenanceInterval + 30*time.Second
	leaseInterval       = 10 * time.Second // between two looks at whether it is free
)

// maintain does the background work, at once and then now and then, while this process has
// the lease.
func (s *Server) maintain(ctx context.Context) {
	defer s.running.Done()
	ticker := time.NewTicker(leaseInterval)
	defer ticker.Stop()
	var last time.Time
	for {
		if time.Since(last) >= maintenanceInterval {
			held, err := s.leases.Acquire(ctx, maintenanceLease, s.process, leaseLifetime)
			if held {
				last = time.Now()
				err = s.Maintain(ctx)
			}
			if err != nil && ctx.Err() == nil {
				s.cfg.Logger.ErrorContext(ctx, "maintenance failed", "error", err)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
