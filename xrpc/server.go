package xrpc

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/uuid"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/apppasswords"
	"github.com/gatehouse-at/gatehouse/invites"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/xrpc/ratelimit"
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
	// AdminPassword is the password of the user "admin". Without one admin
	// methods refuse everybody.
	AdminPassword string
	// EmailForAppPasswords shows the e-mail address to sessions of app passwords too.
	EmailForAppPasswords bool
	// Description is what describeServer says beside what the services know.
	Description Description
	// Limiter counts requests. Nil is a [ratelimit.Memory].
	Limiter ratelimit.Limiter
	// TrustedProxies may say in X-Forwarded-For for whom they forward.
	TrustedProxies []netip.Prefix
	// Fallback serves methods that aren't here. Nil answers MethodNotImplemented.
	Fallback http.Handler
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
}

// Server serves /xrpc/. It is an [http.Handler].
type Server struct {
	cfg     Config
	methods map[string]*method
}

// New returns a Server.
func New(cfg Config) (*Server, error) {
	if cfg.Accounts == nil || cfg.Sessions == nil || cfg.Invites == nil || cfg.AppPasswords == nil {
		return nil, errors.New("xrpc: Config.Services is incomplete")
	}
	if cfg.Limiter == nil {
		cfg.Limiter = ratelimit.NewMemory(0, cfg.Now)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{cfg: cfg, methods: map[string]*method{}}
	for _, m := range s.table() {
		if s.methods[m.nsid] != nil {
			return nil, fmt.Errorf("xrpc: %s is in the table twice", m.nsid)
		}
		s.methods[m.nsid] = m
	}
	return s, nil
}

const (
	exposedHeaders = "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy, Retry-After"
	prefix         = "/xrpc/"
)

// ServeHTTP serves a request whose path begins with /xrpc/.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	nsid, ok := strings.CutPrefix(r.URL.Path, prefix)
	if r.Method == http.MethodOptions {
		preflight(w, r)
		return
	}
	h.Set("Access-Control-Expose-Headers", exposedHeaders)
	if nsid == "_health" {
		s.health(w, r)
		return
	}
	m := s.methods[nsid]
	if m == nil && s.cfg.Fallback != nil {
		s.cfg.Fallback.ServeHTTP(w, r)
		return
	}
	c := &call{Request: r, header: h, nsid: nsid, ip: clientIP(r, s.cfg.TrustedProxies)}
	start := s.cfg.Now()
	status := s.serve(w, c, m, ok)
	if s.cfg.Logger.Enabled(r.Context(), slog.LevelInfo) {
		s.cfg.Logger.LogAttrs(r.Context(), slog.LevelInfo, "request",
			slog.String("method", methodName(m)), slog.Int("status", status), slog.Duration("took", s.cfg.Now().Sub(start)),
			slog.String("did", string(c.did())), slog.String("ip", c.ip.String()))
	}
}

// methodName keeps from the log what isn't a method: it may be anything.
func methodName(m *method) string {
	if m == nil {
		return "unknown"
	}
	return m.nsid
}

// serve answers a request and returns the status.
func (s *Server) serve(w http.ResponseWriter, c *call, m *method, known bool) (status int) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			status = s.fail(w, c, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	out, err := s.answer(c, m, known)
	if err != nil {
		return s.fail(w, c, err)
	}
	return s.succeed(w, c, out)
}

func (s *Server) answer(c *call, m *method, known bool) (any, error) {
	if m == nil {
		if err := s.take(c, "", globalLimit); err != nil {
			return nil, err
		}
		if _, err := syntax.ParseNSID(c.nsid); err != nil || !known {
			return nil, &Error{Status: http.StatusNotFound, Message: "Not found"}
		}
		return nil, &Error{Status: http.StatusNotImplemented, Message: "Method Not Implemented"}
	}
	if err := checkVerb(c, m); err != nil {
		return nil, err
	}
	caller, authErr := m.auth(c)
	if authErr == nil {
		c.caller = caller
	}
	if err := s.take(c, "", globalLimit); err != nil {
		return nil, err
	}
	if authErr != nil {
		return nil, authErr
	}
	if m.limit != nil && m.limit.key == nil {
		if err := s.take(c, m.nsid, m.limit.windows); err != nil {
			return nil, err
		}
	}
	in, answer, err := m.prepare(c)
	if err != nil {
		return nil, err
	}
	if m.limit != nil && m.limit.key != nil {
		if err := s.takeFor(c, m.nsid+" "+m.limit.key(c, in), m.limit.windows); err != nil {
			return nil, err
		}
	}
	return answer()
}

