package web

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/internal/clientip"
	"github.com/gatehouse-at/gatehouse/internal/handlehost"
	"github.com/gatehouse-at/gatehouse/internal/httplimit"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/oauth"
)

// ErrorFunc returns what a client is answered for an error: the HTTP status, the name of the error
// in the lexicons, and a message.
type ErrorFunc func(err error) (status int, name, message string)

// Config configures a [Server].
type Config struct {
	// Accounts answers which handles and hosted did:web DIDs there are.
	Accounts *accounts.Service
	// ServiceDID is the DID of the server, whose document is served if it is a did:web.
	ServiceDID string
	// Directory is the local DID directory. Nil: there is none.
	Directory *did.Local
	// Home is what the home page says.
	Home Home
	// HandleHostRedirect is the URL to which browsers are redirected from the names of accounts.
	// The handle replaces {handle} in it. Empty: they are answered 404.
	HandleHostRedirect string
	// Errors describes the errors of other packages.
	Errors ErrorFunc
	// Limiter counts requests. Use the one that counts those of the methods. Nil: a
	// [ratelimit.Memory].
	Limiter ratelimit.Limiter
	// TrustedProxies are the networks of proxies whose X-Forwarded-For headers are believed.
	TrustedProxies []netip.Prefix
	// OAuth configures the authorization server and its pages.
	OAuth OAuthConfig
	// Logger receives the causes of internal errors. Nil: nothing is logged.
	Logger *slog.Logger
	// Now returns the time. Nil: [time.Now].
	Now func() time.Time
	// Rand is the source of randomness. Nil: [crypto/rand.Reader].
	Rand io.Reader
}

// Server has the handlers. Those that serve nothing for accounts refuse requests at the names of
// accounts, and those that read from the store limit requests by the address of the client.
type Server struct {
	cfg     Config
	meter   ratelimit.Meter
	clients *clientip.Finder
	guard   handlehost.Guard
	home    http.Handler
	// oauth is nil without an authorization server, and resource if no access tokens of OAuth are
	// taken.
	oauth    *oauthFace
	resource *oauth.ResourceMetadata

	wellKnown wellKnown
}

// New returns a Server. It returns an error if Config.Accounts or Config.Errors is missing, or if
// something is wrong with Config.OAuth.
func New(cfg Config) (*Server, error) {
	if cfg.Accounts == nil || cfg.Errors == nil {
		return nil, errors.New("web: Config.Accounts and Config.Errors are required")
	}
	if cfg.Limiter == nil {
		cfg.Limiter = ratelimit.NewMemory(ratelimit.Config{Now: cfg.Now})
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{
		cfg:     cfg,
		meter:   ratelimit.Meter{Limiter: cfg.Limiter, Logger: cfg.Logger},
		clients: clientip.NewFinder(cfg.TrustedProxies, nil), // the methods' handler warns
		guard:   handlehost.Guard{Accounts: cfg.Accounts, Redirect: cfg.HandleHostRedirect},
	}
	s.home = s.newHome()
	var err error
	if s.oauth, err = s.newOAuthFace(cfg.OAuth); err != nil {
		return nil, err
	}
	if s.resource = cfg.OAuth.Resource; s.resource == nil && s.oauth != nil {
		s.resource = s.oauth.service.ResourceMetadata()
	}
	return s, nil
}

// Home serves the home page.
func (s *Server) Home() http.Handler { return s.guard.Wrap(s.home) }

// HandleHosts guards everything that a program serves. At the names of accounts, such as
// alice.example.com, it serves only /.well-known/atproto-did, and /.well-known/did.json of an
// account with a did:web of that name. Anything else is a 404 there, or for browsers a redirect to
// [Config.HandleHostRedirect]. At all other names requests go to next.
func (s *Server) HandleHosts(next http.Handler) http.Handler {
	return s.hostGuard(next, s.WellKnown())
}

// hostGuard is HandleHosts with a handler for the well-known documents.
func (s *Server) hostGuard(next, wellKnown http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !s.guard.Matches(r):
			next.ServeHTTP(w, r)
		case (r.URL.Path == atprotoDIDPath || r.URL.Path == didDocumentPath) && handlehost.IsRead(r):
			wellKnown.ServeHTTP(w, r)
		default:
			s.guard.Refuse(w, r)
		}
	})
}

// late returns a handler that is made when it gets its first request. Most servers in tests serve
// only one thing or two.
func late(build func() http.Handler) http.Handler {
	handler := sync.OnceValue(build)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler().ServeHTTP(w, r) })
}

// charge charges a request to the address of its client: under the limit on all requests together,
// and under the name of a limit of its own, if there is one.
func (s *Server) charge(w http.ResponseWriter, r *http.Request, name string, windows ...ratelimit.Window) error {
	headers := httplimit.NewHeaders(w.Header(), s.cfg.Now)
	client := ratelimit.Client{Address: clientip.Key(s.clients.Find(r)), Observe: headers.Observe}
	err := httplimit.Charge(r.Context(), s.meter, client, "", client.Address, httplimit.All()...)
	if err == nil && len(windows) > 0 {
		err = httplimit.Charge(r.Context(), s.meter, client, name, client.Address, windows...)
	}
	return err
}

// problem is an error of this package, as a client is answered.
type problem struct {
	status  int
	name    string
	message string
}

func (p *problem) Error() string { return p.message }

// describe returns an error as a client is answered.
func (s *Server) describe(err error) *problem {
	var p *problem
	if !errors.As(err, &p) {
		status, name, message := s.cfg.Errors(err)
		p = &problem{status, name, message}
	}
	return p
}

// fail answers a request with an error in the same form as methods do.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := s.describe(err)
	if p.status >= http.StatusInternalServerError {
		id := uuid.NewString()
		w.Header().Set("X-Request-Id", id)
		s.logFailure(r, p.status, err, "request", id)
		if p.status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
	}
	writeJSON(w, p.status, map[string]string{"error": p.name, "message": refusal.Clean(p.message)})
}

// logFailure logs the cause of an error that clients receive no details of.
func (s *Server) logFailure(r *http.Request, status int, err error, more ...any) {
	s.cfg.Logger.ErrorContext(r.Context(), "request failed", append([]any{"path", r.URL.Path, "status", status, "error", err}, more...)...)
}

// writeJSON writes a response.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, _ := json.Marshal(v) // of a struct or a map that always encodes
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
