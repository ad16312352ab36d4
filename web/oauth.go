package web

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/signin/device"
	"github.com/gatehouse-at/gatehouse/web/pages"
)

// OAuthConfig configures what a [Server] serves of OAuth.
type OAuthConfig struct {
	// Service is the authorization server. Nil: there is none, and [Server.OAuth] serves only
	// Resource.
	Service *oauth.Service
	// Resource is the metadata of the server whose methods take access tokens. Default: that of
	// Service. Nil without a Service: none is served.
	Resource *oauth.ResourceMetadata
	// Devices are the browsers on which accounts are signed in. Required with a Service.
	Devices *device.Service
	// Secret keys what forms carry. It has at least 32 bytes, and all processes that share a store
	// have the same. Required with a Service.
	Secret []byte
	// Pages says how pages look.
	Pages Pages
}

// Pages says how the pages that people see in a browser look, and where they are. The zero value
// means the defaults. [New] tries all templates, and reports mistakes.
type Pages struct {
	// ServiceName is the name of the server. Default: [Home.ServiceName].
	ServiceName string
	// Templates, Assets and Texts replace parts of the default ones: see [pages.Config].
	Templates, Assets, Texts fs.FS
	// AccountPath is the path below which the pages of an account are. Default: "/account".
	AccountPath string
	// AssetPath is the path below which style sheets and images are. Default: "/oauth/assets".
	AssetPath string
}

// oauthFace is what a Server serves of OAuth.
type oauthFace struct {
	service  *oauth.Service
	devices  *device.Service
	pages    *pages.Set
	account  string // the path of the account's pages
	metadata *oauth.ServerMetadata
	paths    oauth.Paths
	origin   string // the issuer
	guard    fetchGuard
	tokens   formTokens
	sealer   sealer
	cookies  cookieJar
}

// The paths of the metadata documents (sources: RFC 8414, RFC 9728).
const (
	serverMetadataPath   = "/.well-known/oauth-authorization-server"
	resourceMetadataPath = "/.well-known/oauth-protected-resource"
)

// newOAuthFace returns nil if there is no authorization server.
func (s *Server) newOAuthFace(cfg OAuthConfig) (*oauthFace, error) {
	if cfg.Service == nil {
		return nil, nil
	}
	if cfg.Devices == nil || len(cfg.Secret) < 32 {
		return nil, errors.New("web: OAuth.Devices and OAuth.Secret, of at least 32 bytes, are required")
	}
	f := &oauthFace{service: cfg.Service, devices: cfg.Devices, account: orDefault(cfg.Pages.AccountPath, "/account")}
	assets := orDefault(cfg.Pages.AssetPath, "/oauth/assets")
	home := s.cfg.Home
	var err error
	f.pages, err = pages.New(pages.Config{
		Service: pages.Service{
			Name: orDefault(cfg.Pages.ServiceName, home.ServiceName), PrivacyPolicyURL: home.PrivacyPolicyURL,
			TermsOfServiceURL: home.TermsOfServiceURL, ContactEmail: home.ContactEmail,
		},
		AssetPath: assets + "/", Templates: cfg.Pages.Templates, Assets: cfg.Pages.Assets, Texts: cfg.Pages.Texts,
	})
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	f.metadata = cfg.Service.Metadata(f.pages.Languages()...)
	f.origin = f.metadata.Issuer
	f.paths = pathsOf(f.metadata)
	if err := f.checkPaths(assets); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	origin, err := url.Parse(f.origin)
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if f.guard, err = newFetchGuard(origin); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	random := randomOr(s.cfg.Rand)
	f.tokens, f.cookies = newFormTokens(cfg.Secret, random), newCookieJar(origin, s.cfg.Now)
	if f.sealer, err = newSealer(cfg.Secret, random); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	return f, nil
}

func orDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

var pathFormat = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)

// reserved are the first parts of paths at which a server has something else.
var reserved = []string{"xrpc", "plc", "tls-check", "robots.txt"}

