// Package lexiconset finds published permission sets for package oauth/scope: a TXT record in the
// DNS names the DID that publishes the lexicons of a domain, the DID's document names its server,
// and the server has the lexicon as a record (source: https://atproto.com/specs/lexicon).
//
// The record is authentic as far as TLS, the DNS and the DID's document are. A server that answers
// without TLS isn't asked.
package lexiconset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/internal/refusal"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
)

// Config configures a [Resolver]. Identity and Get are required.
type Config struct {
	// Identity returns the parsed document of a DID, as [did.Resolver.Identity] does, with its errors.
	Identity func(context.Context, syntax.DID) (*identity.Identity, error)
	// Get fetches a JSON document of at most max bytes. The publisher of a set chooses its URL, so Get
	// has to connect to public addresses only, to follow no redirects, and to give up after some
	// seconds. An error with a method PublicMessage() string tells the client's developer what was
	// wrong with the answer.
	Get func(ctx context.Context, url string, max int64) ([]byte, error)
	// DialDNS connects to a name server. Default: as the system does.
	DialDNS func(ctx context.Context, network, address string) (net.Conn, error)
}

// Resolver resolves permission sets. It implements [scope.SetResolver], and is safe for concurrent
// use.
type Resolver struct {
	cfg Config
	dns *identity.BaseDirectory
}

// New returns a Resolver. It returns an error if a function is missing.
func New(cfg Config) (*Resolver, error) {
	if cfg.Identity == nil || cfg.Get == nil {
		return nil, errors.New("lexiconset: Config.Identity and Config.Get are required")
	}
	r := &Resolver{cfg: cfg, dns: &identity.BaseDirectory{}}
	if cfg.DialDNS != nil {
		r.dns.Resolver.PreferGo = true
		r.dns.Resolver.Dial = cfg.DialDNS
	}
	return r, nil
}

// collection is the collection of lexicons.
const collection = "com.atproto.lexicon.schema"

// maxEnvelope is the room for what surrounds a record in the answer of a server, in bytes.
const maxEnvelope = 4 << 10

// Resolve implements [scope.SetResolver]. Errors: a [scope.ErrScope] with a public message if the
// set isn't published, or not as it should be; otherwise the error of the network.
func (r *Resolver) Resolve(ctx context.Context, nsid syntax.NSID) (json.RawMessage, error) {
	publisher, err := r.publisher(ctx, nsid)
	if err != nil {
		return nil, err
	}
	server, err := r.server(ctx, publisher)
	if err != nil {
		return nil, err
	}
	query := url.Values{"repo": {publisher.String()}, "collection": {collection}, "rkey": {nsid.String()}}
	server.Path, server.RawQuery = "/xrpc/com.atproto.repo.getRecord", query.Encode()
	body, err := r.cfg.Get(ctx, server.String(), scope.MaxDocument+maxEnvelope)
	if err != nil {
		return nil, fmt.Errorf("lexiconset: getting the record %s of %s: %w", nsid, publisher, err)
	}
	var answer struct {
		URI   string          `json:"uri"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Value) == 0 {
		return nil, refusal.Newf(scope.ErrScope, "the answer of %s isn't a record", server.Host)
	}
	if want := fmt.Sprintf("at://%s/%s/%s", publisher, collection, nsid); answer.URI != want {
		return nil, refusal.Newf(scope.ErrScope, "the answer of %s isn't the record %s", server.Host, want)
	}
	return answer.Value, nil
}

// publisher returns the DID that publishes the lexicons of an NSID's domain.
func (r *Resolver) publisher(ctx context.Context, nsid syntax.NSID) (syntax.DID, error) {
	domain := nsid.Authority()
	// Names that aren't those of the public DNS might be names of the server's own network.
	if name, err := syntax.ParseHandle(domain); err != nil || !name.AllowedTLD() {
		return "", refusal.Newf(scope.ErrScope, "%s isn't a public domain", domain)
	}
	publisher, err := r.dns.ResolveNSID(ctx, nsid)
	switch {
	case errors.Is(err, identity.ErrNSIDNotFound), errors.Is(err, identity.ErrHandleNotFound):
		return "", refusal.Newf(scope.ErrScope, "_lexicon.%s has no TXT record that names a DID", domain)
	case errors.Is(err, identity.ErrNSIDResolutionFailed):
		return "", fmt.Errorf("lexiconset: %w", err)
	case err != nil: // what the record says isn't a DID
		return "", refusal.Newf(scope.ErrScope, "the TXT record of _lexicon.%s names no valid DID", domain)
	}
	return publisher, nil
}

// server returns the root URL of the server that has the records of a DID.
func (r *Resolver) server(ctx context.Context, publisher syntax.DID) (*url.URL, error) {
	ident, err := r.cfg.Identity(ctx, publisher)
	switch {
	case errors.Is(err, did.ErrNotFound), errors.Is(err, did.ErrTombstoned):
		return nil, refusal.Newf(scope.ErrScope, "the DID %s has no document", publisher)
	case err != nil:
		return nil, fmt.Errorf("lexiconset: resolving %s: %w", publisher, err)
	case ident == nil || ident.DID != publisher:
		return nil, fmt.Errorf("lexiconset: resolving %s: another document was found", publisher)
	}
	server, err := url.Parse(ident.PDSEndpoint())
	if err != nil || server.Scheme != "https" || server.Hostname() == "" || server.User != nil ||
		strings.Trim(server.Path, "/") != "" || server.RawQuery != "" || server.Fragment != "" {
		return nil, refusal.Newf(scope.ErrScope, "the DID %s names no server with an https URL", publisher)
	}
	return &url.URL{Scheme: server.Scheme, Host: server.Host}, nil
}
