package gatehouse

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/internal/handlehost"
	"github.com/gatehouse-at/gatehouse/internal/hostname"
	"github.com/gatehouse-at/gatehouse/web"
)

// Handler serves everything that Gatehouse has, for a program without routes of its own:
//
//   - /xrpc/: the methods
//   - /.well-known/: the DIDs of handles, and DID documents; see [Server.WellKnown]
//   - /tls-check: for proxies that get certificates on demand; see [Server.TLSCheck]
//   - /plc/: the local DID directory, if there is one; see [Server.PLCDirectory]. It is at /{did}
//     too, since the npm package @atproto/identity drops the path of its plcUrl
//   - /: the home page; see [Server.Home]
//   - /robots.txt
//
// It is guarded by [Server.HandleHosts]. A program with routes of its own mounts what it needs of
// these on its own mux, and guards that with HandleHosts.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/xrpc/", s)
	mux.Handle("/.well-known/", s.WellKnown())
	mux.Handle("/tls-check", s.TLSCheck())
	mux.Handle("/robots.txt", web.Robots())
	mux.Handle("/{$}", s.Home())
	plc := s.PLCDirectory()
	if plc != nil {
		mux.Handle("/plc/", http.StripPrefix("/plc", plc))
	}
	// This pattern also keeps the mux from redirecting /xrpc to /xrpc/.
	mux.HandleFunc("/{name}", func(w http.ResponseWriter, r *http.Request) {
		_, err := syntax.ParseDID(r.PathValue("name"))
		if plc == nil || err != nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.NotFound(w, r)
			return
		}
		plc.ServeHTTP(w, r)
	})
	return s.HandleHosts(mux)
}

// HandleHosts guards everything that a program serves. At the names of accounts, such as
// alice.example.com if .example.com is a handle domain, it serves only what leads from the name to
// its account: /.well-known/atproto-did, and /.well-known/did.json of an account with a did:web of
// that name. Anything else is a 404 there, or for browsers a redirect to
// Handles.HostRedirect of the [Config]. Otherwise each handle would look like a server of its own, with its
// own logins.
//
// The server's own names are Hostname, the host of PublicURL and ExtraHostnames. Requests at those,
// and at names outside the handle domains, go to next.
//
// Gatehouse's own handlers refuse the names of accounts even without this guard.
func (s *Server) HandleHosts(next http.Handler) http.Handler { return s.web.HandleHosts(next) }

// TLSCheck tells a proxy that gets certificates on demand, such as Caddy, whether to get one for a
// host name: GET /tls-check?domain=alice.example.com. It answers 200 for the server's own names and
// for those of accounts (a handle that resolves, or a did:web whose document is served there), 404
// for other names on the handle domains, and 400 otherwise. Requests are limited by address, except
// those from this machine or from a trusted proxy that makes them for itself.
func (s *Server) TLSCheck() http.Handler { return s.web.TLSCheck() }

// Home serves the home page, which tells people what this server is: its name, its DID, its handle
// domains, the links and the contact address that describeServer names, and with
// Description.ShowVersion of the [Config] the version.
func (s *Server) Home() http.Handler { return s.web.Home() }

// homePage is what the home page says.
func (s *settings) homePage() web.Home {
	h := web.Home{
		ServiceName: s.ServiceName, ServiceDID: s.serviceDID, HandleDomains: s.HandleDomains,
		PrivacyPolicyURL: s.Description.PrivacyPolicyURL, TermsOfServiceURL: s.Description.TermsOfServiceURL, ContactEmail: s.Description.ContactEmail,
	}
	if s.Description.ShowVersion {
		h.Version = Version
	}
	return h
}

// checkHostRedirect keeps the redirect from leading where a request says (an open redirect), or in
// circles.
func (s *settings) checkHostRedirect() {
	const field = "Handles.HostRedirect"
	redirect := s.Handles.HostRedirect
	if redirect == "" {
		return
	}
	u, err := url.Parse(strings.ReplaceAll(redirect, handlehost.Placeholder, "handle"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		s.mistake(field, "%q is not of the form https://HOST/PATH", redirect)
		return
	}
	_, rest, _ := strings.Cut(redirect, "://")
	end := strings.IndexAny(rest, "/?#")
	if at := strings.Index(rest, handlehost.Placeholder); at >= 0 && (end < 0 || at < end) {
		s.mistake(field, "%q has %s in its host", redirect, handlehost.Placeholder)
		return
	}
	host, err := hostname.Name(u.Hostname())
	if err != nil {
		s.mistake(field, "%v", err)
		return
	}
	onDomain := func(domain string) bool { return strings.HasSuffix(host, domain) }
	if slices.ContainsFunc(s.HandleDomains, onDomain) && !slices.Contains(s.hostnames, host) {
		s.mistake(field, "%q leads to the name of an account, where browsers are redirected again", redirect)
	}
}
