package xrpc

import (
	"net/http"

	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/sessions"
)

// RequireAuth returns a middleware for routes that need an access token with some permissions, such
// as [sessions.ManageAccount] or "repo:app.bsky.feed.post?action=create"; without any, with
// [sessions.UseAccount]. Other requests are refused as the methods of this package refuse them.
// What the token proves is in the context of the request (see [sessions.FromContext]), and what the
// services of Gatehouse write with that context they write only while the session is alive (see
// [sessions.NewContext]). An OAuth client needs to have been granted the permissions, and its DPoP
// proof has to name the path under the public URL of the server. The headers that it has to see are
// exposed to scripts of other origins; letting these in (CORS) is up to the program. A permission
// that isn't one is a mistake of the program, and panics.
func (s *Server) RequireAuth(permissions ...sessions.Permission) func(http.Handler) http.Handler {
	return s.require((*sessions.Service).Verify, permissions)
}

// RequireActive is RequireAuth for what a deactivated account may not do. Its requests are answered
// 401 AccountDeactivated.
func (s *Server) RequireActive(permissions ...sessions.Permission) func(http.Handler) http.Handler {
	return s.require((*sessions.Service).VerifyActive, permissions)
}

func (s *Server) require(verify verifyFunc, permissions []sessions.Permission) func(http.Handler) http.Handler {
	for _, p := range permissions {
		if err := p.Check(); err != nil {
			panic("xrpc: " + err.Error())
		}
	}
	auth := verifiedBy(verify, permissions)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := s.newCall(w, r)
			if s.offerNonce(c); c.header.Get("DPoP-Nonce") != "" {
				// Scripts of other origins need to see it, if the program lets them in at all.
				c.header.Add("Access-Control-Expose-Headers", "DPoP-Nonce, WWW-Authenticate")
			}
			var err error
			if c.caller, err = auth.authenticate(s, c); err != nil {
				s.fail(w, c, err)
				return
			}
			ctx := ratelimit.NewContext(r.Context(), ratelimit.Client{Address: c.client.Address})
			next.ServeHTTP(w, r.WithContext(sessions.NewContext(ctx, c.session)))
		})
	}
}
