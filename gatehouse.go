package gatehouse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/audit"
	"github.com/gatehouse-at/gatehouse/internal/traffic"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/signin/device"
	"github.com/gatehouse-at/gatehouse/storage"
	"github.com/gatehouse-at/gatehouse/web"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// Version is the version of this library, as _health shows it.
const Version = "0.1.0"

// Server is the account half of an AT Protocol server. It is an [http.Handler] for everything below
// /xrpc/, and its fields offer the same services to Go callers.
type Server struct {
	// Accounts keeps the accounts: it creates, changes and deletes them.
	Accounts *accounts.Service
	// SignIn signs people up and in: it checks passwords and second factors, and opens sessions.
	SignIn *signin.Service
	// Sessions verifies, refreshes, lists and ends sessions.
	Sessions *sessions.Service
	// Devices are the browsers on which accounts are signed in.
	Devices *device.Service
	// OAuth gives applications access to accounts. It is nil if another server does that (see
	// [OAuth]), or OAuth is off.
	OAuth *oauth.Service
	// AppPasswords creates, lists and revokes app passwords.
	AppPasswords *apppasswords.Service
	// Invites creates, lists and disables invite codes.
	Invites *invites.Service
	// Audit is the log of what admins did.
	Audit *audit.Log
	// Resolver resolves DIDs of accounts here and elsewhere. It caches their documents for some
	// minutes, and bounds how many lookups run at once.
	Resolver *did.Resolver
	// Directory is the local DID directory. It is nil if DIDs are kept elsewhere.
	Directory *did.Local

	store   storage.Store
	cfg     *settings
	handler *xrpc.Server
	web     *web.Server
	traffic *traffic.Meter
	leases  *storage.Leases
	process string // names this process as the holder of a lease
	stop    context.CancelFunc
	running sync.WaitGroup
	closing sync.Once
}

// New returns a Server that keeps its data in a store. The caller closes the Server first and then
// the store. If ctx ends, New gives up; it doesn't affect the Server afterwards. An error about the
// configuration reports all mistakes, each with the name of its field.
func New(ctx context.Context, store storage.Store, cfg Config) (*Server, error) {
	if store == nil {
		return nil, errors.New("gatehouse: the store is required")
	}
	set, err := cfg.settings()
	if err != nil {
		return nil, err
	}
	s := &Server{store: store, cfg: set, traffic: new(traffic.Meter)}
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

// ServeHTTP serves the methods below /xrpc/. To serve them under another prefix, wrap the Server in
// [http.StripPrefix]. Requests at the host names of accounts are refused: see [Server.HandleHosts].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.traffic.Serve(s.handler, w, r) }

// PLCDirectory serves the local DID directory by the API of the public one (source: the did:plc
// specification): GET /{did}, /{did}/data, /{did}/log and others, and POST /{did}, which is limited
// to 100 requests in 5 minutes from one address. It is nil if DIDs are kept elsewhere.
func (s *Server) PLCDirectory() http.Handler { return s.web.PLCDirectory() }

// WellKnown serves /.well-known/atproto-did, by which handles on the server's domains resolve to
// the DIDs of their accounts, and /.well-known/did.json, the document of the server's own DID and
// of accounts with a did:web on its domains. Mount it for all these hosts.
func (s *Server) WellKnown() http.Handler { return s.web.WellKnown() }

// RequireAuth returns a middleware that protects routes of the embedding program with the access
// tokens of Gatehouse. A request without a valid token, or whose token lacks one of the
// permissions, is answered as the methods below /xrpc/ answer it. Without permissions, every
// session of an account that isn't taken down passes. [sessions.ManageAccount] requires a session
// that may manage the account, and "repo:app.bsky.feed.post?action=create" one that may write
// posts. In the protected handler, [Auth] returns who makes the request. RequireAuth panics if a
// permission is malformed (see [sessions.Permission.Check]).
//
//	mux.Handle("GET /me", srv.RequireAuth()(me))
func (s *Server) RequireAuth(permissions ...sessions.Permission) func(http.Handler) http.Handler {
	return s.metered(s.handler.RequireAuth(permissions...))
}

// RequireActive is like RequireAuth, but also refuses deactivated accounts, with 401
// AccountDeactivated. It is meant for what such an account may not do, like writing to its
// repository.
func (s *Server) RequireActive(permissions ...sessions.Permission) func(http.Handler) http.Handler {
	return s.metered(s.handler.RequireActive(permissions...))
}

// metered returns a middleware whose requests are counted.
func (s *Server) metered(middleware func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return s.traffic.Wrap(middleware(next)) }
}

// Auth returns the account and the session of a request that passed [Server.RequireAuth] or
// [Server.RequireActive]. It returns nil for a context of any other request.
func Auth(ctx context.Context) *sessions.Auth { return sessions.FromContext(ctx) }

// Close stops the background work of the Server, and waits for e-mails that are being delivered,
// for as long as one delivery may take. It doesn't close the store.
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

// ServiceDID returns the DID of the server: the did:web of its host name.
func (s *Server) ServiceDID() string { return s.Sessions.ServiceDID() }