// checkPaths checks that what is served has paths that can be told apart.
func (f *oauthFace) checkPaths(assets string) error {
	p, taken := f.paths, map[string]bool{}
	all := []string{
		p.Authorize, p.PAR, p.Token, p.Revoke, p.JWKS, f.account, f.signInPath(), f.applicationsPath(), assets,
	}
	if p.Introspect != "" {
		all = append(all, p.Introspect)
	}
	for _, path := range all {
		if !pathFormat.MatchString(path) {
			return fmt.Errorf("the path %q has to begin with a slash, to end without one, and to consist of letters and digits", path)
		}
		if first, _, _ := strings.Cut(path[1:], "/"); slices.Contains(reserved, first) {
			return fmt.Errorf("the path %q is where the server has something else", path)
		}
		if taken[path] {
			return fmt.Errorf("the path %q is used twice", path)
		}
		taken[path] = true
	}
	return nil
}

// pathsOf returns where the endpoints of an authorization server are below its origin.
func pathsOf(m *oauth.ServerMetadata) oauth.Paths {
	path := func(url string) string { return strings.TrimPrefix(url, m.Issuer) }
	return oauth.Paths{
		Authorize: path(m.AuthorizationEndpoint), PAR: path(m.PushedAuthorizationRequestEndpoint), Token: path(m.TokenEndpoint),
		Revoke: path(m.RevocationEndpoint), Introspect: path(m.IntrospectionEndpoint), JWKS: path(m.JWKSURI),
	}
}

// OAuth serves the authorization server and its pages: the two metadata documents below
// /.well-known/, the endpoints below /oauth/, and the pages of an account below /account/. Mount it
// at the root of the issuer. Everything else is a 404. Without an authorization server only the
// metadata of the resource is there.
func (s *Server) OAuth() http.Handler { return s.guard.Wrap(s.logged(late(s.oauthMux))) }

func (s *Server) oauthMux() http.Handler {
	mux := http.NewServeMux()
	s.handleMetadata(mux)
	if f := s.oauth; f != nil {
		mux.HandleFunc(f.paths.JWKS, s.document(f.service.JWKS()))
		mux.HandleFunc(f.paths.PAR, s.endpoint(f.paths.PAR, http.StatusCreated, push))
		mux.HandleFunc(f.paths.Token, s.endpoint(f.paths.Token, http.StatusOK, exchange))
		mux.HandleFunc(f.paths.Revoke, s.endpoint(f.paths.Revoke, http.StatusOK, revoke))
		if f.paths.Introspect != "" {
			mux.HandleFunc(f.paths.Introspect, s.introspect)
		}
		mux.HandleFunc(f.paths.Authorize, s.page(s.authorize, s.authorizeForm))
		mux.HandleFunc(f.account+"/sign-in", s.page(s.accountSignIn, s.accountSignInForm))
		mux.HandleFunc(f.account+"/applications", s.page(s.applications, s.applicationsForm))
		mux.HandleFunc(f.pages.AssetPath(), s.asset)
		noPage := func(*visit) error { return errNoPage }
		mux.HandleFunc("/", s.page(noPage, noPage))
	}
	return mux
}

// handleMetadata adds the metadata documents to a mux.
func (s *Server) handleMetadata(mux *http.ServeMux) {
	if s.oauth != nil {
		mux.HandleFunc(serverMetadataPath, s.document(s.oauth.metadata))
	}
	if s.resource != nil {
		mux.HandleFunc(resourceMetadataPath, s.document(s.resource))
	}
}

// asset serves a style sheet, a script or an image.
func (s *Server) asset(w http.ResponseWriter, r *http.Request) {
	a, ok := s.oauth.pages.Asset(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	readOnly(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", a.ContentType)
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		_, _ = w.Write(a.Body)
	}).ServeHTTP(w, r)
}

// deviceLimit is how many new browsers an address may bring.
var deviceLimit = []ratelimit.Window{{Points: 300, Per: 5 * time.Minute}}
