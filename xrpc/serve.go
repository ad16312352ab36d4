package xrpc

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/briefly"
	"github.com/gatehouse-at/gatehouse/internal/clientip"
	"github.com/gatehouse-at/gatehouse/internal/handlehost"
	"github.com/gatehouse-at/gatehouse/internal/httplimit"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// Server is an [http.Handler] that serves the methods below /xrpc/.
type Server struct {
	cfg     Config
	meter   ratelimit.Meter
	methods map[string]*method

	clients *clientip.Finder
	hosts   handlehost.Guard
	admins  *adminGuard
	health  *briefly.Value[error]
	// description returns the output of describeServer.
	description func() ([]byte, error)
}

const (
	prefix     = "/xrpc/"
	healthPath = "_health"
)

// ServeHTTP serves a request whose path begins with /xrpc/. It refuses requests at the names of
// accounts.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.hosts.Matches(r) {
		s.hosts.Refuse(w, r)
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

// newCall returns the call of a request.
func (s *Server) newCall(w http.ResponseWriter, r *http.Request) *call {
	c := &call{Request: r, header: w.Header(), limits: httplimit.NewHeaders(w.Header(), s.cfg.Now), ip: s.clients.Find(r)}
	c.client = ratelimit.Client{Address: clientip.Key(c.ip), Observe: c.limits.Observe}
	return c
}

// methodName returns the name of a method for the log. The paths of unknown methods aren't logged,
// since clients may write anything there.
func methodName(m *method) string {
	if m == nil {
		return "unknown"
	}
	return m.nsid
}

// serve answers a call, and returns the status.
func (s *Server) serve(w http.ResponseWriter, c *call, m *method, below bool) (status int) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			status = s.fail(w, c, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	s.offerNonce(c)
	out, err := s.answer(c, m, below)
	if err != nil {
		return s.fail(w, c, err)
	}
	return s.succeed(w, c, out)
}

// answer takes the steps of a call that are listed at [method], and returns its output.
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
	caller, authErr := m.auth.authenticate(s, c)
	if authErr == nil {
		c.caller = caller
	}
	if !early {
		charged := m
		if authErr != nil {
			charged = nil // only under the limit on all requests
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
	answer, err := m.prepare(s, c, body)
	if err != nil {
		return nil, err
	}
	return answer()
}

// handlerContext returns the context for the handler: with the client, for the limits of the domain
// packages, and with the session, on whose behalf they write only while it is valid.
func (c *call) handlerContext() context.Context {
	ctx := ratelimit.NewContext(c.Context(), c.client)
	if c.session != nil {
		ctx = sessions.NewContext(ctx, c.session)
	}
	return ctx
}

// unknown refuses a path that isn't that of a method.
func (s *Server) unknown(c *call, below bool) error {
	if err := s.take(c, "", c.payer(), httplimit.All()); err != nil {
		return err
	}
	if !below {
		return &Error{Status: http.StatusNotFound, Message: "Not found"}
	}
	if _, err := syntax.ParseNSID(c.nsid); err != nil {
		return invalid("invalid xrpc path")
	}
	// Most of these calls are meant for another service, such as those of app.bsky for an app view.
	hint := "to have another service answer, name it in an atproto-proxy header"
	if c.Header.Get("Atproto-Proxy") != "" {
		hint = "this server doesn't proxy requests to the service in the atproto-proxy header"
	}
	return &Error{Status: http.StatusNotImplemented, Message: fmt.Sprintf("Method Not Implemented: %s isn't served here; %s", c.nsid, hint)}
}

// checkVerb returns an error if the verb of a call isn't the one that is wanted, or HEAD for GET.
func checkVerb(c *call, want string) error {
	if c.Method == want || want == http.MethodGet && c.Method == http.MethodHead {
		return nil
	}
	allow := want + ", OPTIONS"
	if want == http.MethodGet {
		allow = "GET, HEAD, OPTIONS"
	}
	c.header.Set("Allow", allow)
	return &Error{Status: http.StatusMethodNotAllowed, Message: fmt.Sprintf("Incorrect HTTP method (%.20s) expected %s", c.Method, want)}
}
