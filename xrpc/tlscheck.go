package xrpc

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
)

// TLSCheck tells a proxy that gets certificates on demand, such as Caddy, whether to get one for
// the host name in the parameter domain: 200 for the server's own names and for those of accounts,
// 404 for other names on the handle domains, 400 otherwise (source: the reference server's
// distribution). Answers are up to a second old, as those below /.well-known/ are. Requests are
// limited by address, except those from this machine or from a trusted proxy that makes them for
// itself.
func (s *Server) TLSCheck() http.Handler {
	return s.NotAtHandleHosts(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := s.newCall(w, r)
		if err := s.tlsCheck(c); err != nil {
			s.fail(w, c, err)
			return
		}
		s.succeed(w, c, map[string]bool{"success": true})
	}))
}

func (s *Server) tlsCheck(c *call) error {
	if err := checkVerb(c, http.MethodGet); err != nil {
		return err
	}
	if !s.isNeighbour(c.Request) {
		if err := s.take(c, "", c.payer(), globalLimit); err != nil {
			return err
		}
	}
	names := c.URL.Query()["domain"]
	if len(names) != 1 || names[0] == "" {
		return invalid("bad or missing domain query param")
	}
	name := strings.TrimSuffix(strings.ToLower(names[0]), ".")
	switch s.cfg.Accounts.Handles().HostKind(name) {
	case handle.OwnHost:
		return nil
	case handle.ForeignHost:
		return invalid("handles are not provided on this domain")
	}
	if _, err := syntax.ParseHandle(name); err != nil {
		return invalid("bad or missing domain query param")
	}
	answer, err := s.briefAnswer(c, "tls-check "+name, func() wellKnownAnswer { return wellKnownAnswer{err: s.anythingAt(c.Context(), name)} })
	if err == nil {
		err = answer.err
	}
	if errors.Is(err, accounts.ErrNotFound) {
		return &Error{Status: http.StatusNotFound, Name: "NotFound", Message: "handle not found for this domain"}
	}
	return err
}

// anythingAt returns nil if something is served at a name on a handle domain.
func (s *Server) anythingAt(ctx context.Context, name string) error {
	_, err := s.accountOfHost(ctx, name)
	if errors.Is(err, accounts.ErrNotFound) {
		_, err = s.documentOfHost(ctx, name)
	}
	return err
}