func checkVerb(c *call, m *method) error {
	want := http.MethodPost
	if m.query {
		want = http.MethodGet
	}
	if c.Method == want || m.query && c.Method == http.MethodHead {
		return nil
	}
	c.header.Set("Allow", want+", OPTIONS")
	return &Error{Status: http.StatusMethodNotAllowed, Message: clean(fmt.Sprintf("Incorrect HTTP method (%.20s) expected %s", c.Method, want))}
}

// globalLimit is what all methods together may cost a caller.
var globalLimit = []ratelimit.Window{{Points: 3000, Per: 5 * time.Minute}}

// take charges the caller: the account of a valid token, or else the address.
func (s *Server) take(c *call, nsid string, windows []ratelimit.Window) error {
	who := string(c.did())
	if who == "" {
		who = ipKey(c.ip)
	}
	return s.takeFor(c, nsid+" "+who, windows)
}

func (s *Server) takeFor(c *call, key string, windows []ratelimit.Window) error {
	state, err := s.cfg.Limiter.Take(c.Context(), key, windows...)
	if err != nil {
		s.cfg.Logger.WarnContext(c.Context(), "rate limits can't be counted", "error", err)
		return nil
	}
	if state.Points == 0 { // limits are off
		return nil
	}
	// Of the limits that a call meets, the headers speak of the one with the least left.
	if old := c.header.Get("RateLimit-Remaining"); old != "" && state.Allowed {
		if n, err := strconv.Atoi(old); err == nil && n <= state.Remaining {
			return nil
		}
	}
	c.header.Set("RateLimit-Limit", strconv.Itoa(state.Points))
	c.header.Set("RateLimit-Remaining", strconv.Itoa(state.Remaining))
	c.header.Set("RateLimit-Reset", strconv.FormatInt(ceilUnix(state.Reset), 10))
	c.header.Set("RateLimit-Policy", fmt.Sprintf("%d;w=%d", state.Points, int(state.Per.Seconds())))
	if state.Allowed {
		return nil
	}
	wait := max(1, ceilUnix(state.Reset)-s.cfg.Now().Unix())
	c.header.Set("Retry-After", strconv.FormatInt(wait, 10))
	return ratelimit.ErrLimited
}

// ceilUnix is the first whole second at which a period is surely over.
func ceilUnix(t time.Time) int64 {
	u := t.Unix()
	if t.Nanosecond() > 0 {
		u++
	}
	return u
}

func (s *Server) fail(w http.ResponseWriter, c *call, err error) int {
	e := public(err)
	if e.Status >= 500 {
		id := uuid.NewString()
		w.Header().Set("X-Request-Id", id)
		s.cfg.Logger.ErrorContext(c.Context(), "request failed", "method", methodName(s.methods[c.nsid]), "status", e.Status, "request", id, "error", err)
		if e.Status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
	}
	body, _ := json.Marshal(map[string]string{"error": e.Name, "message": clean(e.Message)})
	s.write(w, c, e.Status, body)
	return e.Status
}

func (s *Server) succeed(w http.ResponseWriter, c *call, out any) int {
	if out == nil {
		w.WriteHeader(http.StatusOK)
		return http.StatusOK
	}
	body, err := json.Marshal(out)
	if err != nil {
		return s.fail(w, c, fmt.Errorf("encoding the output: %w", err))
	}
	s.write(w, c, http.StatusOK, body)
	return http.StatusOK
}

// gzipAbove is the size from which an answer is worth compressing, in bytes.
const gzipAbove = 1024

var gzips = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func (s *Server) write(w http.ResponseWriter, c *call, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	if len(body) >= gzipAbove {
		h.Add("Vary", "Accept-Encoding")
		if acceptsGzip(c.Request) {
			h.Set("Content-Encoding", "gzip")
			w.WriteHeader(status)
			if c.Method != http.MethodHead {
				z := gzips.Get().(*gzip.Writer)
				z.Reset(w)
				_, _ = z.Write(body)
				_ = z.Close()
				gzips.Put(z)
			}
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if c.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		coding, q, weighted := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			q = strings.ReplaceAll(q, " ", "")
			return !weighted || strings.Trim(strings.TrimPrefix(q, "q="), "0.") != ""
		}
	}
	return false
}

func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS")
	// A wildcard doesn't cover Authorization, so what is asked for is named.
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
		h.Add("Vary", "Access-Control-Request-Headers")
	}
	h.Set("Access-Control-Max-Age", "86400")
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	answer := map[string]string{"version": s.cfg.Version}
	status := http.StatusOK
	if s.cfg.Health != nil {
		if err := s.cfg.Health(r.Context()); err != nil {
			s.cfg.Logger.ErrorContext(r.Context(), "unhealthy", "error", err)
			status, answer["error"] = http.StatusServiceUnavailable, "Service Unavailable"
		}
	}
	body, _ := json.Marshal(answer)
	s.write(w, &call{Request: r}, status, body)
}
