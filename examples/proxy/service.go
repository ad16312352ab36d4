package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/bluesky-social/indigo/util/ssrf"

	"github.com/gatehouse-at/gatehouse"
	"github.com/gatehouse-at/gatehouse/accounts/did"
)

// service is a service of the network: a DID, and the ID of the service in its document.
type service struct {
	did syntax.DID
	id  string
}

func (s service) String() string { return s.did.String() + "#" + s.id }

var serviceID = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,64}$`)

// parseService reads an atproto-proxy header. The messages are those of the reference server.
func parseService(text string) (service, error) {
	id, fragment, _ := strings.Cut(text, "#")
	switch {
	case strings.ContainsAny(text, " \t"):
		return service{}, errors.New("proxy header cannot contain spaces")
	case id == "":
		return service{}, errors.New("no did specified in proxy header")
	case fragment == "":
		return service{}, errors.New("no service id specified in proxy header")
	case !serviceID.MatchString(fragment):
		return service{}, errors.New("invalid proxy header format")
	}
	parsed, err := syntax.ParseDID(id)
	if err != nil || parsed.Method() != "plc" && parsed.Method() != "web" {
		return service{}, errors.New("invalid did in proxy header")
	}
	return service{parsed, fragment}, nil
}

// endpoint resolves a service to its URL, of the form https://HOST or https://HOST:PORT.
func endpoint(ctx context.Context, srv *gatehouse.Server, to service) (*url.URL, error) {
	itself := &failure{http.StatusBadRequest, "InvalidRequest", "the service of the proxy header is this server itself"}
	if strings.EqualFold(to.did.String(), srv.ServiceDID()) {
		return nil, itself
	}
	ident, err := srv.Resolver.Identity(ctx, to.did)
	switch {
	case errors.Is(err, did.ErrNotFound), errors.Is(err, did.ErrTombstoned):
		return nil, &failure{http.StatusBadRequest, "InvalidRequest", "could not resolve proxy did"}
	case err != nil:
		return nil, fmt.Errorf("resolving %s: %w", to.did, err)
	}
	scheme, host := address(ident.Services[to.id].URL)
	if scheme != "https" {
		return nil, &failure{http.StatusBadRequest, "InvalidRequest", "could not resolve proxy did service url"}
	}
	if _, own := address(srv.Accounts.PublicURL()); own == host { // whatever the scheme
		return nil, itself
	}
	return &url.URL{Scheme: scheme, Host: host}, nil
}

// address splits the URL of a server into scheme and host. Both are empty if it is malformed, or
// has a user, a path, a query or a fragment.
func address(endpoint string) (scheme, host string) {
	normal, err := did.NormalizeEndpoint(endpoint)
	if err != nil {
		return "", ""
	}
	scheme, host, _ = strings.Cut(normal, "://")
	return scheme, host
}

// publicTransport returns a transport that connects to public addresses only, whatever a name
// resolves to, since anybody can have a DID whose document names an internal host. As a
// RoundTripper it also doesn't follow redirects, keep cookies, or repeat requests that may have had
// an effect.
func publicTransport() *http.Transport {
	t := ssrf.PublicOnlyTransport()
	t.Proxy = nil               // a proxy would resolve names and connect without this check
	t.DisableCompression = true // client and service agree on an encoding
	t.ResponseHeaderTimeout = 10 * time.Second
	t.MaxResponseHeaderBytes = 64 << 10
	return t
}
