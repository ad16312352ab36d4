package gatehouse

import (
	"context"
	"errors"
	"slices"

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

// wiring is a Server whose services are being made, with what they share.
type wiring struct {
	*Server
	// guarded is the store for everything that a request may write. What is written for a session
	// is written in transactions that have read the session and found it alive.
	guarded   storage.Store
	limiter   ratelimit.Limiter
	limits    ratelimit.Meter // of the limiter, for the domain packages
	secrets   map[string][]byte
	registrar *did.Registrar

	authorizing authorizing
}

// wire makes the services in the order in which they depend on each other. The functions follow in
// the same order below.
func (s *Server) wire(ctx context.Context) error {
	w := &wiring{Server: s}
	for _, step := range []func(context.Context) error{
		w.storage,
		w.loadSecrets,
		w.dids,
		w.invites,
		w.accounts,
		w.appPasswords,
		w.sessions,
		w.signIn,
		w.devices,
		w.oauth,
		w.audit,
		w.xrpc,
		w.web,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *wiring) storage(ctx context.Context) (err error) {
	// All tables at once, which is one change of the store. The services, which define their own, find
	// them there.
	if err := w.store.Define(ctx, tables()...); err != nil {
		return err
	}
	if w.leases, err = storage.NewLeases(ctx, w.store, w.cfg.Now); err != nil {
		return err
	}
	w.process = "the only process"
	if _, single := w.store.(storage.SingleProcess); !single {
		w.process = uuid.NewString()
	}
	w.guarded = storage.Conditional(w.store)
	w.limiter = w.cfg.Limits.Limiter
	if w.limiter == nil {
		w.limiter = ratelimit.NewMemory(ratelimit.Config{Now: w.cfg.Now})
	}
	w.limits = ratelimit.Meter{Limiter: w.limiter, Logger: w.cfg.Logger}
	return nil
}

// The names of secrets in the store.
const (
	rotationKeySecret  = "plc-rotation-key"
	signingKeysSecret  = "signing-keys"
	emailCodesSecret   = "email-codes"
	appPasswordsSecret = "app-passwords"
	refreshSecret      = "refresh-tokens"
	tokenKeySecret     = "jwt"
	oauthSecret        = "oauth" // of which those of single purposes are derived
	oauthKeySecret     = "oauth-key"
)

// loadSecrets loads the secrets that aren't configured. They are generated once and kept in the
// store, all in one transaction.
func (w *wiring) loadSecrets(ctx context.Context) (err error) {
	var wanted []secrets.Wanted
	want := func(name string, generate func() ([]byte, error)) {
		wanted = append(wanted, secrets.Wanted{Name: name, Generate: generate})
	}
	random := secrets.Random(w.cfg.Rand, 32)
	for _, name := range []string{emailCodesSecret, appPasswordsSecret, refreshSecret, oauthSecret} {
		want(name, random)
	}
	if w.cfg.Keys.Accounts == nil {
		want(signingKeysSecret, random)
	}
	if len(w.cfg.Keys.Tokens) == 0 {
		want(tokenKeySecret, random)
	}
	if w.cfg.DIDs.RotationKey == nil {
		want(rotationKeySecret, secrets.K256(w.cfg.Rand))
	}
	if w.cfg.ownOAuth() && len(w.cfg.Keys.OAuth) == 0 {
		want(oauthKeySecret, secrets.P256(w.cfg.Rand))
	}
	w.secrets, err = secrets.Load(ctx, w.store, wanted...)
	return err
}

func (w *wiring) dids(ctx context.Context) error {
	directory, err := w.directory(ctx)
	if err != nil {
		return err
	}
	w.Directory, _ = directory.(*did.Local)
	w.Resolver, err = did.NewResolver(did.ResolverConfig{Directory: directory, Foreign: w.cfg.DIDs.Resolver, Now: w.cfg.Now})
	if err != nil {
		return err
	}
	rotationKey, err := w.rotationKey()
	if err != nil {
		return err
	}
	w.registrar = &did.Registrar{
		Directory:   directory,
		Signer:      rotationKey,
		RecoveryKey: w.cfg.DIDs.RecoveryKey,
		PublicURL:   w.cfg.PublicURL,
		Web:         w.cfg.DIDs.Method == DIDWeb,
		Resolver:    w.Resolver,
	}
	return nil
}

func (w *wiring) directory(ctx context.Context) (did.Directory, error) {
	switch {
	case w.cfg.DIDs.Directory != nil:
		return w.cfg.DIDs.Directory, nil
	case IsLocal(w.cfg.Hostname):
		return did.NewLocal(ctx, w.store, w.cfg.Now)
	}
	return did.NewClient(did.ClientConfig{
		URL: did.PublicDirectory, Now: w.cfg.Now, UserAgent: "gatehouse/" + Version + " (" + w.cfg.Hostname + ")",
	})
}

// rotationKey returns the configured rotation key, or the one in the store.
func (w *wiring) rotationKey() (did.Signer, error) {
	if w.cfg.DIDs.RotationKey != nil {
		return w.cfg.DIDs.RotationKey, nil
	}
	key, err := k256.Parse(w.secrets[rotationKeySecret])
	if err != nil {
		return nil, errors.New("the stored key " + rotationKeySecret + " is damaged")
	}
	return key, nil
}

func (w *wiring) invites(ctx context.Context) (err error) {
	cfg := invites.Config{
		Hostname: w.cfg.Hostname,
		Epoch:    w.cfg.SignUp.InviteEpoch,
		Now:      w.cfg.Now,
		Rand:     w.cfg.Rand,
	}
	if w.cfg.SignUp.Mode == SignUpInvites { // in other modes accounts earn no codes
		cfg.Required, cfg.Interval = true, w.cfg.SignUp.InviteInterval
	}
	w.Invites, err = invites.New(ctx, w.guarded, cfg)
	return err
}

func (w *wiring) accounts(ctx context.Context) error {
	keyStore, err := w.keyStore()
	if err != nil {
		return err
	}
	hashing := w.cfg.password
	hashing.Traffic, hashing.Now = w.traffic, w.cfg.Now
	hasher, err := password.New(hashing)
	if err != nil {
		return err
	}
	book, err := codes.New(codes.Config{Secret: w.secrets[emailCodesSecret], Now: w.cfg.Now, Rand: w.cfg.Rand})
	if err != nil {
		return err
	}
	w.Accounts, err = accounts.New(ctx, w.guarded, accounts.Config{
		Gate:              w.Invites,
		Hooks:             hooks(w.cfg.Hooks),
		SignUp:            w.cfg.SignUp.Mode.accounts(),
		CheckSignUp:       w.cfg.SignUp.Check,
		MinPasswordLength: w.cfg.Passwords.MinLength,
		NoPasswords:       w.cfg.SignIn.NoAccountPasswords,
		ServiceName:       w.cfg.ServiceName,
		PublicURL:         w.cfg.PublicURL,
		DIDs:              w.registrar,
		Resolver:          w.Resolver,
		Keys:              keyStore,
		Passwords:         hasher,
		PasswordPolicy:    w.cfg.Passwords.Policy,
		EmailPolicy:       w.cfg.Mail.EmailPolicy,
		Mailer:            w.cfg.Mail.Mailer,
		Templates:         w.cfg.templates,
		MailPages:         w.cfg.Mail.Pages,
		MailTimeout:       w.cfg.Mail.Timeout,
		MuteNotices:       w.cfg.Mail.MuteNotices,
		Codes:             book,
		Limits:            w.limits,
		MinDeletionDelay:  w.cfg.MinDeletionDelay,
		Handles: handle.Config{
			Domains:           w.cfg.HandleDomains,
			Hostnames:         w.cfg.hostnames,
			AllowPunycode:     w.cfg.Handles.AllowPunycode,
			Policy:            w.cfg.Handles.Policy,
			Resolver:          w.cfg.Handles.Resolver,
			Hold:              w.cfg.Handles.Hold,
			HoldAfterDeletion: w.cfg.Handles.HoldAfterDeletion,
		},
		Now:    w.cfg.Now,
		Rand:   w.cfg.Rand,
		Logger: w.cfg.Logger,
	})
	return err
}

func (w *wiring) keyStore() (keys.Store, error) {
	if w.cfg.Keys.Accounts != nil {
		return w.cfg.Keys.Accounts, nil
	}
	return keys.NewSealed(w.secrets[signingKeysSecret], w.cfg.Rand)
}

func (w *wiring) appPasswords(ctx context.Context) (err error) {
	w.AppPasswords, err = apppasswords.New(ctx, w.guarded, w.Accounts, apppasswords.Config{
		Secret:  w.secrets[appPasswordsSecret],
		Revoked: sessions.EndOpenedBy,
		Now:     w.cfg.Now,
		Rand:    w.cfg.Rand,
	})
	return err
}

func (w *wiring) sessions(ctx context.Context) error {
	tokenKeys := w.cfg.Keys.Tokens
	if len(tokenKeys) == 0 {
		tokenKeys = []sessions.Key{{Secret: w.secrets[tokenKeySecret]}}
	}
	oauth, err := w.oauthSessions(ctx)
	if err != nil {
		return err
	}
	w.Sessions, err = sessions.New(ctx, w.guarded, w.Accounts, sessions.Config{
		ServiceDID:           w.cfg.serviceDID,
		Keys:                 tokenKeys,
		Secret:               w.secrets[refreshSecret],
		ServiceAuth:          xrpc.ServiceAuthRules(),
		EmailForAppPasswords: w.cfg.EmailForAppPasswords,
		OAuth:                oauth,
		Now:                  w.cfg.Now,
		Rand:                 w.cfg.Rand,
		Logger:               w.cfg.Logger,
	})
	return err
}

// signIn lists the ways of signing in, in the order in which they are tried. Looking up an app
// password costs least, and hashing an account password most.
func (w *wiring) signIn(context.Context) (err error) {
	ways := append([]signin.Way{signin.AppPassword(w.guarded, w.AppPasswords)}, w.cfg.SignIn.Ways...)
	if !w.cfg.SignIn.NoAccountPasswords {
		ways = append(ways, signin.Password(w.Accounts))
	}
	w.SignIn, err = signin.New(w.guarded, w.Accounts, w.Sessions, signin.Config{
		Ways:    ways,
		Factors: append(slices.Clip(w.cfg.SignIn.Factors), signin.EmailCode(w.Accounts)),
		Limits:  w.limits,
		Logger:  w.cfg.Logger,
	})
	return err
}

func (w *wiring) audit(ctx context.Context) (err error) {
	w.Audit, err = audit.New(ctx, w.store, w.cfg.Now)
	return err
}

func (w *wiring) xrpc(context.Context) (err error) {
	w.handler, err = xrpc.New(xrpc.Config{
		Accounts:     w.Accounts,
		Sessions:     w.Sessions,
		SignIn:       w.SignIn,
		Invites:      w.Invites,
		AppPasswords: w.AppPasswords,
		Admins:       w.cfg.Admins,
		ModService:   w.cfg.ModService,
		Audit:        w.Audit,
		Resolver:     w.Resolver,
		RepoStatus:   w.cfg.RepoStatus,
		Description: xrpc.Description{
			ContactEmail:         w.cfg.Description.ContactEmail,
			PrivacyPolicyURL:     w.cfg.Description.PrivacyPolicyURL,
			TermsOfServiceURL:    w.cfg.Description.TermsOfServiceURL,
			BlobUploadLimit:      w.cfg.Description.BlobUploadLimit,
			VerificationRequired: w.cfg.SignUp.VerificationRequired,
		},
		Limiter:            w.limiter,
		TrustedProxies:     w.cfg.Limits.TrustedProxies,
		Fallback:           w.cfg.Fallback,
		LeaveToFallback:    w.cfg.LeaveToFallback,
		HandleHostRedirect: w.cfg.Handles.HostRedirect,
		Health:             func(ctx context.Context) error { return storage.Ping(ctx, w.store) },
		Version:            Version,
		Logger:             w.cfg.Logger,
		Now:                w.cfg.Now,
	})
	return err
}

func (w *wiring) web(context.Context) (err error) {
	home := web.Home{
		ServiceName:       w.cfg.ServiceName,
		ServiceDID:        w.cfg.serviceDID,
		HandleDomains:     w.cfg.HandleDomains,
		PrivacyPolicyURL:  w.cfg.Description.PrivacyPolicyURL,
		TermsOfServiceURL: w.cfg.Description.TermsOfServiceURL,
		ContactEmail:      w.cfg.Description.ContactEmail,
	}
	if w.cfg.Description.ShowVersion {
		home.Version = Version
	}
	w.Server.web, err = web.New(web.Config{
		Accounts:           w.Accounts,
		ServiceDID:         w.cfg.serviceDID,
		Directory:          w.Directory,
		Home:               home,
		HandleHostRedirect: w.cfg.Handles.HostRedirect,
		Errors: func(err error) (status int, name, message string) {
			e := xrpc.ErrorOf(err)
			return e.Status, e.Name, e.Message
		},
		Limiter:        w.limiter,
		TrustedProxies: w.cfg.Limits.TrustedProxies,
		OAuth:          w.pages(),
		Logger:         w.cfg.Logger,
		Now:            w.cfg.Now,
		Rand:           w.cfg.Rand,
	})
	return err
}
