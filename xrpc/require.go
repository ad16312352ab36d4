package xrpc

import (
	"net/http"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// RequireAuth lets requests pass that carry an access token of one of some scopes (without any: of
// [sessions.Standard]), with what it proves in their context. What the services of Gatehouse write
// with that context they write only while the session is alive: see [sessions.NewContext].
func (s *Server) RequireAuth(next http.Handler, scopes ...sessions.Scope) http.Handler {
	return s.require(next, s.access(scopes...))
}

// RequireActive is RequireAuth for accounts that aren't deactivated.
func (s *Server) RequireActive(next http.Handler, scopes ...sessions.Scope) http.Handler {
	return s.require(next, verifiedBy(s.cfg.Sessions.VerifyActive, scopes...))
}

func (s *Server) require(next http.Handler, auth bySession) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := s.newCall(w, r)
		var err error
		if c.caller, err = auth(c); err != nil {
			s.fail(w, c, err)
			return
		}
		ctx := ratelimit.NewContext(r.Context(), ratelimit.Client{Address: c.client.Address})
		next.ServeHTTP(w, r.WithContext(sessions.NewContext(ctx, c.session)))
	})
}
