package xrpc

import (
	"net/http"

	"github.com/gatehouse-at/gatehouse/sessions"
)

// RequireAuth lets requests pass that carry an access token of one of some
// scopes (without any: of [sessions.Standard]), with what it proves in their context.
func (s *Server) RequireAuth(next http.Handler, scopes ...sessions.Scope) http.Handler {
	return s.require(next, s.access(scopes...))
}

// RequireActive is RequireAuth for accounts that aren't deactivated.
func (s *Server) RequireActive(next http.Handler, scopes ...sessions.Scope) http.Handler {
	return s.require(next, verifiedBy(s.cfg.Sessions.VerifyActive, scopes...))
}

func (s *Server) require(next http.Handler, auth authFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Request: r, header: w.Header(), ip: clientIP(r, s.cfg.TrustedProxies)}
		who, err := auth(c)
		if err != nil {
			s.fail(w, c, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(sessions.NewContext(r.Context(), who.session)))
	})
}
