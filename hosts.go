package gatehouse

import (
	"net/http"
	"slices"

	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/web"
)

// Handler returns a handler for everything that Gatehouse serves, for a program without routes of
// its own:
//
//   - /xrpc/: the methods
//   - /.well-known/: the DIDs of handles, DID documents, and the metadata of OAuth; see
//     [Server.WellKnown]
//   - /oauth/ and /account/: OAuth and its pages; see [Server.Pages]
//   - /tls-check: for proxies that get certificates on demand; see [Server.TLSCheck]
//   - /plc/: the local DID directory, if there is one; see [Server.PLCDirectory]. It is served at
//     /{did} too, since the npm package @atproto/identity drops the path of its plcUrl
//   - /: the home page; see [Server.Home]
//   - /robots.txt
//
// It is guarded by [Server.HandleHosts]. A program with routes of its own mounts the handlers that
// it needs on its own mux, and guards that with HandleHosts.
func (s *Server) Handler() http.Handler {
	m := &mounted{
		xrpc: s, wellKnown: s.WellKnown(), pages: s.Pages(), tlsCheck: s.TLSCheck(), robots: web.Robots(), home: s.Home(), plc: s.PLCDirectory(),
		routes: defaultRoutes(),
	}
	if paths := s.pagePaths(); !slices.Equal(paths, defaultPagePaths) {
		m.routes = newRoutes(paths)
	}
	return s.HandleHosts(m)
}

// HandleHosts wraps the handler of a whole program. At the host names of accounts, such as
// alice.example.com if .example.com is a handle domain, it serves only the documents by which the
// name resolves to its account: /.well-known/atproto-did, and /.well-known/did.json if the account
// has the did:web of that name. All other requests there are answered 404, or redirected to
// Handles.HostRedirect of the [Config] if they come from a browser. Without it, each handle would
// look like a server of its own, with its own logins.
//
// Requests at the server's own names (Hostname, the host of PublicURL, and ExtraHostnames) and at
// names outside the handle domains are passed to next.
//
// Gatehouse's own handlers refuse requests at the names of accounts even without HandleHosts.
func (s *Server) HandleHosts(next http.Handler) http.Handler {
	return s.traffic.Wrap(s.web.HandleHosts(next))
}

// TLSCheck tells a proxy that gets certificates on demand, such as Caddy, whether to get one for a
// host name: GET /tls-check?domain=alice.example.com. It answers 200 for the server's own names and
// for those of accounts (a handle that resolves, or a did:web whose document is served there), 404
// for other names on the handle domains, and 400 for all other names. Requests are limited by
// address, except those that this machine or a trusted proxy makes on its own behalf.
func (s *Server) TLSCheck() http.Handler { return s.web.TLSCheck() }

// Home serves the home page, which shows people the server's name, its DID, its handle domains, the
// links and the contact address of describeServer and, with Description.ShowVersion of the
// [Config], the version of Gatehouse.
func (s *Server) Home() http.Handler { return s.web.Home() }

// Pages serves OAuth and the pages on which people sign in and consent: the endpoints below
// /oauth/, and the pages of an account below /account/. Mount it at the root of PublicURL, at the
// paths below which it is to serve:
//
//	mux.Handle("/oauth/", srv.Pages())
//	mux.Handle("/account/", srv.Pages())
//
// Where OAuth is off, or another server issues the tokens, it serves nothing.
func (s *Server) Pages() http.Handler { return s.web.OAuth() }

var defaultPagePaths = []string{"/account/", "/oauth/"}

// pagePaths are the patterns of what [Server.Pages] serves, sorted.
func (s *Server) pagePaths() []string {
	if s.cfg.Pages.AccountPath == "" && s.cfg.Pages.AssetPath == "" && s.cfg.OAuth.Paths == (oauth.Paths{}) {
		return defaultPagePaths
	}
	paths := []string{"/oauth/", "/account/"}
	if p := s.cfg.Pages.AccountPath; p != "" {
		paths[1] = p + "/"
	}
	if p := s.cfg.Pages.AssetPath; p != "" {
		paths = append(paths, p+"/")
	}
	if p := s.cfg.OAuth.Paths; p != (oauth.Paths{}) {
		paths = append(paths, p.Authorize, p.PAR, p.Token, p.Revoke, p.Introspect, p.JWKS)
	}
	slices.Sort(paths)
	return slices.DeleteFunc(slices.Compact(paths), func(p string) bool { return p == "" }) // an endpoint that there isn't
}
