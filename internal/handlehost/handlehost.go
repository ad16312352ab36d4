// Package handlehost refuses requests for anything but identity documents at the host names that
// are handles of accounts. Otherwise each handle would look like a server of its own, with its own
// logins.
package handlehost

import (
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
)

// Placeholder stands for the handle in [Guard.Redirect].
const Placeholder = "{handle}"

// Guard recognizes and refuses requests at the names of accounts.
type Guard struct {
	// Accounts knows which host names are handles. Nil: none are.
	Accounts *accounts.Service
	// Redirect is the URL to which browsers are redirected from a handle, which replaces
	// [Placeholder] in it. Empty: they are answered 404 like all other clients.
	Redirect string
}

// Name returns the host name in a Host header: in lower case, without a port, the brackets of an
// IPv6 address, trailing dots, or anything before an @. It is lenient, so that no spelling of the
// name of an account passes for another name. The result need not be a valid host name.
func Name(host string) string {
	host = host[strings.LastIndex(host, "@")+1:]
	if inside, ok := strings.CutPrefix(host, "["); ok {
		host, _, _ = strings.Cut(inside, "]")
	} else {
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.TrimRight(strings.ToLower(host), ".")
}

// Matches reports whether a request is made at the name of an account. Only the Host header (or the
// host in the request line, which replaces it) counts: proxies pass it on, while anybody can write
// an X-Forwarded-Host header.
func (g Guard) Matches(r *http.Request) bool {
	return g.Accounts != nil && g.Accounts.Handles().HostKind(Name(r.Host)) == handle.AccountHost
}

// Wrap returns a handler that refuses all requests at the names of accounts.
func (g Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.Matches(r) {
			g.Refuse(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Refuse answers a request for something that isn't served at the name of an account.
func (g Guard) Refuse(w http.ResponseWriter, r *http.Request) {
	if g.Redirect != "" {
		w.Header().Add("Vary", "Accept")
		if to, ok := g.redirectOf(r); ok {
			// Not cached: the operator may change the URL, and the handle may change hands.
			w.Header().Set("Cache-Control", "no-cache")
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
	}
	w.Header().Set("Access-Control-Allow-Origin", "*") // so that scripts can read the reason
	http.Error(w, fmt.Sprintf("Not found: this host stands for an account. The server is at %s.", g.Accounts.PublicURL()), http.StatusNotFound)
}

// redirectOf returns the URL to which a browser is redirected from the name of an account. Requests
// for methods and well-known documents aren't redirected: the client has to learn that the host is
// wrong.
func (g Guard) redirectOf(r *http.Request) (to string, ok bool) {
	if !IsRead(r) || !acceptsHTML(r) || strings.HasPrefix(r.URL.Path, "/xrpc/") || strings.HasPrefix(r.URL.Path, "/.well-known/") {
		return "", false
	}
	// The handle, which consists of letters, digits, dots and hyphens, is all that the response
	// takes from the request.
	h, err := syntax.ParseHandle(Name(r.Host))
	if err != nil {
		return "", false
	}
	return strings.ReplaceAll(g.Redirect, Placeholder, h.String()), true
}

// IsRead reports whether the verb of a request is GET or HEAD.
func IsRead(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// acceptsHTML reports whether the Accept header names HTML, as those of browsers do. "*/*", which
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
