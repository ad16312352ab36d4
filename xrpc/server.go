package xrpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/audit"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// Services are what the methods call.
type Services struct {
	Accounts     *accounts.Service
	Sessions     *sessions.Service
	Invites      *invites.Service
	AppPasswords *apppasswords.Service
}

// Config configures a [Server].
type Config struct {
	Services
	// Admins tells who is an admin. Nil refuses everybody.
	Admins AdminAuth
	// ModService is the DID of a moderation service that may call, with a
	// service-auth token, the admin methods of moderators. Empty is none.
	ModService string
	// Audit logs what admins and moderators do.
	Audit *audit.Log
	// Resolver finds DID documents.
	Resolver *did.Resolver
	// RepoStatus returns the state of a repository, for checkAccountStatus, listRepos and
	// getRepoStatus. Nil: there are no repositories here.
	RepoStatus RepoStatusFunc
	// EmailForAppPasswords shows the e-mail address to sessions of app passwords too.
	EmailForAppPasswords bool
	// Description is what describeServer says beside what the services know.
	Description Description
	// Limiter counts requests. Nil is a [ratelimit.Memory].
	Limiter ratelimit.Limiter
	// TrustedProxies may say in X-Forwarded-For for whom they forward.
	TrustedProxies []netip.Prefix
	// HandleHostRedirect is the URL to which browsers are redirected from the names of accounts.
	// [HandlePlaceholder] in it is replaced by the name. Empty: they get a 404.
	HandleHostRedirect string
	// Fallback serves methods that aren't here, and all else below /xrpc/. Nil answers
	// MethodNotImplemented. The CORS headers of its answers are already set, and
	// OPTIONS never reaches it: a proxy leaves out those of the server behind it. Its
	// requests are neither limited nor logged here.
	Fallback http.Handler
	// LeaveToFallback are NSIDs of [Methods] that Fallback serves instead.
	LeaveToFallback []string
	// Health tells whether the store answers.
	Health func(context.Context) error
	// Version is shown by _health.
	Version string
	// Logger receives a line for each request and the causes of internal errors. Nil is none.
	Logger *slog.Logger
	// Now tells the time. Nil is [time.Now].
	Now func() time.Time
}

// Description is the part of com.atproto.server.describeServer that is only shown.
type Description struct {
	ContactEmail      string
	PrivacyPolicyURL  string
	TermsOfServiceURL string
	BlobUploadLimit   int64
	// VerificationRequired tells clients that sign-up needs a verificationCode.
	VerificationRequired bool
}

// Server serves /xrpc/. It is an [http.Handler].
type Server struct {
	cfg     Config
	meter   ratelimit.Meter
	methods map[string]*method

	proxyWarning sync.Once
	admins       *adminGuard
	wellKnown    wellKnown
	health       *briefly[error]
}

// New returns a Server.
func New(cfg Config) (*Server, error) {
	if cfg.Accounts == nil || cfg.Sessions == nil || cfg.Invites == nil || cfg.AppPasswords == nil {
		return nil, errors.New("xrpc: Config.Services is incomplete")
	}
	if cfg.Audit == nil || cfg.Resolver == nil {
		return nil, errors.New("xrpc: Config.Audit or Config.Resolver is missing")
	}
	if cfg.Admins == nil {
		cfg.Admins = Passwords{}
	}
	return newServer(cfg, (*Server).table)
}

// newServer is New for any table.
func newServer(cfg Config, table func(*Server) []*method) (*Server, error) {
	if cfg.Limiter == nil {
		cfg.Limiter = ratelimit.NewMemory(0, cfg.Now)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.TrustedProxies = unmapped(cfg.TrustedProxies)
	s := &Server{cfg: cfg, methods: map[string]*method{}, meter: ratelimit.Meter{Limiter: cfg.Limiter, Logger: cfg.Logger}}
	s.health = newBriefly[error]()
	s.admins = newAdminGuard(cfg.Now)
	for _, m := range table(s) {
		if s.methods[m.nsid] != nil {
			return nil, fmt.Errorf("xrpc: %s is in the table twice", m.nsid)
		}
		s.methods[m.nsid] = m
	}
	all := maps.Clone(s.methods)
	for _, nsid := range cfg.LeaveToFallback {
		switch {
		case cfg.Fallback == nil:
			return nil, errors.New("xrpc: Config.LeaveToFallback is set, but Fallback isn't")
		case all[nsid] == nil:
			return nil, fmt.Errorf("xrpc: Config.LeaveToFallback: %q is not a method that is served here", nsid)
		}
		delete(s.methods, nsid)
	}
	return s, nil
}

const (
	prefix     = "/xrpc/"
	healthPath = "_health"
)

// ServeHTTP serves a request whose path begins with /xrpc/.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.atHandleHost(r) {
		s.refuseHandleHost(w, r)
		return
	}
	if r.Method == http.MethodOptions {
		preflight(w, r)
		return
	}
	allowOrigins(w.Header())
	nsid, below := strings.CutPrefix(r.URL.Path, prefix)
	nsid = strings.TrimSuffix(nsid, "/")
	c := s.newCall(w, r)
	c.nsid = nsid
	if nsid == healthPath {
		s.serveHealth(w, c)
		return
	}
	m := s.methods[nsid]
	if !below {
		m = nil
	}
	if m == nil && s.cfg.Fallback != nil {
		s.cfg.Fallback.ServeHTTP(w, r)
		return
	}
	start := s.cfg.Now()
	status := s.serve(w, c, m, below)
	if s.cfg.Logger.Enabled(r.Context(), slog.LevelInfo) {
		s.cfg.Logger.LogAttrs(r.Context(), slog.LevelInfo, "request",
			slog.String("method", methodName(m)), slog.Int("status", status), slog.Duration("took", s.cfg.Now().Sub(start)),
			slog.String("did", string(c.did())), slog.String("ip", c.ip.String()), slog.String("request", c.requestID()))
	}
}

