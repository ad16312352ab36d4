package gatehouse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/audit"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/web"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// Version is the version of this library, as _health shows it.
const Version = "0.1.0"

// Server is the account half of an AT Protocol server. It is an [http.Handler]
// for everything below /xrpc/, and its fields are the same services for Go callers.
type Server struct {
	Accounts *accounts.Service
	Sessions *sessions.Service
	// SignIn finds out who somebody is, and opens sessions.
	SignIn       *signin.Service
	Invites      *invites.Service
	AppPasswords *apppasswords.Service
	// Resolver finds the documents of all DIDs. It caches them for some minutes, and bounds how many
	// lookups run at once.
	Resolver *did.Resolver
	// Audit is the log of what admins did.
	Audit *audit.Log
	// Directory is the local DID directory, or nil if DIDs are kept elsewhere.
	Directory *did.Local

	store   storage.Store
	cfg     *settings
	handler *xrpc.Server
	web     *web.Server
	leases  *storage.Leases
	process string // names this process as the holder of a lease
	stop    context.CancelFunc
	running sync.WaitGroup
	closing sync.Once
}

// New returns a Server on a store. The store stays the caller's: close it after the Server. The
// context ends the attempt to start, not the Server. Errors of the configuration name the field that
// is at fault.
func New(ctx context.Context, store storage.Store, cfg Config) (*Server, error) {
	if store == nil {
		return nil, errors.New("gatehouse: the store is nil")
	}
	set, err := cfg.settings()
	if err != nil {
		return nil, err
	}
	s := &Server{store: store, cfg: set}
	if err := s.wire(ctx); err != nil {
		return nil, fmt.Errorf("gatehouse: %w", err)
	}
	if set.anyoneMaySignUp() {
		set.Logger.WarnContext(ctx, "anybody may sign up on this server",
			"try", "Config.SignUp.Mode (-sign-up) invites, migrations or closed, or a Config.SignUp.Check")
	}
	set.warnOfNames(ctx)
	background, stop := context.WithCancel(context.Background())
	s.stop = stop
	if !set.NoMaintenance {
		s.running.Add(1)
		go s.maintain(background)
	}
	return s, nil
}

// ServeHTTP serves the methods below /xrpc/. Under another prefix, wrap the
// Server in [http.StripPrefix]. At the names of accounts it serves nothing: see
// [Server.HandleHosts].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// PLCDirectory serves the local DID directory as a public one serves its own:
// GET /{did}, /{did}/data, /{did}/log and the rest, and POST /{did}, 100 times
// in 5 minutes from one address. It is nil if DIDs are kept elsewhere.
func (s *Server) PLCDirectory() http.Handler { return s.web.PLCDirectory() }

// WellKnown serves /.well-known/atproto-did, by which a handle on one of the
// server's domains leads to its account, and /.well-known/did.json, the document of the
// server's own DID and of accounts with a did:web on its domains. Mount it for all these hosts.
func (s *Server) WellKnown() http.Handler { return s.web.WellKnown() }

// RequireAuth returns a middleware that protects routes of the embedding program with the access
// tokens of Gatehouse. A request without a good token, or whose token lacks one of the permissions,
// is answered as the methods below /xrpc/ answer it. Without permissions every session of an
// account that isn't taken down may pass; [sessions.ManageAccount] asks for one that may manage the
// account, and "repo:app.bsky.feed.post?action=create" for one that may write posts. [Auth] returns
// who makes the request. RequireAuth panics if a permission isn't one (see
// [sessions.Permission.Check]).
//
//	mux.Handle("GET /me", srv.RequireAuth()(me))
func (s *Server) RequireAuth(permissions ...sessions.Permission) func(http.Handler) http.Handler {
	return s.handler.RequireAuth(permissions...)
}

// RequireActive is RequireAuth for what a deactivated account may not do, such as writing to its
// repository: it is answered 401 AccountDeactivated.
func (s *Server) RequireActive(permissions ...sessions.Permission) func(http.Handler) http.Handler {
	return s.handler.RequireActive(permissions...)
}

// Auth returns the account and the session of a request that passed
// [Server.RequireAuth] or [Server.RequireActive], or nil.
func Auth(ctx context.Context) *sessions.Auth { return sessions.FromContext(ctx) }

// Close stops what the Server started in the background and waits for e-mails on
// their way, for as long as one delivery may take. The store stays open.
func (s *Server) Close() error {
	var err error
	s.closing.Do(func() {
		s.stop()
		s.running.Wait()
		if !s.cfg.NoMaintenance {
			s.releaseLease()
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Mail.Timeout)
		defer cancel()
		err = s.Accounts.Close(ctx)
	})
	return err
}

// releaseLease lets another process go on at once. What can't be given back expires.
func (s *Server) releaseLease() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.leases.Release(ctx, maintenanceLease, s.process); err != nil {
		s.cfg.Logger.WarnContext(ctx, "lease not released", "error", err)
	}
}

// ServiceDID returns the DID of the server: the did:web of its host name.
func (s *Server) ServiceDID() string { return s.Sessions.ServiceDID() }
