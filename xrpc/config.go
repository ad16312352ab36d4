package xrpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/audit"
	"github.com/gatehouse-at/gatehouse/internal/briefly"
	"github.com/gatehouse-at/gatehouse/internal/clientip"
	"github.com/gatehouse-at/gatehouse/internal/handlehost"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
)

// Config configures a [Server].
type Config struct {
	// The services that the methods call. All are required.
	Accounts     *accounts.Service
	Sessions     *sessions.Service
	SignIn       *signin.Service
	Invites      *invites.Service
	AppPasswords *apppasswords.Service
	// Audit is the log of what admins and moderators do. Required.
	Audit *audit.Log
	// Resolver resolves DIDs. Required.
	Resolver *did.Resolver
	// Admins decides who is an admin. Nil: nobody is.
	Admins AdminAuth
	// ModService is the DID of a moderation service that may call the admin methods for moderators
	// with a service-auth token. Empty: there is none.
	ModService string
	// RepoStatus returns the state of a repository, for checkAccountStatus, listRepos and
	// getRepoStatus. Nil: there are no repositories here.
	RepoStatus RepoStatusFunc
	// Description is what describeServer says beside what the services know.
	Description Description
	// Limiter counts requests. Nil: a [ratelimit.Memory].
	Limiter ratelimit.Limiter
	// TrustedProxies are the networks of proxies whose X-Forwarded-For headers are believed.
	TrustedProxies []netip.Prefix
	// HandleHostRedirect is the URL to which browsers are redirected from the names of accounts.
	// The handle replaces {handle} in it. Empty: they are answered 404.
	HandleHostRedirect string
	// Fallback serves the methods that aren't served here, and everything else below /xrpc/. Nil:
	// they are answered 501 MethodNotImplemented. The CORS headers of its responses are already
	// set, and OPTIONS requests never reach it, so a proxy must drop the CORS headers of the server
	// behind it. Its requests are neither limited nor logged here.
	Fallback http.Handler
	// LeaveToFallback are NSIDs of [Methods] that Fallback serves instead.
	LeaveToFallback []string
	// Health returns an error if the store doesn't answer. Nil: the server is always healthy.
	Health func(context.Context) error
	// Version is the version that _health shows.
	Version string
	// Logger receives a line for each request, and the causes of internal errors. Nil: nothing is
	// logged.
	Logger *slog.Logger
	// Now returns the time. Nil: [time.Now].
	Now func() time.Time
}

// Description is what com.atproto.server.describeServer only shows. Empty fields are left out.
type Description struct {
	ContactEmail      string
	PrivacyPolicyURL  string
	TermsOfServiceURL string
	// BlobUploadLimit is the maximum size of a blob in bytes.
	BlobUploadLimit int64
	// VerificationRequired tells clients that sign-up needs a verificationCode.
	VerificationRequired bool
}

// New returns a Server. It returns an error if a required field is missing, or if LeaveToFallback
// names a method that isn't served here.
func New(cfg Config) (*Server, error) {
	if cfg.Accounts == nil || cfg.Sessions == nil || cfg.SignIn == nil || cfg.Invites == nil || cfg.AppPasswords == nil {
		return nil, errors.New("xrpc: Config.Accounts, Sessions, SignIn, Invites and AppPasswords are required")
	}
	if cfg.Audit == nil || cfg.Resolver == nil {
		return nil, errors.New("xrpc: Config.Audit and Config.Resolver are required")
	}
	if cfg.Admins == nil {
		cfg.Admins = Passwords{}
	}
	all, err := methods()
	if err != nil {
		return nil, fmt.Errorf("xrpc: the table of methods: %w", err)
	}
	return newServer(cfg, all)
}

// newServer returns a Server with any methods, by NSID.
func newServer(cfg Config, methods map[string]*method) (*Server, error) {
	if cfg.Limiter == nil {
		cfg.Limiter = ratelimit.NewMemory(ratelimit.Config{Now: cfg.Now})
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{cfg: cfg, methods: methods, meter: ratelimit.Meter{Limiter: cfg.Limiter, Logger: cfg.Logger}}
	s.clients = clientip.NewFinder(cfg.TrustedProxies, cfg.Logger)
	s.hosts = handlehost.Guard{Accounts: cfg.Accounts, Redirect: cfg.HandleHostRedirect}
	s.health = briefly.New[error]()
	s.admins = newAdminGuard(cfg.Now)
	s.description = sync.OnceValues(s.describe)
	if len(cfg.LeaveToFallback) == 0 {
		return s, nil
	}
	if cfg.Fallback == nil {
		return nil, errors.New("xrpc: Config.LeaveToFallback is set, but Fallback isn't")
	}
	s.methods = maps.Clone(methods)
	for _, nsid := range cfg.LeaveToFallback {
		if methods[nsid] == nil {
			return nil, fmt.Errorf("xrpc: Config.LeaveToFallback: %q is not a method that is served here", nsid)
		}
		delete(s.methods, nsid)
	}
	return s, nil
}