// newCall begins a call.
func (s *Server) newCall(w http.ResponseWriter, r *http.Request) *call {
	c := &call{Request: r, header: w.Header(), now: s.cfg.Now, ip: s.clientIP(r)}
	c.client = ratelimit.Client{Address: ipKey(c.ip), Observe: c.observe}
	return c
}

// methodName keeps from the log what isn't a method: it may be anything.
func methodName(m *method) string {
	if m == nil {
		return "unknown"
	}
	return m.nsid
}

// serve answers a request and returns the status.
func (s *Server) serve(w http.ResponseWriter, c *call, m *method, below bool) (status int) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			status = s.fail(w, c, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	out, err := s.answer(c, m, below)
	if err != nil {
		return s.fail(w, c, err)
	}
	return s.succeed(w, c, out)
}

func (s *Server) answer(c *call, m *method, below bool) (any, error) {
	if m == nil {
		return nil, s.unknown(c, below)
	}
	want := http.MethodPost
	if m.query {
		want = http.MethodGet
	}
	if err := checkVerb(c, want); err != nil {
		return nil, err
	}
	_, early := m.auth.(byAddress)
	if early {
		if err := s.charge(c, m); err != nil {
			return nil, err
		}
	}
	body, bodyErr := m.read(c)
	caller, authErr := m.auth.authenticate(c)
	if authErr == nil {
		c.caller = caller
	}
	if !early {
		charged := m
		if authErr != nil {
			charged = nil // a stranger's call costs what any call does
		}
		if err := s.charge(c, charged); err != nil {
			return nil, err
		}
	}
	if authErr != nil {
		return nil, authErr
	}
	if bodyErr != nil {
		return nil, bodyErr
	}
	c.Request = c.WithContext(c.handlerContext())
	answer, err := m.prepare(c, body)
	if err != nil {
		return nil, err
	}
	return answer()
}

// handlerContext is the context that handlers pass on: with the client, for limits that the domains
// keep, and with the session, without which nothing is written on its behalf.
func (c *call) handlerContext() context.Context {
	ctx := ratelimit.NewContext(c.Context(), c.client)
	if c.session != nil {
		ctx = sessions.NewContext(ctx, c.session)
	}
	return ctx
}

// unknown refuses a path that no method has.
func (s *Server) unknown(c *call, below bool) error {
	if err := s.take(c, "", c.payer(), globalLimit); err != nil {
		return err
	}
	if !below {
		return &Error{Status: http.StatusNotFound, Message: "Not found"}
	}
	if _, err := syntax.ParseNSID(c.nsid); err != nil {
		return invalid("invalid xrpc path")
	}
	// Most of these calls are meant for another service, such as app.bsky methods for an app view.
	hint := "to have another service answer, name it in an atproto-proxy header"
	if c.Header.Get("Atproto-Proxy") != "" {
		hint = "this server doesn't proxy requests to the service in the atproto-proxy header"
	}
	return &Error{Status: http.StatusNotImplemented, Message: fmt.Sprintf("Method Not Implemented: %s isn't served here; %s", c.nsid, hint)}
}

func checkVerb(c *call, want string) error {
	allow := want + ", OPTIONS"
	if want == http.MethodGet {
		allow = "GET, HEAD, OPTIONS"
	}
	if c.Method == want || want == http.MethodGet && c.Method == http.MethodHead {
		return nil
	}
	c.header.Set("Allow", allow)
	return &Error{Status: http.StatusMethodNotAllowed, Message: fmt.Sprintf("Incorrect HTTP method (%.20s) expected %s", c.Method, want)}
}
