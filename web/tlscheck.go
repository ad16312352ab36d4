package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/internal/handlehost"
)

// TLSCheck tells a proxy that gets certificates on demand, such as Caddy, whether to get one for
// the host name in the parameter domain: 200 for the server's own names and for those of accounts,
// 404 for other names on the handle domains, 400 otherwise (source: the reference server's
// distribution). Answers are up to a second old, as those below /.well-known/ are. Requests are
// limited by address, except those that come from this machine or from a trusted proxy and aren't
// forwarded for another client.
func (s *Server) TLSCheck() http.Handler {
	return s.guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.tlsCheck(w, r); err != nil {
			s.fail(w, r, err)
			return
		}
		writeJSON(w, http.StatusOK, map[string]bool{"success": true})
	}))
}

var (
	errNoDomain      = &problem{http.StatusBadRequest, "InvalidRequest", "bad or missing domain query param"}
	errForeignDomain = &problem{http.StatusBadRequest, "InvalidRequest", "handles are not provided on this domain"}
	errNoHandle      = &problem{http.StatusNotFound, "NotFound", "handle not found for this domain"}
)

func (s *Server) tlsCheck(w http.ResponseWriter, r *http.Request) error {
	if !handlehost.IsRead(r) {
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		return &problem{http.StatusMethodNotAllowed, "InvalidRequest", fmt.Sprintf("Incorrect HTTP method (%.20s) expected GET", r.Method)}
	}
	if !s.clients.IsNeighbor(r) {
		if err := s.charge(w, r, ""); err != nil {
			return err
		}
	}
	names := r.URL.Query()["domain"]
	if len(names) != 1 || names[0] == "" {
		return errNoDomain
	}
	name := strings.TrimSuffix(strings.ToLower(names[0]), ".")
	switch s.cfg.Accounts.Handles().HostKind(name) {
	case handle.OwnHost:
		return nil
	case handle.ForeignHost:
		return errForeignDomain
	}
	if _, err := syntax.ParseHandle(name); err != nil {
		return errNoDomain
	}
	answer, err := s.briefAnswer(r, "tls-check "+name, func() wellKnownAnswer {
		return wellKnownAnswer{err: s.anythingAt(r.Context(), name)}
	})
	if err == nil {
		err = answer.err
	}
	if errors.Is(err, accounts.ErrNotFound) {
		return errNoHandle
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
