package gatehouse

import (
	"net/http"
	"strings"
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// mounted serves what [Server.Handler] does. What is mounted belongs to one server, and the routes,
// which take longer to make, to all servers with the same paths.
type mounted struct {
	xrpc, wellKnown, pages, tlsCheck, robots, home http.Handler
	plc                                            http.Handler // nil if DIDs are kept elsewhere
	routes                                         *http.ServeMux
}

// ServeHTTP implements [http.Handler].
func (m *mounted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.RequestURI == "*" {
		m.routes.ServeHTTP(w, r) // refuses it
		return
	}
	handler, pattern := m.routes.Handler(r)
	if of, ok := handler.(route); ok {
		r.Pattern = pattern
		handler = of(m)
	}
	handler.ServeHTTP(w, r)
}

// route returns what is mounted at a pattern.
type route func(*mounted) http.Handler

// ServeHTTP makes a route an [http.Handler], which a mux wants. It is not called.
func (route) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

var defaultRoutes = sync.OnceValue(func() *http.ServeMux { return newRoutes(defaultPagePaths) })

// newRoutes returns a mux whose handlers are routes. The pages are at these patterns.
func newRoutes(pages []string) *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, of route) { mux.Handle(pattern, of) }
	handle("/xrpc/", func(m *mounted) http.Handler { return m.xrpc })
	handle("/.well-known/", func(m *mounted) http.Handler { return m.wellKnown })
	for _, pattern := range pages {
		handle(pattern, func(m *mounted) http.Handler { return m.pages })
	}
	handle("/tls-check", func(m *mounted) http.Handler { return m.tlsCheck })
	handle("/robots.txt", func(m *mounted) http.Handler { return m.robots })
	handle("/{$}", func(m *mounted) http.Handler { return m.home })
	handle("/plc/", func(m *mounted) http.Handler {
		if m.plc == nil {
			return http.NotFoundHandler()
		}
		return http.StripPrefix("/plc", m.plc)
	})
	// This pattern also keeps the mux from redirecting /xrpc to /xrpc/.
	handle("/{name}", func(m *mounted) http.Handler { return http.HandlerFunc(m.atRoot) })
	return mux
}

// atRoot serves the document of a DID in the local directory.
func (m *mounted) atRoot(w http.ResponseWriter, r *http.Request) {
	_, err := syntax.ParseDID(strings.TrimPrefix(r.URL.Path, "/"))
	if m.plc == nil || err != nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.NotFound(w, r)
		return
	}
	m.plc.ServeHTTP(w, r)
}
