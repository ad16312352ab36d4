package xrpc

import (
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/handle"
)

// HandlePlaceholder stands for the handle in [Config.HandleHostRedirect].
const HandlePlaceholder = "{handle}"

// hostName returns the host name of a Host header: in lower case, without a port, the brackets of
// an IPv6 address, dots at its end, or anything before an @. It is lenient, so that no spelling of
// the name of an account passes for another name. The result need not be a valid host name.
func hostName(host string) string {
	host = host[strings.LastIndex(host, "@")+1:]
	if inside, ok := strings.CutPrefix(host, "["); ok {
		host, _, _ = strings.Cut(inside, "]")
	} else {
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.TrimRight(strings.ToLower(host), ".")
}

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
		case !s.atHandleHost(r):
			next.ServeHTTP(w, r)
		case (r.URL.Path == atprotoDIDPath || r.URL.Path == didDocumentPath) && isRead(r):
			wellKnown.ServeHTTP(w, r)
		default:
			s.refuseHandleHost(w, r)
		}
	})
}

// NotAtHandleHosts guards a handler that serves nothing at the names of accounts.
func (s *Server) NotAtHandleHosts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.atHandleHost(r) {
			s.refuseHandleHost(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// atHandleHost reports whether a request is made at the name of an account. Only the Host header
// counts (or the host in the request line, which replaces it): proxies pass it on, and anybody can
// write X-Forwarded-Host.
func (s *Server) atHandleHost(r *http.Request) bool {
	return s.cfg.Accounts != nil && s.cfg.Accounts.Handles().HostKind(hostName(r.Host)) == handle.AccountHost
}

// refuseHandleHost answers a request for something that isn't served at the name of an account.
func (s *Server) refuseHandleHost(w http.ResponseWriter, r *http.Request) {
	if s.cfg.HandleHostRedirect != "" {
		w.Header().Add("Vary", "Accept")
		if to, ok := s.redirectOf(r); ok {
			// Not cached: the operator may change the URL, and the name may get another owner.
			w.Header().Set("Cache-Control", "no-cache")
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
	}
	w.Header().Set("Access-Control-Allow-Origin", "*") // so that scripts can read why
	http.Error(w, fmt.Sprintf("Not found: this host stands for an account. The server is at %s.", s.cfg.Accounts.Endpoint()), http.StatusNotFound)
}

// redirectOf returns the URL to which a browser is redirected from the name of an account. Requests
// for methods and well-known documents aren't redirected: the client has to learn that the host is
// wrong.
func (s *Server) redirectOf(r *http.Request) (to string, ok bool) {
	if !isRead(r) || !acceptsHTML(r) || strings.HasPrefix(r.URL.Path, prefix) || strings.HasPrefix(r.URL.Path, "/.well-known/") {
		return "", false
	}
	// The handle, which has only letters, digits, dots and dashes, is all that the answer takes from
	// the request.
	handle, err := syntax.ParseHandle(hostName(r.Host))
	if err != nil {
		return "", false
	}
	return strings.ReplaceAll(s.cfg.HandleHostRedirect, HandlePlaceholder, handle.String()), true
}

func isRead(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// acceptsHTML reports whether the Accept header names HTML, as that of browsers does. "*/*", which
// programs send, doesn't count.
func acceptsHTML(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err != nil || kind != "text/html" {
			continue
		}
		q, err := strconv.ParseFloat(params["q"], 64)
		return params["q"] == "" || err == nil && q > 0
	}
	return false
}
